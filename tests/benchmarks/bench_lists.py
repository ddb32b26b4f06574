"""Conversation list, message window and usage report with 100,000 conversations and 1,000,000 messages.

    python -m tests.benchmarks.bench_lists                    SQLite, and PostgreSQL where one answers
    python -m tests.benchmarks.bench_lists --keep /tmp/full   keep the SQLite file there, or use the one that is there
    python -m tests.benchmarks.bench_lists --only sqlite

One person has 5,000 conversations, one of them with 10,000 messages; the others share the rest. The same calls are
timed beside it for a newcomer with one short conversation in the same database, and the ratio says what size costs.
PostgreSQL is the server at `CHATCORE_TEST_POSTGRES_URL`, in a database made and dropped here. Ends with status 1 when
a mark is not held, or the server that was asked for does not answer.
"""

import argparse
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Insert, create_engine, func, insert, literal, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError

from chatcore.accounts import Principal
from chatcore.conversations import RECENT, Conversations
from chatcore.db import Database, upgrade
from chatcore.db.tables import Conversation, Message, Turn, User, utcnow
from chatcore.usage import Filter, Usage, demo_data
from tests.benchmarks.running import table
from tests.benchmarks.seed_conversations import seed_conversations
from tests.benchmarks.watch import spread
from tests.conftest import POSTGRES_URL, add_person

MOST_MS: Final = 50.0
BIG_CONVERSATIONS: Final = 5_000
LONGEST: Final = 10_000
LEDGER_ROWS: Final = 100_000
_SEED_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class House:
    """A full database and two people in it: `big` with 5,000 conversations, `small` with one of ten messages."""

    db: Database
    big: Principal
    small: Principal
    longest: str
    short: str


def fill(db: Database, people: int, conversations: int, messages: int) -> None:
    """Write everybody, unless the database is full already."""
    if db.read(lambda session: session.scalar(select(User.id).where(User.username == "big"))):
        return
    big = add_person(db, "big", role="admin")
    now, tenant = utcnow(), big.tenant_id
    demo_data.make(db, tenant, days=90, rows=LEDGER_ROWS)  # first: it removes what is marked as demo
    # A day earlier: ids are made of time and number, and these two runs share the numbers.
    seed_conversations(db, tenant, big.user_id, 1, LONGEST, now=now - _SEED_DAY)
    per_conversation = (messages - LONGEST) / conversations
    own = BIG_CONVERSATIONS - 1
    seed_conversations(db, tenant, big.user_id, own, int(per_conversation * BIG_CONVERSATIONS), now=now)
    each = (conversations - BIG_CONVERSATIONS) // people
    for number in range(people):
        other = add_person(db, f"other{number:04d}")
        seed_conversations(db, tenant, other.user_id, each, int(per_conversation * each), now=now)
    small = add_person(db, "small")
    seed_conversations(db, tenant, small.user_id, 1, 10, now=now)
    db.write(lambda session: session.execute(_turns()))
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE" if db.is_sqlite else "VACUUM ANALYZE"))


def _turns() -> Insert:
    """An ended turn for each answer: the list asks whether one runs."""
    turn, answer = Turn.__table__, Message.__table__
    owner = {"owner_host": literal("bench"), "owner_pid": literal(1), "owner_started": literal("")}
    values = {"id": literal("turn_") + func.substr(answer.c.id, 5), "status": literal("complete"), **owner}
    values |= {name: answer.c[name] for name in ("tenant_id", "user_id", "conversation_id", "created_at")}
    values |= {"message_id": answer.c.id, "heartbeat_at": answer.c.created_at, "finished_at": answer.c.created_at}
    return insert(turn).from_select(  # type: ignore[arg-type]
        list(values), select(*values.values()).where(answer.c.role == "assistant")
    )


def house(db: Database) -> House:
    """Find the two people and the conversations that are timed."""

    def person(name: str) -> Principal:
        row = db.read(lambda session: session.execute(select(User).where(User.username == name)).scalar_one())
        return Principal(row.id, row.tenant_id, row.username, row.name, "admin" if name == "big" else "member")

    def longest(who: Principal) -> str:
        query = select(Conversation.id).where(Conversation.user_id == who.user_id)
        return db.read(lambda s: s.scalars(query.order_by(Conversation.message_count.desc()).limit(1)).one())

    big, small = person("big"), person("small")
    return House(db, big, small, longest(big), longest(small))


def timed(work: Callable[[], object], times: int) -> list[float]:
    """Milliseconds of each call, after some that are not counted."""
    for _ in range(10):
        work()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append((time.perf_counter() - start) * 1000)
    return found


def measure(house: House, times: int) -> tuple[list[tuple[str, ...]], list[str]]:
    """The table's rows, and what is not held. Every call stands beside the same call for the newcomer."""
    conversations, usage, end = Conversations(house.db), Usage(house.db), utcnow()
    month = Filter(end - timedelta(days=30), end)
    big, small = house.big, house.small
    last_page = BIG_CONVERSATIONS - RECENT
    assert len(conversations.recent(big)) == len(conversations.recent(big, RECENT, last_page)) == RECENT
    assert len(conversations.window(big, house.longest, 300)[1].messages) == 300
    assert usage.report(big, month).totals.calls > 0
    calls: list[tuple[str, Callable[[], object], Callable[[], object], float | None]] = [
        ("recent, first page", lambda: conversations.recent(big), lambda: conversations.recent(small), MOST_MS),
        (
            "recent, last page of 5,000",
            lambda: conversations.recent(big, RECENT, last_page),
            lambda: conversations.recent(small),
            MOST_MS,
        ),
        (
            "window, 30 of 10,000",
            lambda: conversations.window(big, house.longest),
            lambda: conversations.window(small, house.short),
            MOST_MS,
        ),
        (
            "window, 300 of 10,000",
            lambda: conversations.window(big, house.longest, 300),
            lambda: conversations.window(small, house.short, 300),
            None,
        ),
        (
            "usage report, tenant, 30 days",
            lambda: usage.report(big, month),
            lambda: usage.report(small, month),
            None,
        ),
    ]
    rows, faults = [], []
    for name, work, beside, mark in calls:
        own, other = timed(work, times), timed(beside, times)
        p50, p95 = spread(own, 50, 95)
        (beside_p95,) = spread(other, 95)
        rows.append(
            (
                name,
                f"{p50:.2f} ms",
                f"{p95:.2f} ms",
                f"{mark:g} ms" if mark else "",
                f"{beside_p95:.2f} ms",
                f"{p95 / beside_p95:.1f}",
            )
        )
        if mark is not None and not p95 <= mark:
            faults.append(f"{name}: {p95:.1f} ms > {mark:g} ms")
    return rows, faults


def run(db: Database, kind: str, options: argparse.Namespace) -> list[str]:
    """Fill, measure, print; what is not held."""
    upgrade(db)
    start = time.monotonic()
    fill(db, options.people, options.conversations, options.messages)
    filled = time.monotonic() - start
    count = {
        row: db.read(lambda session, row=row: session.scalar(select(func.count()).select_from(row)))
        for row in (User, Conversation, Message, Turn)
    }
    rows, faults = measure(house(db), options.times)
    head = (f"{kind}: {options.times} calls each", "p50", "p95", "mark", "newcomer p95", "ratio")
    print(f"\n{' · '.join(f'{n:,} {row.__tablename__}' for row, n in count.items())} (filled in {filled:.0f} s)")
    print(table([head, *rows]))
    return [f"{kind}, {fault}" for fault in faults]


@contextmanager
def postgres() -> Iterator[URL]:
    """A database of our own. Raises `OperationalError` where no server answers."""
    admin = create_engine(make_url(POSTGRES_URL), isolation_level="AUTOCOMMIT")
    name = f"chatcore_bench_{secrets.token_hex(6)}"
    try:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        try:
            yield make_url(POSTGRES_URL).set(database=name)
        finally:
            with admin.connect() as connection:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        admin.dispose()


def on_sqlite(folder: Path, options: argparse.Namespace) -> list[str]:
    db = Database(URL.create("sqlite", database=str(folder / "full.db")))
    try:
        return run(db, "SQLite", options)
    finally:
        db.close()


def on_postgres(options: argparse.Namespace) -> list[str]:
    try:
        with postgres() as url:
            db = Database(url)
            try:
                return run(db, "PostgreSQL", options)
            finally:
                db.close()
    except OperationalError:
        print("\nPostgreSQL: skipped, no server answers at CHATCORE_TEST_POSTGRES_URL")
        return ["PostgreSQL does not answer"] if options.only == "postgres" else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=100_000)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--people", type=int, default=475, help="who share what is not the one person's")
    parser.add_argument("--times", type=int, default=200, help="how often each call is timed")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the SQLite file stays for the next time")
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    options = parser.parse_args()
    faults = []
    with tempfile.TemporaryDirectory(prefix="chatcore-bench-") as folder:
        if options.only != "postgres":
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
            faults += on_sqlite(options.keep or Path(folder), options)
        if options.only != "sqlite":
            faults += on_postgres(options)
    print("\n" + "\n".join(f"NOT HELD: {fault}" for fault in faults) if faults else "\nheld")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
