"""What the gateway costs: beside the provider itself, beside bare litellm and beside the LiteLLM proxy.

    python -m tests.benchmarks.bench_gateway                              makes the proxy's environment: minutes
    python -m tests.benchmarks.bench_gateway --proxy-venv /tmp/proxyvenv  made there once, used again
    python -m tests.benchmarks.bench_gateway --rounds 1 --times 10        a look

Each way of asking is a process of its own over one hostile provider; they take turns, in another order each round.
Added to the first word is the time from asking to seeing it, less what the provider itself took. Prints Markdown; ends
with status 1 when a reply is not whole or a mark is not held.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.gateway_figures import Taken, account, cpu_rows, failover_rows, first_rows, markdown, verdicts
from tests.benchmarks.gateway_lanes import Answer, Order, Reply
from tests.benchmarks.gateway_place import DEAD, PROXY, environment, install, proxy, words_of, write_config
from tests.benchmarks.running import ROOT, calls, hostile

LANES: Final = ("direct", "bare", "gateway", "turn", "proxy")
FAIL_OVER: Final = ("turn", "proxy")  # `gateway` makes one call; the turn goes on to the next model


@dataclass
class Driver:
    """A lane's process."""

    name: str
    process: "subprocess.Popen[str]"
    log: Path
    asked: int = 0

    def carry_out(self, what: str, model: str, count: int, within: float | None = None) -> Answer:
        """Ask `count` questions that nobody asked before."""
        questions = [f"{self.name} {what} {self.asked + number:05d}" for number in range(count)]
        self.asked += count
        assert self.process.stdin
        print(json.dumps(asdict(Order(model, questions, within))), file=self.process.stdin, flush=True)
        found = self.answer()
        return Answer([Reply(**reply) for reply in found["replies"]], found["cpu"], found["cpu_behind"])

    def answer(self) -> dict[str, Any]:
        """The next line. Raises `RuntimeError` when the process has gone."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the lane {self.name} ended: {self.log.read_text()[-2000:]}")
        return dict(json.loads(line))


@contextmanager
def driver(name: str, url: str, folder: Path, pid: int | None = None) -> Iterator[Driver]:
    """A lane's process, warm, until the block ends."""
    command = [sys.executable, "-m", "tests.benchmarks.gateway_lanes", name, url, str(folder)]
    command += [str(pid)] if pid else []
    log = folder / f"{name}.log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        ) as process,
    ):
        running = Driver(name, process, log)
        running.answer()
        for model, count in (("single", 10), ("together", 50)):
            running.carry_out("warm", model, count, None if count == 10 else 0.0)
        yield running
        assert process.stdin
        process.stdin.close()
        process.wait(60)


@dataclass
class Findings:
    """Everything that was asked: by occasion, by lane, one `Answer` a round."""

    answers: dict[str, dict[str, list[Answer]]] = field(default_factory=dict)
    loads: list[float] = field(default_factory=list)

    def add(self, occasion: str, lane: str, answer: Answer) -> None:
        self.answers.setdefault(occasion, {}).setdefault(lane, []).append(answer)
        self.loads.append(os.getloadavg()[0])


def one_round(number: int, drivers: dict[str, Driver], options: argparse.Namespace, found: Findings) -> None:
    """Every occasion once for each lane (`together` three times), another lane first each round."""
    order = [*LANES[number % len(LANES) :], *LANES[: number % len(LANES)]]
    for lane in order:
        found.add("single", lane, drivers[lane].carry_out("single", "single", options.times))
    for _ in range(3):
        for lane in order:
            found.add("together", lane, drivers[lane].carry_out("together", "together", options.streams, 0.0))
    if number < options.cpu_rounds:
        for lane in order:
            found.add("one stream", lane, drivers[lane].carry_out("one", "flow", 1, 0.0))
            found.add("streams", lane, drivers[lane].carry_out("many", "flow", options.streams, 1.0))
    for dead in DEAD:
        for lane in FAIL_OVER:
            found.add(dead, lane, drivers[lane].carry_out(dead, dead, max(options.times // 4, 2)))


def measure(options: argparse.Namespace) -> tuple[Findings, list[dict[str, Any]]]:
    """Run all rounds. What was seen, and the provider's log."""
    found = Findings()
    with tempfile.TemporaryDirectory(prefix="chatcore-bench-") as name, hostile() as url, ExitStack() as stack:
        folder = Path(name)
        for place in (folder, folder / "gateway", folder / "turn"):
            place.mkdir(exist_ok=True)
            write_config(place / "config.yaml", url)
        beside = stack.enter_context(proxy(options.proxy_venv, folder))
        drivers = {
            lane: stack.enter_context(
                driver(lane, beside.url, folder, beside.pid) if lane == "proxy" else driver(lane, url, folder)
            )
            for lane in LANES
        }
        for number in range(options.rounds):
            one_round(number, drivers, options, found)
            print(f"round {number + 1} of {options.rounds}, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
        return found, calls(url)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proxy-venv", type=Path, help=f"an environment with {PROXY}; made there where it is missing")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu-rounds", type=int, default=3, help="rounds in which CPU is measured too")
    parser.add_argument("--times", type=int, default=40, help="questions one after the other, each round")
    parser.add_argument("--streams", type=int, default=50, help="questions at once")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # end what was started
    with tempfile.TemporaryDirectory(prefix="chatcore-proxy-") as name:
        options.proxy_venv = (options.proxy_venv or Path(name) / "venv").absolute()
        install(options.proxy_venv)
        began = time.time()
        found, log = measure(options)
    taken, faults = account(found.answers, log, _words)
    report(taken, found, options, time.time() - began)
    held, failed = verdicts(taken)
    for line in held:
        print("held:", line)
    for line in failed + faults[:20]:
        print("NOT HELD:", line)
    return 1 if failed or faults else 0


def _words(occasion: str) -> int:
    model = {"one stream": "flow", "streams": "flow"}.get(occasion, occasion)
    return words_of("single" if model in DEAD else model)


def report(taken: Taken, found: Findings, options: argparse.Namespace, seconds: float) -> None:
    """Print the tables."""
    load = statistics.median(found.loads)
    print(f"Rounds: {options.rounds}, in {seconds / 60:.0f} minutes, on {os.cpu_count()} cores; {PROXY}.")
    print(f"Load: median {load:.1f}, most {max(found.loads):.1f}, our own part included.\n")
    for rows in (first_rows(taken, options.streams), cpu_rows(taken, options.streams), failover_rows(taken)):
        print(markdown(rows) + "\n")


if __name__ == "__main__":
    sys.exit(main())
