"""Many people at once: how soon each sees the first words, how late the last, and what it costs.

    python -m tests.benchmarks.bench_load                      100 tabs, asked within 3 s, 300 words at 20/s
    python -m tests.benchmarks.bench_load -n 25 --ramp 0       25 people press Enter together
    python -m tests.benchmarks.bench_load --bare               bare litellm on the same streams, for comparison

Starts the hostile provider and `streamlit run app.py` as processes of their own, in a temporary folder. Ends with
status 1 when a word is missing, doubled or out of order, or a mark is not held.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.running import ROOT, App, Meter, Place, calls, hostile, table
from tests.benchmarks.streamlit_client import Lost, Tab
from tests.benchmarks.watch import Watch, spread


@dataclass
class Result:
    """One reply. Times in seconds after Enter; `provider_first`: when the provider said its first word."""

    number: int
    first: float = float("nan")
    last: float = float("nan")
    provider_first: float = float("nan")
    gap: float = float("nan")
    bytes_received: int = 0
    open_seconds: float = float("nan")
    faults: str = ""


class Ready:
    """Lets all tabs ask only when each is open."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.all_open = asyncio.Event()

    async def wait(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.all_open.set()
        await self.all_open.wait()


async def one(
    number: int, app: App, cookie: str, options: argparse.Namespace, ready: Ready, opening: asyncio.Semaphore
) -> Result:
    """One tab: open, wait for the others, ask, follow the reply to its end."""
    result, watch = Result(number), Watch(options.words)
    tab = Tab(app.url, "/?model=load", {"chatcore_session": cookie})
    try:
        async with opening:
            start = time.time()
            await tab.open(options.timeout)
            result.open_seconds = time.time() - start
    except (Lost, OSError) as error:
        result.faults = f"not opened: {error}"
    await ready.wait()
    if not result.faults:
        await asyncio.sleep(options.ramp * number / options.tabs)
        try:
            await tab.ask(f"question {number:04d}", watch)
            await tab.until(lambda: watch.complete and tab.idle, options.timeout)
        except (Lost, LookupError) as error:
            result.faults = f"{type(error).__name__}: {error}"
        _take(result, watch, tab)
    await tab.close()
    return result


def _take(result: Result, watch: Watch, tab: Tab) -> None:
    result.first = (watch.first or float("nan")) - watch.asked
    result.last = (watch.last or float("nan")) - watch.asked
    result.provider_first = watch.asked
    result.gap, result.bytes_received = watch.largest_gap, watch.bytes_received
    faults = [result.faults, *tab.errors()]
    if tab.numbers() != list(range(watch.words)):
        faults.append(f"{len(set(tab.numbers()))} of {watch.words} words stand, {len(tab.numbers())} in all")
    if watch.doubled or watch.disordered:
        faults.append(f"{watch.doubled} updates with doubled, {watch.disordered} with disordered words")
    result.faults = "; ".join(fault for fault in faults if fault)


def match_calls(results: list[Result], log: list[dict[str, Any]]) -> list[str]:
    """Put the provider's own first word beside each reply. What is wrong with the calls as a whole."""
    said: dict[int, list[dict[str, Any]]] = {}
    for call in log:
        text = str(call["messages"][-1]["content"]) if call["messages"] else ""
        if text.startswith("question "):
            said.setdefault(int(text.split()[1]), []).append(call)
    for result in results:
        mine = said.get(result.number, [])
        spoken = mine[-1]["first_word_at"] if mine else None
        result.provider_first = spoken - result.provider_first if spoken else float("nan")
    faults = []
    hidden = len(log) - sum(map(len, said.values()))
    repeated = sum(len(mine) - 1 for mine in said.values())
    if hidden or repeated:
        faults.append(f"{hidden} calls that nobody asked for, {repeated} questions called more than once")
    return faults


async def warm_up(app: App, cookie: str) -> None:
    """One short question, so that what is measured is a running server and not its start."""
    watch = Watch(words=5)
    async with Tab(app.url, "/?model=warm", {"chatcore_session": cookie}) as tab:
        await tab.ask("warm up", watch)
        await tab.until(lambda: watch.complete and tab.idle, 60)


async def run(app: App, cookies: list[str], options: argparse.Namespace) -> tuple[list[Result], Meter]:
    """All tabs; the meter holds CPU from the first question on and the largest memory."""
    ready, opening = Ready(options.tabs), asyncio.Semaphore(8)
    tasks = [
        asyncio.create_task(one(number, app, cookies[number % len(cookies)], options, ready, opening))
        for number in range(options.tabs)
    ]
    await ready.all_open.wait()
    meter = Meter(app.pid)
    while not all(task.done() for task in tasks):
        meter.sample()
        await asyncio.sleep(0.5)
    meter.stop()
    return [task.result() for task in tasks], meter


def report(results: list[Result], options: argparse.Namespace, meter: Meter | None) -> dict[str, Any]:
    """The numbers as they are held against the marks. Seconds, bytes, shares of a core."""
    whole = [result for result in results if not result.faults]
    behind = [result.first - result.provider_first for result in whole]
    found: dict[str, Any] = {"tabs": options.tabs, "whole": len(whole)}
    columns = {
        "first_behind_provider": behind,
        "first_after_enter": [result.first for result in whole],
        "last_after_enter": [result.last for result in whole],
        "largest_gap": [result.gap for result in whole],
        "kilobytes": [result.bytes_received / 1000 for result in whole],
        "open": [result.open_seconds for result in whole],
    }
    for name, values in columns.items():
        found[f"{name}_p50"], found[f"{name}_p95"] = spread(values, 50, 95)
    if meter:
        found["cpu_page"], found["cpu_children"] = meter.cpu()
        found["rss_page_mb"], found["rss_children_mb"] = meter.own_rss / 2**20, meter.children_rss / 2**20
    return found


def marks(options: argparse.Namespace) -> dict[str, float]:
    """What must be held at the 95th percentile, in seconds."""
    ideal = options.words / options.rate
    if options.tabs <= 25:
        return {"first_behind_provider_p95": 0.3, "last_after_enter_p95": ideal * 1.1, "largest_gap_p95": 0.75}
    return {"first_behind_provider_p95": 0.5, "last_after_enter_p95": ideal * 1.1, "largest_gap_p95": 0.75}


def show(found: dict[str, Any], options: argparse.Namespace, bare: dict[str, Any] | None) -> None:
    """Print the table."""
    ideal = {
        "first_behind_provider": 0.0,
        "last_after_enter": (options.words - 1) / options.rate,
        "largest_gap": 1 / options.rate,
    }
    held = marks(options)
    rows = [("", "p50", "p95", "ideal", "mark", "bare litellm p95", "ratio")]
    names = ["first_behind_provider", "first_after_enter", "last_after_enter", "largest_gap", "kilobytes", "open"]
    for name in names:
        p95, beside = found[f"{name}_p95"], (bare or {}).get(f"{name}_p95")
        mark = held.get(f"{name}_p95")
        rows.append(
            (
                name.replace("_", " "),
                f"{found[f'{name}_p50']:.3f}",
                f"{p95:.3f}",
                f"{ideal[name]:.2f}" if name in ideal else "",
                f"{mark:.2f}" if mark else "",
                f"{beside:.3f}" if beside else "",
                f"{p95 / beside:.2f}" if beside else "",
            )
        )
    print(table(rows))
    print(f"\n{found['whole']} of {found['tabs']} replies whole, every word once and in order")
    if "cpu_page" in found:
        print(
            f"page process: {found['cpu_page']:.0%} of a core, {found['rss_page_mb']:.0f} MB; "
            f"its children: {found['cpu_children']:.0%}, {found['rss_children_mb']:.0f} MB"
        )
    if bare:
        print(f"bare litellm in one process: {bare['cpu_page']:.0%} of a core")


def measure_bare(url: str, options: argparse.Namespace, behaviour: str) -> dict[str, Any]:
    """The same streams through `litellm.acompletion` alone, in one asyncio process."""
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.bare_litellm",
        url,
        behaviour,
        str(options.tabs),
        str(options.ramp),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--tabs", type=int, default=100)
    parser.add_argument("--ramp", type=float, default=3.0, help="seconds from the first question to the last")
    parser.add_argument("--words", type=int, default=300)
    parser.add_argument("--rate", type=float, default=20.0, help="words a second; 0: all at once")
    parser.add_argument("--paragraph", type=int, default=0, help="a blank line after so many words")
    parser.add_argument("--people", type=int, default=0, help="fewer people with several tabs each; 0: one tab each")
    parser.add_argument("--timeout", type=float, default=90.0)
    parser.add_argument("--bare", action="store_true", help="measure bare litellm on the same streams too")
    parser.add_argument("--json", type=Path, help="write every reply's numbers to this file")
    options = parser.parse_args()
    behaviour = f"ok;n={options.words};rate={options.rate:g};para={options.paragraph}"
    with tempfile.TemporaryDirectory(prefix="chatcore-bench-") as folder, hostile() as url:
        place = Place(Path(folder), {"load": behaviour, "warm": "ok;n=5"}, url)
        cookies = place.people(options.people or options.tabs)
        bare = measure_bare(url, options, behaviour) if options.bare else None
        with place.app() as app:
            asyncio.run(warm_up(app, cookies[0]))
            before = len(calls(url))
            results, meter = asyncio.run(run(app, cookies, options))
        faults = match_calls(results, calls(url)[before:])
    found = report(results, options, meter)
    show(found, options, bare)
    faults += [f"tab {result.number}: {result.faults}" for result in results if result.faults]
    faults += [
        f"{name} {found[name]:.3f} > {mark:g}" for name, mark in marks(options).items() if not found[name] <= mark
    ]
    for fault in faults[:20]:
        print("NOT HELD:", fault)
    if options.json:
        options.json.write_text(json.dumps({"summary": found, "bare": bare, "replies": [asdict(r) for r in results]}))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
