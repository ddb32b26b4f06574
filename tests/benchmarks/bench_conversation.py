"""A conversation of 10,000 messages and 500 branches, beside one of 10: opening it, switching, forking, deleting.

    python -m tests.benchmarks.bench_conversation                  SQLite, and PostgreSQL where one answers
    python -m tests.benchmarks.bench_conversation --only sqlite

Two long ones: `spread` has its 500 branches all along the way, `fan` has 500 replies to its last question. While the
calls run, another thread writes nothing again and again: as long as that waits, the words of a running reply wait.
Times are warm, in milliseconds. PostgreSQL is the server at `CHATCORE_TEST_POSTGRES_URL`, in a database made and
dropped here. Ends with status 1 when a mark is not held.
"""

import argparse
import math
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy import insert, text, update
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError

from chatcore.conversations import Conversations, indexing, store
from chatcore.conversations.history import History
from chatcore.db import Database, upgrade
from chatcore.db.tables import Conversation, Message
from tests.benchmarks.bench_lists import postgres
from tests.benchmarks.bench_search import texts
from tests.benchmarks.running import table
from tests.benchmarks.watch import spread
from tests.conftest import add_person

LONG: Final = 10_000
BRANCHES: Final = 500
FORKED: Final = 2_000
MOST_RATIO: Final = 2.0  # of opening with ten messages in view
MOST_MS: Final = 50.0  # of opening, p95
MOST_WAIT_MS: Final = 300.0  # of another write: words wait 250 ms for theirs, and may be lost for 500
_SAID: Final = texts(7)
_BATCH: Final = 1_000

Shape = list[int | None]  # the number of each message's parent


def chain(count: int) -> Shape:
    return [None, *range(count - 1)]


def spread_branches() -> Shape:
    """Another question with its reply at 500 places along the way."""
    main = LONG - 2 * BRANCHES
    shape = chain(main)
    for number in range(BRANCHES):
        shape += [number * (main // BRANCHES) + 1, len(shape)]
    return shape


def fan() -> Shape:
    """Five hundred replies to the last question."""
    last = LONG - BRANCHES - 1
    return [*chain(last + 1), *[last] * BRANCHES]


@dataclass(frozen=True)
class Made:
    """A conversation and the ids of its messages by their numbers."""

    id: str
    ids: list[str]


class House:
    """A database with one person, and conversations of any shape."""

    def __init__(self, db: Database) -> None:
        self.db, self.who = db, add_person(db, "ada")
        self._made = 0

    def make(self, shape: Shape, head: int) -> Made:
        """Write a conversation with its index; `head`: the number of its newest message."""
        self._made += 1
        ids = [f"msg_{self._made:04d}{number:08d}" for number in range(len(shape))]
        options: dict[str, Any] = {"model": "m", "agent_id": None, "settings": {}}
        made = self.db.write(lambda session: store.create(session, self.who, "A long one", **options))
        for first in range(0, len(shape), _BATCH):
            self._write(made.id, ids, shape, range(first, min(first + _BATCH, len(shape))))
        self.db.write(lambda session: store.advance(session, made.id, ids[head], len(shape)))
        return Made(made.id, ids)

    def _write(self, conversation_id: str, ids: list[str], shape: Shape, numbers: range) -> None:
        whose = {"tenant_id": self.who.tenant_id, "user_id": self.who.user_id}
        rows: list[dict[str, Any]] = []
        for number in numbers:
            parent, content = shape[number], _SAID(number % 2 == 1)
            row: dict[str, Any] = {
                "id": ids[number],
                "parent_id": None if parent is None else ids[parent],
                "content": content,
            }
            row |= {"conversation_id": conversation_id, "role": "assistant" if number % 2 else "user", "metadata": {}}
            rows.append(whose | row | {"status": "complete", "parts": [], "prompt_tokens": 40, "cost_nano_usd": 1_000})
        found = [(row["id"], indexing.spelled(row["content"])) for row in rows]

        def work(session: Any) -> None:
            session.execute(insert(Message.__table__), rows)  # type: ignore[arg-type]
            indexing.index_many(session, conversation_id, whose, found)

        self.db.write(work)

    def show(self, made: Made, number: int) -> None:
        """Make a message the head, in no time."""
        head = update(Conversation).where(Conversation.id == made.id).values(head_message_id=made.ids[number])
        self.db.write(lambda session: session.execute(head))


class Waits:
    """A thread that writes nothing again and again, and how long the longest of these took, in milliseconds."""

    def __init__(self, db: Database) -> None:
        self._db, self._ended, self.most = db, threading.Event(), 0.0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Waits":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(0.01):
            start = time.perf_counter()
            self._db.write(lambda session: None)
            self.most = max(self.most, (time.perf_counter() - start) * 1000)


@dataclass(frozen=True)
class Timed:
    """Milliseconds. `waits`: the longest that another write took meanwhile; NaN where it was not looked at."""

    least: float
    p50: float
    p95: float
    waits: float = float("nan")


def timed(works: Iterable[Callable[[], object]], warm: int) -> Timed:
    """Time each call but the first `warm` ones."""
    found = []
    for work in works:
        start = time.perf_counter()
        work()
        found.append((time.perf_counter() - start) * 1000)
    p50, p95 = spread(found[warm:], 50, 95)
    return Timed(min(found[warm:]), p50, p95)


def side_by_side(work: Callable[[], object], beside: Callable[[], object], times: int) -> tuple[Timed, Timed]:
    """Time two calls by turns, so that both feel what else the machine does."""
    found: list[list[float]] = [[], []]
    for _ in range(times + 10):
        for one, values in zip((work, beside), found, strict=True):
            start = time.perf_counter()
            one()
            values.append((time.perf_counter() - start) * 1000)
    long, short = (Timed(min(values[10:]), *spread(values[10:], 50, 95)) for values in found)
    return long, short


def with_waits(db: Database, works: Iterable[Callable[[], object]], warm: int) -> Timed:
    """`timed`, and what others wait for meanwhile."""
    with Waits(db) as waits:
        found = timed(works, warm)
    return replace(found, waits=waits.most)


@dataclass(frozen=True)
class Case:
    """A call, and the same on the conversation of 10."""

    name: str
    work: Callable[[], object]
    beside: Callable[[], object]
    opens: bool = False
    writes: bool = False


def cases(db: Database, house: House) -> list[Case]:
    """What is done with a conversation again and again."""
    talks, who = Conversations(db), house.who
    short, wide = house.make(chain(10), 9), house.make(fan(), LONG - 1)
    main = LONG - 2 * BRANCHES
    long = house.make(spread_branches(), main - 1)
    open_short = lambda: talks.window(who, short.id)  # noqa: E731
    assert len(talks.window(who, long.id)[1].siblings) > 0
    assert len(talks.window(who, wide.id)[1].siblings[wide.ids[-1]]) == BRANCHES
    far = long.ids[main - 9_000 + 1]
    assert far in {one.id for one in talks.window(who, long.id, around=far)[1].messages}

    def to_branch(made: Made, message: int, head: int) -> Callable[[], None]:
        def work() -> None:
            talks.switch(who, made.id, made.ids[message])
            house.show(made, head)

        return work

    return [
        Case("open with 10 in view", lambda: talks.window(who, long.id, 10), open_short, opens=True),
        Case("open with 30, branches spread", lambda: talks.window(who, long.id), open_short),
        Case("open with 30, 500 replies to one question", lambda: talks.window(who, wide.id), open_short),
        Case(
            "open around a message 9,000 above",
            lambda: talks.window(who, long.id, around=far),
            lambda: talks.window(who, short.id, around=short.ids[2]),
        ),
        Case(
            "switch_to a message 9,000 above",
            lambda: talks.switch_to(who, long.id, far),
            lambda: talks.switch_to(who, short.id, short.ids[2]),
        ),
        Case("switch, 10,000 messages below", to_branch(long, 1, main - 1), to_branch(short, 1, 9), writes=True),
        Case("switch, a leaf", to_branch(wide, LONG - 7, LONG - 1), to_branch(short, 9, 9), writes=True),
        Case("totals", lambda: talks.totals(who, long.id), lambda: talks.totals(who, short.id)),
    ]


def big_changes(db: Database, house: House, times: int) -> Iterator[tuple[str, Timed, Timed]]:
    """Forking and deleting, each time another conversation."""
    talks, history, who = Conversations(db), History(db), house.who

    def forks(made: Made, number: int) -> Iterator[Callable[[], object]]:
        return (lambda: talks.fork(who, made.ids[number]) for _ in range(times + 1))

    def deletes(count: int) -> list[Callable[[], object]]:
        made = [house.make(chain(count), count - 1).id for _ in range(times + 1)]
        return [lambda one=one: history.delete(who, [one]) for one in made]  # type: ignore[misc]

    source = house.make(chain(FORKED), FORKED - 1)
    yield f"fork, {FORKED:,} messages", with_waits(db, forks(source, FORKED - 1), 1), timed(forks(source, 9), 1)
    many, few = deletes(LONG), deletes(10)
    yield f"delete, {LONG:,} messages", with_waits(db, many, 1), timed(few, 1)


def run(db: Database, kind: str, options: argparse.Namespace) -> list[str]:
    """Fill, measure, print; what is not held."""
    upgrade(db)
    house = House(db)
    made = cases(db, house)
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE" if db.is_sqlite else "VACUUM ANALYZE"))
    rows, faults = [], []

    def note(name: str, long: Timed, short: Timed, opens: bool = False) -> None:
        ratio, waits = long.p50 / short.p50, "" if math.isnan(long.waits) else f"{long.waits:.0f}"
        figures = (long.least, long.p50, long.p95, short.least, short.p50, ratio)
        rows.append((name, *(f"{one:.2f}" for one in figures), waits))
        if (opens and ratio > MOST_RATIO) or (name.startswith("open with") and long.p95 > MOST_MS):
            faults.append(f"{kind}, {name}: {ratio:.1f} times the short one, p95 {long.p95:.1f} ms")
        if long.waits > MOST_WAIT_MS:
            faults.append(f"{kind}, {name}: another write waits {long.waits:.0f} ms")

    for case in made:
        long, short = side_by_side(case.work, case.beside, options.times)
        if case.writes:
            long = replace(long, waits=with_waits(db, [case.work] * 20, 0).waits)
        note(case.name, long, short, case.opens)
    for name, long, short in big_changes(db, house, options.big):
        note(name, long, short)
    head = (
        f"{kind}: {options.times} calls each",
        "least",
        "p50",
        "p95",
        "of 10: least",
        "p50",
        "ratio",
        "another write waits",
    )
    print("\n" + table([head, *rows]))
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--big", type=int, default=3, help="how often a fork and a deletion are timed")
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    options = parser.parse_args()
    faults: list[str] = []
    if options.only != "postgres":
        with tempfile.TemporaryDirectory(prefix="chatcore-bench-") as folder:
            db = Database(URL.create("sqlite", database=str(Path(folder) / "tree.db")))
            faults += run(db, "SQLite", options)
            db.close()
    if options.only != "sqlite":
        try:
            with postgres() as url:
                db = Database(url)
                faults += run(db, "PostgreSQL", options)
                db.close()
        except OperationalError:
            print("\nPostgreSQL: skipped, no server answers at CHATCORE_TEST_POSTGRES_URL")
    print("\n" + "\n".join(f"NOT HELD: {fault}" for fault in faults) if faults else "\nheld")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
