"""Search with 1,000,000 messages: one person has all of them, another has 1,000 in the same database.

    python -m tests.benchmarks.bench_search                      SQLite, and PostgreSQL where one answers
    python -m tests.benchmarks.bench_search --messages 200000
    python -m tests.benchmarks.bench_search --keep /tmp/search   keep the SQLite file, or use what is there

The words are made up and as unevenly spread as those of a language. Times are warm, in milliseconds; a search includes
ranking and snippets, as the history page asks for it. PostgreSQL is the server at `CHATCORE_TEST_POSTGRES_URL`, in a
database made and dropped here. Ends with status 1 when a mark is not held.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from sqlalchemy import insert, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError

from chatcore.accounts import Principal
from chatcore.conversations import indexing, search, words
from chatcore.conversations.history import Filters, History
from chatcore.db import Database, upgrade
from chatcore.db.tables import Conversation, Message, SearchEntry, User, utcnow
from tests.benchmarks.bench_lists import postgres, timed
from tests.benchmarks.running import table
from tests.benchmarks.seed_conversations import seed_conversations
from tests.benchmarks.watch import spread
from tests.conftest import add_person

MOST_MS: Final = 150.0
_BATCH: Final = 10_000
_SYLLABLES: Final = ("ba", "ko", "ri", "tes", "mun", "dal", "fi", "gor", "ley", "sam", "tru", "vin", "wep", "xo", "zul")


def vocabulary(rng: np.random.Generator, size: int = 30_000) -> list[str]:
    """Different made-up words, the short ones first."""
    found: dict[str, None] = {}
    while len(found) < size:
        count = 1 + len(found) * 3 // size + int(rng.integers(0, 2))
        found["".join(_SYLLABLES[index] for index in rng.integers(0, len(_SYLLABLES), count))] = None
        found[f"{'bkrtmd'[int(rng.integers(6))]}{len(found)}"] = None
    return list(found)[:size]


def texts(seed: int) -> Callable[[bool], str]:
    """Messages of 15 and of 90 words. `everywhere` stands in all, `seldom` in 1 of 100, `unicorn` in 1 of 20,000."""
    rng = np.random.default_rng(seed)
    known = np.array(vocabulary(rng), dtype=object)
    chances = 1 / np.arange(3, len(known) + 3)
    sums = np.cumsum(chances / chances.sum())
    drawn: Iterator[str] = iter(())
    count = 0

    def stream() -> Iterator[str]:
        while True:
            yield from known[np.searchsorted(sums, rng.random(100_000)).clip(max=len(known) - 1)]

    drawn = stream()

    def make(answer: bool) -> str:
        nonlocal count
        count += 1
        said = [next(drawn) for _ in range(90 if answer else 15)]
        said.append("everywhere is")
        if count % 100 == 7:
            said.insert(3, "seldom seen")
        if count % 20_000 == 11:
            said.insert(5, "unicorn horn")
        return " ".join(said) + "."

    return make


def fill(db: Database, messages: int) -> None:
    """Write both people's messages and their index, unless the database is full already."""
    if db.read(lambda session: session.scalar(select(User.id).where(User.username == "big"))):
        return
    now = utcnow()
    for name, count in (("big", messages), ("small", 1_000)):
        who = add_person(db, name)
        seed_conversations(db, who.tenant_id, who.user_id, count // 10, count, now=now, text=texts(len(name)))
    titles(db)
    with without_gin(db):
        index_all(db)
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE" if db.is_sqlite else "VACUUM ANALYZE"))


@contextmanager
def without_gin(db: Database) -> Iterator[None]:
    """PostgreSQL sorts all words at once in a minute, and one message after the other in half an hour."""
    if db.is_sqlite:
        yield
        return
    with db.engine.begin() as connection:
        made = text("SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_message_search_words'")
        definition = connection.execute(made).scalar_one()
        connection.execute(text("DROP INDEX ix_message_search_words"))
    yield
    with db.engine.begin() as connection:
        connection.execute(text("SET LOCAL maintenance_work_mem = '1GB'"))
        connection.execute(text(definition))


def titles(db: Database) -> None:
    with db.engine.begin() as connection:
        connection.execute(text("UPDATE conversations SET title_words = lower(title)"))


def index_all(db: Database) -> None:
    """Every message's entry, in the order of time, many at once."""
    query = select(Message.id, Message.tenant_id, Message.user_id, Message.conversation_id, Message.content)
    with db.engine.connect().execution_options(yield_per=_BATCH) as reading:
        at = 0
        for part in reading.execute(query.order_by(Message.created_at)).partitions():
            entries, indexed = [], []
            for row in part:
                at += 1
                whose = {"tenant_id": row.tenant_id, "user_id": row.user_id, "conversation_id": row.conversation_id}
                entries.append({"id": at, "message_id": row.id, **whose})
                indexed.append(indexing.indexed(db.is_sqlite, at, row.user_id, words.normal(row.content)))

            def work(session: Any, entries: list[Any] = entries, indexed: list[Any] = indexed) -> None:
                session.execute(insert(SearchEntry.__table__), entries)  # type: ignore[arg-type]
                session.execute(indexing.INSERT[db.is_sqlite], indexed)

            db.write(work)
    if not db.is_sqlite:
        with db.engine.begin() as connection:
            connection.execute(text("SELECT setval('search_entries_id_seq', (SELECT max(id) FROM search_entries))"))


def person(db: Database, name: str) -> Principal:
    row = db.read(lambda session: session.execute(select(User).where(User.username == name)).scalar_one())
    return Principal(row.id, row.tenant_id, row.username, row.name, "member")


def measure(db: Database, times: int) -> tuple[list[tuple[str, ...]], list[str]]:
    """The table's rows, and what is not held."""
    big, small, now = person(db, "big"), person(db, "small"), utcnow()
    history = History(db)
    rare_model = Filters(model="no/such")
    month = Filters(since=now - timedelta(days=200), until=now - timedelta(days=170))
    asked: list[tuple[str, str, Filters]] = [
        ("rare word", "unicorn", Filters()),
        ("word in 1 of 100", "seldom", Filters()),
        ("word everywhere", "everywhere", Filters()),
        ("two common words", "ba ko", Filters()),
        ("rare and common", "unicorn everywhere", Filters()),
        ("phrase, rare", '"unicorn horn"', Filters()),
        ("phrase, everywhere", '"everywhere is"', Filters()),
        ("phrase of common words that is not there", '"is ko ba is"', Filters()),
        ("prefix, rare", "unico", Filters()),
        ("prefix, common", "bak", Filters()),
        ("prefix, everywhere", "every", Filters()),
        ("no hit", "nowhere", Filters()),
        ("common, one month half a year ago", "everywhere", month),
        ("1 of 100, one month half a year ago", "seldom", month),
        ("common, a model without messages", "everywhere", rare_model),
    ]
    rows, faults = [], []
    for who in (big, small):
        calls: list[tuple[str, Callable[[], object]]] = []
        for name, query, filters in asked:
            first = history.find(who, query, filters, 20)
            calls.append(
                (
                    f"{name} ({len(first.hits)}{'+' if first.capped else ''})",
                    lambda who=who, q=query, f=filters: history.find(who, q, f, 20),
                )
            )
        calls.append(
            ("list, first page", lambda who=who: history.page(who, Filters(archived=False), offset=0, limit=30))
        )
        calls.append(("list, one model", lambda who=who: history.page(who, rare_model, offset=0, limit=30)))
        for name, work in calls:
            found = timed(work, times)
            p50, p95 = spread(found, 50, 95)
            rows.append((f"{who.username}: {name}", f"{min(found):.1f}", f"{p50:.1f}", f"{p95:.1f}"))
            if p95 > MOST_MS:
                faults.append(f"{who.username}, {name}: {p95:.0f} ms > {MOST_MS:g} ms")
    return rows, faults


def adding(db: Database, times: int = 300) -> tuple[float, float]:
    """p50 and p95 in milliseconds of indexing one more message of 300 words, in a transaction that is not counted."""
    make, found = texts(99), []
    who = person(db, "small")
    place = db.read(lambda s: s.scalars(select(Conversation.id).where(Conversation.user_id == who.user_id)).first())

    def work(session: Any) -> None:
        for number in range(times):
            content = " ".join(make(True) for _ in range(3))
            start = time.perf_counter()
            search.index(session, str(place), f"msg_bench{number}", content)
            found.append((time.perf_counter() - start) * 1000)
        session.rollback()

    db.write(work)
    p50, p95 = spread(found, 50, 95)
    return p50, p95


def run(db: Database, kind: str, options: argparse.Namespace) -> list[str]:
    """Fill, measure, print; what is not held."""
    upgrade(db)
    start = time.monotonic()
    fill(db, options.messages)
    print(f"\n{kind}: {options.messages:,} messages, filled in {time.monotonic() - start:.0f} s")
    rows, faults = measure(db, options.times)
    print(table([(f"{kind}: {options.times} searches each (hits shown)", "least ms", "p50 ms", "p95 ms"), *rows]))
    p50, p95 = adding(db)
    print(f"indexing a message of 300 words: p50 {p50:.2f} ms, p95 {p95:.2f} ms")
    return [f"{kind}: {fault}" for fault in faults]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=50, help="how often each search is timed")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the SQLite file stays for the next time")
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    options = parser.parse_args()
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="chatcore-bench-") as folder:
        if options.only != "postgres":
            place = options.keep or Path(folder)
            place.mkdir(parents=True, exist_ok=True)
            db = Database(URL.create("sqlite", database=str(place / "search.db")))
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
