"""How soon a reply is in the database after the provider's last word.

    python -m tests.benchmarks.bench_stored [--turns 50] [--together 100]

Turns one after the other, then many that end at the same moment: with the turn engine in this process, and one after
the other in a tab of `streamlit run app.py`. The provider is a process of its own and writes down its last word;
`stored` is when the transaction with the reply, its ledger row and the turn's end was committed, `finished_at` the
time that stands in the row. A bare commit on the same database is timed beside it. Ends with status 1 when a reply
is not whole or a mark is not held.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select, text
from sqlalchemy.engine import URL

from chatcore.accounts import Principal
from chatcore.bootstrap import Core, open_core
from chatcore.config import load_settings
from chatcore.db import Database
from chatcore.db.tables import Message, Turn, UsageMetric
from tests.benchmarks.bench_load import warm_up
from tests.benchmarks.running import App, Place, calls, hostile, table
from tests.benchmarks.streamlit_client import Tab
from tests.benchmarks.watch import Watch, spread
from tests.conftest import add_person

MOST_MS: Final = 100.0
RATE: Final = 20  # words a second of the replies that end together
LONGEST: Final = 160  # words of the one that is asked first
WORDS: Final = 10  # of the replies that come one after the other


@dataclass(frozen=True)
class Stored:
    """Milliseconds from the provider's last word to the time in the row, and to the commit where that is known."""

    in_row: float
    committed: float = float("nan")


@contextlib.contextmanager
def engine(place: Place) -> Iterator[tuple[Core, Principal]]:
    """A started Core without pages, and a person."""
    core = open_core(load_settings(place.environment, root=place.folder))
    core.start()
    try:
        who = add_person(core.db, "ada")
        deadline = time.monotonic() + 60
        while not core.gateway.warm and time.monotonic() < deadline:
            time.sleep(0.05)
        yield core, who
    finally:
        core.close()


def wait_stored(core: Core, turn_id: str) -> float:
    """When the turn's end was committed, in seconds since 1970."""
    live = core.turns.engine.live(turn_id)
    assert live is not None
    deadline = time.monotonic() + 60
    while not live.finished:
        assert time.monotonic() < deadline, f"{turn_id} was not stored within a minute"
        time.sleep(0.002)
    return live.finished_at + time.time() - time.monotonic()


def one_by_one(core: Core, who: Principal, turns: int) -> dict[str, float]:
    """Ask, wait until it is stored, ask again. Question → when it was committed."""
    found = {}
    for number in range(turns):
        asked = core.turns.ask(who, None, f"single {number:04d}", model="single")
        assert asked.turn_id
        found[f"single {number:04d}"] = wait_stored(core, asked.turn_id)
    return found


def together(core: Core, who: Principal, count: int) -> dict[str, float]:
    """Ask one after the other, each for a shorter reply, so that all end at the same moment."""
    start, asked = time.monotonic(), {}
    for number in range(count):
        time.sleep(max(0.0, start + number / RATE - time.monotonic()))
        one = core.turns.ask(who, None, f"together {number:04d}", model=f"together-{number}")
        assert one.turn_id
        asked[f"together {number:04d}"] = one.turn_id
    return {question: wait_stored(core, turn_id) for question, turn_id in asked.items()}


async def in_a_tab(app: App, cookie: str, turns: int) -> None:
    """Ask one after the other on the page."""
    for number in range(turns):
        watch = Watch(WORDS)
        async with Tab(app.url, "/?model=single", {"chatcore_session": cookie}) as tab:
            await tab.ask(f"tab {number:04d}", watch)
            await tab.until(lambda watch=watch, tab=tab: watch.complete and tab.idle, 60)  # type: ignore[misc]


def account(db: Database, url: str, kind: str, committed: dict[str, float]) -> tuple[list[Stored], float, list[str]]:
    """Each reply of a kind, the seconds in which the provider said all the last words, and what is wrong."""
    said = {str(call["messages"][-1]["content"]): call for call in calls(url) if call["messages"]}
    question = select(Message.content, Message.id).where(Message.role == "user", Message.content.like(f"{kind} %"))
    rows = db.read(lambda session: session.execute(_replies(question.subquery())).all())
    found, faults, ends = [], [], []
    for row in rows:
        call = said[row.question]
        last = float(call["last_word_at"])
        ends.append(last)
        if row.status != "complete" or row.outcome != "ok" or row.content.count("[") != call["words"]:
            faults.append(f"{row.question}: {row.status}, {row.outcome}, {row.content.count('[')} of {call['words']}")
        commit = committed.get(row.question, float("nan"))
        found.append(Stored((row.finished_at.timestamp() - last) * 1000, (commit - last) * 1000))
    return found, max(ends) - min(ends), faults


def _replies(question: Any) -> Any:
    return (
        select(question.c.content.label("question"), Message.content, Message.status, Turn.finished_at)
        .add_columns(UsageMetric.outcome)
        .join(Message, Message.parent_id == question.c.id)
        .join(Turn, Turn.message_id == Message.id)
        .join(UsageMetric, UsageMetric.turn_id == Turn.id)
    )


def bare_commits(db: Database, count: int) -> list[float]:
    """Milliseconds of a transaction that changes one row, by itself."""
    found = []
    for _ in range(count):
        start = time.perf_counter()
        db.write(lambda session: session.execute(text("UPDATE tenants SET name = name")))
        found.append((time.perf_counter() - start) * 1000)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=50)
    parser.add_argument("--together", type=int, default=100)
    options = parser.parse_args()
    models = {"single": f"ok;n={WORDS}", "warm": "ok;n=5"}
    models |= {f"together-{number}": f"ok;n={LONGEST - number};rate={RATE}" for number in range(options.together)}
    with tempfile.TemporaryDirectory(prefix="chatcore-bench-") as folder, hostile() as url:
        place = Place(Path(folder), models, url)
        with engine(place) as (core, who):
            wait_stored(core, core.turns.ask(who, None, "warm up", model="warm").turn_id or "")
            bare = bare_commits(core.db, options.turns)
            committed = one_by_one(core, who, options.turns) | together(core, who, options.together)
        cookie = place.people(1)[0]
        with place.app() as app:
            asyncio.run(warm_up(app, cookie))
            asyncio.run(in_a_tab(app, cookie, options.turns))
        db = Database(URL.create("sqlite", database=str(Path(folder) / "data" / "chatcore.db")))
        found = {kind: account(db, url, kind, committed) for kind in ("single", "together", "tab")}
        db.close()
    return show(found, bare)


def show(found: dict[str, tuple[list[Stored], float, list[str]]], bare: list[float]) -> int:
    """Print the table; 1 when something is not held."""
    names = {"single": "one after the other", "together": "ending together", "tab": "one after the other, in a tab"}
    (bare_p95,) = spread(bare, 95)
    rows = [("after the last word, milliseconds", "turns", "p50", "p95", "most", "mark p95", "ratio to a bare commit")]
    faults = []
    for kind, (stored, span, wrong) in found.items():
        faults += wrong
        name = f"{names[kind]} (within {span:.2f} s)" if kind == "together" else names[kind]
        for what, values in (
            ("finished_at", [one.in_row for one in stored]),
            ("stored", [one.committed for one in stored if one.committed == one.committed]),
        ):
            p50, p95, most = spread(values, 50, 95, 100)
            if values:
                cells = (f"{p50:.1f}", f"{p95:.1f}", f"{most:.1f}", f"{MOST_MS:g}", f"{p95 / bare_p95:.1f}")
                rows.append((f"{name}: {what}", str(len(values)), *cells))
                if not p95 <= MOST_MS:
                    faults.append(f"{name}, {what}: {p95:.0f} ms > {MOST_MS:g} ms")
    print(table(rows))
    p50, p95 = spread(bare, 50, 95)
    print(f"\na bare commit on the same database: p50 {p50:.1f} ms, p95 {p95:.1f} ms")
    for fault in faults[:20]:
        print("NOT HELD:", fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
