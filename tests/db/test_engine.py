"""The two verbs of the database, on SQLite and on PostgreSQL: what they promise when several people write at once."""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, String, Table, delete, insert, select, text, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.event import listen
from sqlalchemy.exc import IntegrityError, OperationalError, StatementError
from sqlalchemy.orm import Session

from chatcore.db import Database
from chatcore.db.engine import changed_rows
from chatcore.db.tables import Tenant, UtcDateTime
from chatcore.errors import DatabaseError
from chatcore.ids import new_id
from tests.proxy import Proxy

META = MetaData()
COUNTERS = Table("test_counters", META, Column("id", Integer, primary_key=True), Column("value", Integer))
EVENTS = Table("test_events", META, Column("id", Integer, primary_key=True), Column("name", String, unique=True))
TIMES = Table("test_times", META, Column("id", Integer, primary_key=True), Column("at", UtcDateTime()))


@pytest.fixture
def db(module_database: Database) -> Database:
    def work(session: Session) -> None:
        META.create_all(session.connection())
        for table in (COUNTERS, EVENTS, TIMES):
            session.execute(delete(table))
        session.execute(insert(COUNTERS), [{"id": 1, "value": 0}])

    module_database.write(work)
    return module_database


def event(name: str) -> Any:
    return lambda session: session.execute(insert(EVENTS), [{"name": name}])


def events(db: Database) -> list[str]:
    return db.read(lambda session: list(session.scalars(select(EVENTS.c.name).order_by(EVENTS.c.id))))


def value(db: Database) -> int:
    return db.read(lambda session: session.scalar(select(COUNTERS.c.value)) or 0)


def test_what_is_written_is_read(db: Database) -> None:
    db.write(event("one"))
    assert events(db) == ["one"]


def test_the_result_of_the_work_is_handed_back(db: Database) -> None:
    assert db.write(lambda _: 42) == 42
    assert db.read(lambda _: 43) == 43


def test_reading_never_writes(db: Database) -> None:
    db.read(event("lost"))
    assert events(db) == []


def test_an_exception_rolls_all_of_it_back_and_is_raised(db: Database) -> None:
    def work(session: Session) -> None:
        event("half")(session)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        db.write(work)
    db.write(event("after"))
    assert events(db) == ["after"]


def test_a_broken_rule_of_the_database_is_raised_at_once(db: Database) -> None:
    runs = []

    def work(session: Session) -> None:
        runs.append(1)
        event("twice")(session)
        event("twice")(session)

    with pytest.raises(IntegrityError):
        db.write(work)
    assert runs == [1], "trying again would not help"
    assert events(db) == []


def test_sqlite_writes_happen_in_the_order_of_asking(database: Database) -> None:
    database.write(lambda session: META.create_all(session.connection()))
    for done in [database.submit(event(f"{number}")) for number in range(200)]:
        done.result(10)
    assert events(database) == [f"{number}" for number in range(200)]


def test_an_increment_in_one_statement_loses_nothing(db: Database) -> None:
    def more(session: Session) -> None:
        session.execute(update(COUNTERS).values(value=COUNTERS.c.value + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: db.write(more), range(100)))
    assert value(db) == 100


def test_reading_and_then_writing_under_a_lock_loses_nothing(db: Database) -> None:
    def more(session: Session) -> None:
        now = session.scalar(select(COUNTERS.c.value).with_for_update())
        session.execute(update(COUNTERS).values(value=now + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: db.write(more), range(100)))
    assert value(db) == 100


def test_two_processes_reading_and_writing_one_file_lose_nothing(database: Database) -> None:
    other = Database(database.url)
    database.write(lambda session: META.create_all(session.connection()))
    database.write(lambda session: session.execute(insert(COUNTERS), [{"id": 1, "value": 0}]))

    def more(session: Session) -> None:
        now = session.scalar(select(COUNTERS.c.value)) or 0
        session.execute(update(COUNTERS).values(value=now + 1))

    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: (database, other)[number % 2].write(more), range(100)))
    finally:
        other.close()
    assert value(database) == 100


def test_reads_go_on_while_somebody_writes(db: Database) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow(session: Session) -> None:
        event("slow")(session)
        inside.set()
        assert go_on.wait(10)

    done = db.submit(slow)
    assert inside.wait(10)
    assert events(db) == [], "not yet committed"
    go_on.set()
    done.result(10)
    assert events(db) == ["slow"]


def test_a_lock_of_another_process_is_waited_for(database: Database) -> None:
    database.write(lambda session: META.create_all(session.connection()))
    other = Database(database.url)
    holding, let_go = threading.Event(), threading.Event()

    def hold(session: Session) -> None:
        event("theirs")(session)
        holding.set()
        assert let_go.wait(10)

    try:
        theirs = other.submit(hold)
        assert holding.wait(10)
        ours = database.submit(event("ours"))
        assert not ours.done()
        let_go.set()
        ours.result(10)
        theirs.result(10)
    finally:
        let_go.set()
        other.close()
    assert events(database) == ["theirs", "ours"]


def test_a_busy_database_is_tried_again(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    runs = []

    def work(session: Session) -> None:
        event(f"run {len(runs)}")(session)
        runs.append(1)
        if len(runs) < 3:
            raise OperationalError("UPDATE x", {}, Exception("database is locked"))

    with caplog.at_level(logging.WARNING):
        db.write(work)
    assert events(db) == ["run 2"], "the first two were rolled back"
    assert [record.getMessage() for record in caplog.records] == ["database busy, write tried again"] * 2


def test_it_is_not_tried_for_ever(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatcore.db.engine.time.sleep", lambda _: None)
    runs = []

    def work(_: Session) -> None:
        runs.append(1)
        raise OperationalError("UPDATE x", {}, Exception("database is locked"))

    with pytest.raises(DatabaseError, match="try again"):
        db.write(work)
    assert len(runs) == 5


def test_a_deadlock_is_broken_and_nothing_is_lost(db: Database) -> None:
    if db.is_sqlite:
        return  # one writer, no deadlock
    db.write(lambda session: session.execute(insert(COUNTERS), [{"id": 2, "value": 0}]))
    both = threading.Barrier(2, timeout=10)
    runs: list[int] = []

    def crossed(first: int, second: int) -> Any:
        def work(session: Session) -> None:
            runs.append(first)
            for number in (first, second):
                session.execute(update(COUNTERS).where(COUNTERS.c.id == number).values(value=COUNTERS.c.value + 1))
                if number == first and len(runs) <= 2:
                    both.wait()

        return work

    for done in [db.submit(crossed(1, 2)), db.submit(crossed(2, 1))]:
        done.result(20)
    assert db.read(lambda session: list(session.scalars(select(COUNTERS.c.value)))) == [2, 2]
    assert len(runs) == 3, "one was the victim and ran again"


async def _both(db: Database) -> tuple[list[str], int]:
    ticks = 0
    writing = asyncio.create_task(db.awrite(_slow_event))
    while not writing.done():
        await asyncio.sleep(0)
        ticks += 1
    return await db.aread(lambda session: list(session.scalars(select(EVENTS.c.name)))), ticks


def _slow_event(session: Session) -> None:
    event("from a coroutine")(session)
    threading.Event().wait(0.05)


def test_coroutines_write_and_read_while_the_loop_goes_on(db: Database) -> None:
    names, ticks = asyncio.run(_both(db))
    assert names == ["from a coroutine"]
    assert ticks > 10


def test_closing_finishes_what_was_asked_for(database: Database) -> None:
    database.write(lambda session: META.create_all(session.connection()))
    for number in range(50):
        database.submit(event(str(number)))
    database.close()
    again = Database(database.url)
    assert len(events(again)) == 50
    again.close()


def test_changed_rows(db: Database) -> None:
    nobody = update(COUNTERS).where(COUNTERS.c.id == 99).values(value=1)
    assert db.write(lambda session: changed_rows(session.execute(nobody))) == 0
    assert db.write(lambda session: changed_rows(session.execute(update(COUNTERS).values(value=1)))) == 1


def test_sqlite_is_set_up_for_several_processes_and_for_rules(database: Database) -> None:
    def pragma(name: str) -> object:
        return database.read(lambda session: session.scalar(text(f"PRAGMA {name}")))

    assert {name: pragma(name) for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")} == {
        "journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 15_000,
    }  # fmt: skip


def test_the_session_of_a_write_is_not_the_next_ones(db: Database) -> None:
    db.write(lambda session: session.add(Tenant(id=new_id("tenant"), name=new_id("One"))))
    assert db.write(lambda session: len(session.identity_map)) == 0


# --- times ----------------------------------------------------------------------------------------------------------


def stored(db: Database, at: datetime | None) -> datetime | None:
    def work(session: Session) -> datetime | None:
        session.execute(insert(TIMES), [{"id": 1, "at": at}])
        found: datetime | None = session.scalar(select(TIMES.c.at))
        session.rollback()
        return found

    return db.write(work)


@given_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    at=st.datetimes(
        datetime(1971, 1, 1),
        datetime(9990, 1, 1),
        timezones=st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m))),
    )
)
def test_a_point_in_time_comes_back_as_utc(db: Database, at: datetime) -> None:
    found = stored(db, at)
    assert found == at
    assert found is not None
    assert found.tzinfo is UTC


def test_no_time_is_no_time(db: Database) -> None:
    assert stored(db, None) is None


def test_a_time_without_a_zone_is_refused(db: Database) -> None:
    with pytest.raises(StatementError, match="without a zone"):
        stored(db, datetime(2026, 1, 1))


def test_on_sqlite_times_are_text_that_sorts(database: Database) -> None:
    database.write(lambda session: META.create_all(session.connection()))
    zone = timezone(timedelta(hours=2))
    rows = [
        {"id": 1, "at": datetime(2026, 5, 4, 12, 0, tzinfo=zone)},
        {"id": 2, "at": datetime(2026, 5, 4, 11, tzinfo=UTC)},
    ]
    database.write(lambda session: session.execute(insert(TIMES), rows))
    raw = database.read(lambda session: list(session.scalars(text("SELECT at FROM test_times ORDER BY at"))))
    assert raw == ["2026-05-04 10:00:00.000000", "2026-05-04 11:00:00.000000"]


# --- asking whether it is there ------------------------------------------------------------------------------------


def test_a_database_that_is_there_answers(db: Database) -> None:
    db.ping()


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("postgresql+psycopg://chat:planted@127.0.0.1:1/chat?connect_timeout=2", "PostgreSQL at 127.0.0.1"),
        ("sqlite:////nowhere/planted/chat.db", "the SQLite file"),
    ],
)
def test_one_that_is_not_there_is_named_without_its_password(url: str, where: str) -> None:
    db = Database(make_url(url))
    with pytest.raises(DatabaseError) as caught:
        db.ping()
    db.close()
    assert str(caught.value) == f"The database does not answer: {where}. Check CHATCORE_DATABASE_URL."


def test_a_file_that_is_no_database_does_not_answer(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    path.write_bytes(b"this is a text about databases, and quite a long one at that\n" * 100)
    db = Database(URL.create("sqlite", database=str(path)))
    with pytest.raises(DatabaseError, match="the SQLite file"):
        db.ping()
    db.close()


# ---- the end of a process


@pytest.fixture
def hanging(postgres_url: URL) -> Iterator[Database]:
    """A PostgreSQL that said something once, and says nothing any more."""
    with closing(Proxy(str(postgres_url.host), postgres_url.port or 5432)) as proxy:
        database = Database(postgres_url.set(host="127.0.0.1", port=proxy.port))
        with database.engine.connect() as first, database.engine.connect() as second:
            for connection in (first, second):
                connection.execute(text("SELECT 1"))
        proxy.hang()
        yield database


@pytest.mark.postgres
def test_a_database_that_hangs_does_not_keep_a_process_from_ending(hanging: Database) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        write = hanging.submit(lambda session: session.execute(text("SELECT 1")))
        read = pool.submit(hanging.read, lambda session: session.execute(text("SELECT 1")))
        with hanging.let_go_after(0.3):
            hanging.close()
        for one in (write, read):
            with pytest.raises(DatabaseError):
                one.result(5)
    assert time.monotonic() - began < 5


@pytest.mark.postgres
def test_who_asks_after_that_is_told_at_once(hanging: Database) -> None:
    began = time.monotonic()
    with hanging.let_go_after(0.1):
        for _ in range(3):
            with pytest.raises(DatabaseError):
                hanging.write(lambda session: session.execute(text("SELECT 1")))
            with pytest.raises(DatabaseError):
                hanging.ping()
        hanging.close()
    assert time.monotonic() - began < 5


def test_an_end_in_time_lets_nothing_go(any_database: Database, caplog: pytest.LogCaptureFixture) -> None:
    with any_database.let_go_after(30):
        any_database.write(lambda session: session.execute(text("SELECT 1")))
        any_database.close()
    assert not caplog.records


def test_what_the_url_says_about_connecting_stands() -> None:
    asked: dict[str, Any] = {}

    def connecting(dialect: Any, _record: Any, _arguments: Any, named: dict[str, Any]) -> None:
        asked.update(named)
        raise dialect.loaded_dbapi.OperationalError

    with closing(Database(make_url("postgresql+psycopg://postgres@127.0.0.1:5432/x?keepalives_idle=7"))) as database:
        listen(database.engine, "do_connect", connecting)
        with pytest.raises(DatabaseError):
            database.ping()
    assert (asked["keepalives_idle"], asked["tcp_user_timeout"]) == ("7", "30000")
