"""The ledger against the provider's own log, row by row: `python -m tests.benchmarks.soak_ledger`.

Random turns of every behaviour of the hostile provider, eight at once: three tries each, models behind models, calls
beside silent ones, prompts that are asked again at temperature 0, replies that are streamed and whole ones, replies
that go on after a break and such as begin anew, and one in eight stopped by its person. What is compared stands in
`ledger_story`.
"""

import argparse
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from chatcore.bootstrap import Core
from chatcore.db.tables import UsageMetric
from chatcore.turns import Asked, TurnSettings
from tests.benchmarks.ledger_story import UNPRICED, Ask, Story, compare
from tests.benchmarks.running import table
from tests.chat import Chat, running_core
from tests.conftest import add_person
from tests.hostile import BEHAVIOURS, HostileProvider

# Short enough for thousands of turns; what needs a clock to fail is given a small one by `tests.chat`.
NAMED: Final = {
    "words": "words;n=600;para=60", "slow": "slow;first=0.5;n=5", "ok": "ok;n=30", "stall": "stall;n=20;at=5",
    "flaky": "flaky;fails=3",
}  # fmt: skip
STATUSES: Final = ("401", "403", "404", "408", "429;after=0", "429;after=9", "500", "502", "503")
PACED: Final = ("ok;n=40;rate=20", "reasoning;n=20;rate=20", "nousage;n=20;rate=20")
BEHAVED: Final = (*(NAMED.get(name, name) for name in BEHAVIOURS), *STATUSES, *PACED)
# The same again with another model behind them, and some that fail once or twice.
SAFE: Final = "ok;n=30;tag=safe"
COVERED: Final = tuple(
    f"{model};tag=covered"
    for model in (
        "401", "429;after=9", "500", "503", "hang", "cut", "end", "stall;n=20;at=5", "garbage", "miderror", "empty",
        "notjson", "nofinish", "slow;first=1.5;n=5",
    )
)  # fmt: skip
FLAKY: Final = tuple(f"flaky;fails={fails};status={status};tag={n}" for n, (fails, status) in enumerate(
    [(1, 500), (2, 503), (1, 429), (2, 502), (1, 408), (2, 500)]
))  # fmt: skip
TIRED: Final = "503;tag=tired"  # stands behind some, and fails as well
MODELS: Final = (*dict.fromkeys(BEHAVED), SAFE, TIRED, *COVERED, *FLAKY)
PLANNED: Final = (*BEHAVED, *COVERED, *FLAKY, *("ok;n=30", SAFE, "cached", "reasoning", "md") * 2, UNPRICED)
AT_ONCE: Final = 8
Mode = Literal["continue", "restart"]


@dataclass(frozen=True)
class Job:
    """A question that is asked once for each of `stops`, one after the other: what `Ask.stop_after` says."""

    model: str
    temperature: float | None
    stops: tuple[float | None, ...]


def router() -> dict[str, Any]:
    """Three tries of each model, and what stands behind which."""
    behind: list[dict[str, list[str]]] = [{model: [SAFE]} for model in COVERED]
    behind[0] = {COVERED[0]: [TIRED, SAFE]}
    too_long, refused = [{"overflow": [SAFE]}], [{"refused": [SAFE]}]
    return {
        "num_retries": 2, "fallbacks": behind, "context_window_fallbacks": too_long,
        "content_policy_fallbacks": refused,
    }  # fmt: skip


def plan(turns: int, seed: int) -> Iterator[Job]:
    """Every behaviour in turn, then at random; three in ten questions are asked two or three times, cold."""
    chance = random.Random(seed)
    made = 0
    while made < turns:
        model = PLANNED[made] if made < len(PLANNED) else chance.choice(PLANNED)
        cold = chance.random() < 0.3
        times = min(chance.choice((2, 3)) if cold else 1, turns - made)
        stops = tuple(chance.uniform(0.0, 1.2) if chance.random() < 1 / 8 else None for _ in range(times))
        yield Job(model, 0.0 if cold else None, stops)
        made += times


def run(chat: Chat, turns: int, seed: int) -> list[Ask]:
    """All turns, eight at once."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [ask for asks in pool.map(lambda job: list(_work(chat, job)), plan(turns, seed)) for ask in asks]


def _work(chat: Chat, job: Job) -> Iterator[Ask]:
    """Ask, perhaps stop, and wait for the end, also of a reply that was begun anew."""
    marker, turns = secrets.token_hex(8), chat.core.turns
    settings = TurnSettings(temperature=job.temperature)
    for stop_after in job.stops:
        asked = chat.ask(job.model, f"please answer {marker}", settings=settings)
        if stop_after is not None:
            time.sleep(stop_after)
            turns.stop(chat.who, str(asked.turn_id))
        chat.words(asked)
        while running := turns.active(chat.who, asked.conversation_id):
            chat.words(Asked(asked.conversation_id, running[0].turn_id))
        yield Ask(job.model, marker, asked.conversation_id, stop_after)


def soak(folder: Path, turns: int, seed: int, mode: Mode) -> int:
    """Half of the turns streamed, half of them whole; prints the tables and returns the number of faults."""
    own: dict[str, Any] = {"mid_reply": mode, "slow_after": 1.0}
    with HostileProvider() as provider, running_core(folder, provider, list(MODELS), router=router(), **own) as core:
        chat, operator = Chat(core, provider, "ada"), add_person(core.db, "operator", role="operator")
        began = time.monotonic()
        asks = run(chat, turns - turns // 2, seed)
        core.flags.set(operator, streaming=False)
        asks += run(chat, turns // 2, seed + 1)
        took = time.monotonic() - began
        story = compare(core, provider, asks)
        print(f"\n## After a break: {mode}\n\n{report(asks, story)}\n")
        print(f"{len(asks):,} turns in {took:.0f} s, half of them whole replies")
        print(summary(core, provider, story))
        count = sum(map(len, story.faults.values()))
        print(f"{count} faults", *story.faults.get("", []), sep="\n")
        return count


def summary(core: Core, provider: HostileProvider, story: Story) -> str:
    """What was compared, in sentences."""
    rows = [*(row for row, _ in story.pairs), *story.cached, *story.unsent]
    reported = sum(call.usage["total_tokens"] for _, call in story.billed if call.usage)
    written = sum(row.prompt_tokens + row.completion_tokens for row, _ in story.billed)
    left = sum(call.usage["total_tokens"] for _, call in story.left if call.usage)
    cost, saved = sum(row.cost_nano_usd or 0 for row in rows), sum(row.saved_nano_usd for row in story.cached)
    again = Counter(row.attempt for row in rows)
    return "\n".join(
        (
            f"{len(rows):,} ledger rows: {len(story.pairs):,} for the provider's {len(provider.log):,} calls, "
            f"{len(story.cached):,} served by the cache, {len(story.unsent):,} stopped before anything was sent",
            f"{sum(count for attempt, count in again.items() if attempt > 1):,} of them are second and further calls",
            f"tokens that the provider reported for rows marked `provider`: {reported:,}; in those rows: {written:,}",
            f"reported when nobody listened any more: {left:,} tokens of {len(story.left):,} calls, estimated or none",
            f"cost {cost:,} nano-USD, saved by the cache {saved:,}",
        )
    )


def report(asks: Sequence[Ask], story: Story) -> str:
    """A line for each model that was called or served."""
    asked = Counter(ask.model for ask in asks)
    rows: dict[str, list[UsageMetric]] = {}
    for row in [*(row for row, _ in story.pairs), *story.cached, *story.unsent]:
        rows.setdefault(row.model, []).append(row)
    head = ("behaviour", "asked", "rows", "outcomes", "tokens from", "tokens", "nano-USD", "faults")
    lines: list[tuple[str, ...]] = [head]
    for model in dict.fromkeys([*PLANNED, *rows]):
        mine = rows.get(model, [])
        outcomes, sources = Counter(row.outcome for row in mine), Counter(row.usage_source for row in mine)
        lines.append(
            (
                model,
                str(asked[model]),
                str(len(mine)),
                ", ".join(f"{count} {name}" for name, count in outcomes.most_common()),
                ", ".join(f"{count} {name}" for name, count in sources.most_common()),
                f"{sum(row.prompt_tokens + row.completion_tokens for row in mine):,}",
                f"{sum(row.cost_nano_usd or 0 for row in mine):,}",
                "; ".join(f"{count}× {words}" for words, count in Counter(story.faults.get(model, [])).items())
                or "none",
            )
        )
    return table(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.soak_ledger", description=__doc__)
    parser.add_argument("--turns", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    faults = 0
    modes: tuple[Mode, Mode] = ("continue", "restart")
    for number, mode in enumerate(modes):
        with tempfile.TemporaryDirectory(prefix="chatcore-ledger-") as temporary:
            faults += soak(Path(temporary), arguments.turns // 2, arguments.seed + 2 * number, mode)
    sys.exit(1 if faults else 0)
