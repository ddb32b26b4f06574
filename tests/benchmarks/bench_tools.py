"""What a round of tools adds to a turn, beside the provider's own time: `python -m tests.benchmarks.bench_tools`.

A turn of eight rounds, each of one tool that does nothing, over the hostile provider. What is ours of it is its whole
time without the calls' own (the ledger's `latency_ms`), for each round; beside it, what is ours of a turn without.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from chatcore.ids import new_id
from tests.chat import Chat, running_core
from tests.hostile import HostileProvider
from tests.turns.tools import Source, agent_with, script

ROUNDS = 8


def main() -> None:
    """Print the figures."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--times", type=int, default=20)
    times = asked.parse_args().times
    with (
        tempfile.TemporaryDirectory() as folder,
        HostileProvider() as provider,
        running_core(Path(folder), provider, ["script", "ok;n=3"]) as core,
    ):
        core.toolbox.add(Source())
        chat = Chat(core, provider, new_id("p"))
        agent_id = agent_with(chat, "double")
        question = script(*([["double", {"n": 1}]] for _ in range(ROUNDS)))
        with_tools, without = [], []
        for _ in range(times):
            without.append(ours(chat, "ok;n=3", "hello", None))
            with_tools.append((ours(chat, "script", question, agent_id) - without[-1]) / ROUNDS)
    show("a turn without tools", without)
    show("a round of tools", with_tools)
    print(f"ratio of the medians: {statistics.median(with_tools) / statistics.median(without):.2f}")


def ours(chat: Chat, model: str, question: str, agent_id: str | None) -> float:
    """Milliseconds of a turn that no call to the provider took."""
    began = time.perf_counter()
    asked = chat.ask(model, question, agent_id=agent_id)
    assert asked.turn_id is not None
    for _ in chat.core.turns.follow(chat.who, asked.turn_id, pace=lambda _: 0.0, patience=0.005):
        pass
    whole = (time.perf_counter() - began) * 1000
    return whole - sum(row.latency_ms or 0 for row in chat.ledger_rows(asked.turn_id))


def show(name: str, found: list[float]) -> None:
    """A line of figures."""
    ordered = sorted(found)
    p95 = ordered[int(len(ordered) * 0.95) - 1]
    print(f"{name}: median {statistics.median(found):.1f} ms, p95 {p95:.1f} ms of our own")


if __name__ == "__main__":
    main()
