"""Fifty workshops of five people open at once: what it costs when nobody asks, and how soon all see one who does.

    python -m tests.benchmarks.bench_workshops [--workshops 50] [--each 5] [--asking 20] [--people 10] [--words 300]

Every tab is open at a step of its workshop. First nobody does anything for ten seconds. Then somebody asks in twenty of
the workshops within three seconds: as many tabs follow a reply as `bench_load` has, and those of the others must find
it by themselves. Last, one page of a step with 1,000 messages is run again and again, as in `bench_page`. Ends with
status 1 when a word is missing, doubled or out of order for anybody, or a mark is not held.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.accounts.sessions import as_principal
from chatcore.db import Database
from chatcore.db.tables import Conversation, User, WorkshopStep
from chatcore.workshops import Workshops
from tests.benchmarks.bench_load import Ready, warm_up
from tests.benchmarks.bench_page import Cost, pages, seed
from tests.benchmarks.running import App, Meter, Place, calls, hostile, table
from tests.benchmarks.streamlit_client import Lost, Tab
from tests.benchmarks.watch import Watch, spread

STEP: Final = "empathize"
IDLE: Final = 10.0  # seconds
NOTICED: Final = 3.0  # seconds between two looks of a tab at what others did
MOST_MS, MOST_BYTES = 25.0, 60_000  # of one run of the page, as in bench_page


@dataclass
class Seen:
    """What one tab saw. Seconds after the question; `asks`: it was asked here, else by somebody else."""

    workshop: int
    asks: bool
    first: float = float("nan")
    last: float = float("nan")
    gap: float = float("nan")
    open_seconds: float = float("nan")
    faults: str = ""
    watch: Watch = field(default_factory=lambda: Watch(0))


def prepare(db: Database, count: int, each: int) -> tuple[list[str], list[list[int]], str]:
    """The sessions' ids, the numbers of the people in each, and one whose first step has 1,000 messages."""
    workshops = Workshops(db)
    people = db.read(lambda s: [as_principal(row) for row in s.scalars(select(User).order_by(User.username))])
    members = [[(number * each + place) % len(people) for place in range(each)] for number in range(count)]
    ids = [_session(workshops, [people[place] for place in of]) for of in members]
    long = _session(workshops, people[:1])
    db.write(lambda session: _fill(session, people[0], long))
    return ids, members, long


def _session(workshops: Workshops, people: list[Principal]) -> str:
    made = workshops.create(people[0], "design-thinking", "Better mornings")
    workshops.invite(people[0], made, [one.user_id for one in people[1:]])
    workshops.save_notes(people[0], made, STEP, "- They **wait** for the bus.\n" * 30, 0)
    return made


def _fill(session: Session, leader: Principal, session_id: str) -> None:
    conversation_id = seed(session, leader.username, 1_000)
    of = update(Conversation).where(Conversation.id == conversation_id)
    session.execute(of.values(workshop_session_id=session_id, step_id=STEP))
    step = update(WorkshopStep).where(WorkshopStep.session_id == session_id, WorkshopStep.step_id == STEP)
    session.execute(step.values(conversation_id=conversation_id))


async def one(seen: Seen, app: App, cookie: str, session_id: str, options: argparse.Namespace, rooms: "Rooms") -> None:
    """One tab: open, sit idle with the others, ask or find what was asked, follow it to its end."""
    tab = Tab(app.url, f"/workshops?w={session_id}&step={STEP}", {"chatcore_session": cookie})
    watch = seen.watch = Watch(options.words)
    try:
        async with rooms.opening:
            start = time.time()
            await tab.open(options.timeout)
            seen.open_seconds = time.time() - start
    except (Lost, OSError) as error:
        seen.faults = f"not opened: {error}"
    await rooms.ready.wait()
    await rooms.idle_over.wait()
    if seen.workshop >= options.asking:
        await rooms.over.wait()
    elif not seen.faults:
        tab.watch, watch.asked = watch, time.time() + options.ramp * seen.workshop / options.asking
        try:
            if seen.asks:
                await asyncio.sleep(options.ramp * seen.workshop / options.asking)
                await tab.ask(f"question {seen.workshop:04d}", watch, key="workshop_input")
            await tab.until(lambda: watch.complete and tab.idle, options.timeout)
        except (Lost, LookupError) as error:
            seen.faults = f"{type(error).__name__}: {error}"
        _take(seen, tab)
    await tab.close()


@dataclass
class Rooms:
    """What the tabs wait for together."""

    ready: Ready
    opening: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(8))
    idle_over: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)


def _take(seen: Seen, tab: Tab) -> None:
    watch = seen.watch
    seen.first = (watch.first or float("nan")) - watch.asked
    seen.last = (watch.last or float("nan")) - watch.asked
    seen.gap = watch.largest_gap
    faults = [seen.faults, *tab.errors()]
    if tab.numbers() != list(range(watch.words)):
        faults.append(f"{len(set(tab.numbers()))} of {watch.words} words stand, {len(tab.numbers())} in all")
    if watch.doubled or watch.disordered:
        faults.append(f"{watch.doubled} updates with doubled, {watch.disordered} with disordered words")
    seen.faults = "; ".join(fault for fault in faults if fault)


async def run(
    app: App, cookies: list[str], ids: list[str], members: list[list[int]], options: argparse.Namespace
) -> tuple[list[Seen], Meter, Meter]:
    """All tabs; the meters hold the ten idle seconds, and the time from the first question on."""
    seen = [Seen(number, asks=not place) for number, of in enumerate(members) for place in range(len(of))]
    rooms = Rooms(Ready(len(seen)))
    tasks = [
        asyncio.create_task(
            one(of, app, cookies[members[of.workshop][place % options.each]], ids[of.workshop], options, rooms)
        )
        for place, of in enumerate(seen)
    ]
    await rooms.ready.all_open.wait()
    await asyncio.sleep(2 * NOTICED)
    idle = Meter(app.pid)
    await asyncio.sleep(IDLE)
    idle.stop()
    rooms.idle_over.set()
    busy = Meter(app.pid)
    while not all(task.done() for task in tasks[: options.asking * options.each]):
        busy.sample()
        await asyncio.sleep(0.5)
    busy.stop()
    rooms.over.set()
    await asyncio.gather(*tasks)
    return seen, idle, busy


async def long_page(app: App, cookie: str, session_id: str, runs: int, notes: Path) -> Cost:
    """Run the page of a step with 1,000 messages again and again, when the server is quiet."""
    cost = Cost()
    async with Tab(app.url, f"/workshops?w={session_id}&step={STEP}", {"chatcore_session": cookie}) as tab:
        for number in range(runs + 5):
            before, ended, noted = tab.bytes_received, tab.runs_finished + 1, len(pages(notes))
            await tab.rerun()
            await tab.until(lambda ended=ended: tab.runs_finished >= ended and tab.idle, 30)  # type: ignore[misc]
            while len(found := pages(notes)) == noted:
                await asyncio.sleep(0.005)
            if number >= 5:
                cost.script.append(found[-1][0])
                cost.cpu.append(found[-1][1])
                cost.bytes_received.append(tab.bytes_received - before)
            await asyncio.sleep(0.05)
        cost.drawn = sum("Number " in text or "latency figures" in text for text in tab.texts())
        assert not tab.errors(), tab.errors()
    return cost


def report(seen: list[Seen], log: list[dict[str, Any]], cost: Cost, options: argparse.Namespace) -> list[str]:
    """Print the tables; what is not held."""
    ideal = options.words / options.rate
    said = {str(call["messages"][-1]["content"]): call["first_word_at"] for call in log}
    whole = [one for one in seen if not one.faults and one.workshop < options.asking]
    for one in whole:
        one.first -= said[f"question {one.workshop:04d}"] - one.watch.asked
    rows, faults = [("seconds", "p50", "p95", "mark p95")], []
    lines: list[tuple[str, list[float], float | None]] = []
    for asks, name, later in ((True, "who asks", 0.0), (False, "the others", NOTICED)):
        mine = [one for one in whole if one.asks == asks]
        lines += [
            (f"{name}: first words behind the provider", [one.first for one in mine], 0.5 + later),
            (f"{name}: last words after Enter", [one.last for one in mine], ideal * 1.1),
            (f"{name}: largest gap", [one.gap for one in mine], 0.75),
        ]
    lines.append(("a tab is open after", [one.open_seconds for one in whole], None))
    lines.append(("one run, 1,000 messages, ms (mark: p50)", cost.script, None))
    lines.append(("its CPU, ms", cost.cpu, None))
    lines.append(("its bytes, kB (mark: p50)", [size / 1000 for size in cost.bytes_received], None))
    for name, values, mark in lines:
        p50, p95 = spread(values, 50, 95)
        rows.append((name, f"{p50:.3f}", f"{p95:.3f}", f"{mark:g}" if mark else ""))
        if mark and not p95 <= mark:
            faults.append(f"{name}: {p95:.3f} > {mark:g}")
    print(table(rows))
    held = (("script", cost.script, MOST_MS), ("bytes", [float(size) for size in cost.bytes_received], MOST_BYTES))
    for what, of_runs, most in held:
        (p50,) = spread(of_runs, 50)
        if not p50 <= most:
            faults.append(f"one run, {what}: {p50:.1f} > {most:g}")
    return faults + [f"workshop {one.workshop}: {one.faults}" for one in seen if one.faults]


def show_meter(name: str, meter: Meter) -> None:
    page, children = meter.cpu()
    print(f"{name}: page process {page:.0%} of a core, {meter.own_rss / 2**20:.0f} MB; its children {children:.0%}, "
          f"{meter.children_rss / 2**20:.0f} MB")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workshops", type=int, default=50)
    parser.add_argument("--each", type=int, default=5, help="tabs in each workshop, a person each")
    parser.add_argument("--asking", type=int, default=20, help="workshops in which somebody asks")
    parser.add_argument("--people", type=int, default=10, help="who take part in several workshops")
    parser.add_argument("--ramp", type=float, default=3.0, help="seconds from the first question to the last")
    parser.add_argument("--words", type=int, default=300)
    parser.add_argument("--rate", type=float, default=20.0, help="words a second")
    parser.add_argument("--runs", type=int, default=100, help="of the page with 1,000 messages")
    parser.add_argument("--timeout", type=float, default=120.0)
    parser.add_argument("--profile", type=Path, help="write what the runs did there, for pstats; they get slower")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chatcore-bench-") as folder, hostile() as url:
        place = Place(Path(folder), {"load": f"ok;n={options.words};rate={options.rate:g}", "warm": "ok;n=5"}, url)
        notes = Path(folder) / "runs.csv"
        notes.touch()
        place.environment["BENCH_RUNS"] = str(notes)
        if options.profile:
            place.environment["BENCH_PROFILE"] = str(options.profile)
        cookies = place.people(max(options.people, options.each))
        db = Database(URL.create("sqlite", database=str(Path(folder) / "data" / "chatcore.db")))
        ids, members, long = prepare(db, options.workshops, options.each)
        db.close()
        with place.app(module="tests.benchmarks.metered") as app:
            asyncio.run(warm_up(app, cookies[0]))
            before = len(calls(url))
            seen, idle, busy = asyncio.run(run(app, cookies, ids, members, options))
            log = calls(url)[before:]
            cost = asyncio.run(long_page(app, cookies[0], long, options.runs, notes))
    faults = report(seen, log, cost, options)
    show_meter(f"{len(seen)} tabs open, nobody asks", idle)
    show_meter(f"{options.asking} replies, followed by {options.asking * options.each} of them", busy)
    if len(log) != options.asking:
        faults.append(f"{len(log)} calls for {options.asking} questions")
    for fault in faults[:20]:
        print("NOT HELD:", fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
