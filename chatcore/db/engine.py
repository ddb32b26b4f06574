"""One database, SQLite or PostgreSQL, behind two verbs: `read` and `write`.

SQLite takes one writer at a time, and a transaction that reads first and writes later fails at once when another
wrote in between, whatever the busy timeout says. So every write of this process runs on one thread, in the order of
asking, inside `BEGIN IMMEDIATE`; other processes are waited for by the busy timeout. PostgreSQL writes run on a few
threads. Reads run in the caller's thread and never wait for writes (WAL).
"""

import asyncio
import logging
import random
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar
from weakref import WeakSet

from sqlalchemy import Connection, CursorResult, Result, create_engine, event, text
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import Session

from chatcore import metrics
from chatcore.errors import DatabaseError

T = TypeVar("T")
log = logging.getLogger(__name__)

_BUSY_TIMEOUT_MS: Final = 15_000
_WRITE_TRIES: Final = 5
_POSTGRES_WRITERS: Final = 4
_POSTGRES_CONNECTING: Final = {
    "connect_timeout": "10",
    # A host that is gone, or a network that swallows everything, is noticed within a minute.
    "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3", "tcp_user_timeout": "30000",
}  # fmt: skip
_AWAY: Final = "The database does not answer right now. Nothing was changed; try again in a moment."
_RETRYABLE_SQLSTATES: Final = frozenset({"40001", "40P01", "55P03"})  # serialization, deadlock, lock timeout


def changed_rows(result: Result[Any]) -> int:
    """How many rows an UPDATE or DELETE touched."""
    return result.rowcount if isinstance(result, CursorResult) else 0


class Database:
    """A connection pool and the writer queue. Safe to use from any thread; close it when done."""

    def __init__(self, url: URL) -> None:
        """`url`: as `config.database_url` returns it. Connects lazily; `ping` tells whether it answers."""
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.engine = _sqlite_engine(url) if self.is_sqlite else _postgres_engine(url)
        self._lifeline = None if self.is_sqlite else _Lifeline(self.engine)
        self._inode = 0
        writers = 1 if self.is_sqlite else _POSTGRES_WRITERS
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="db-writer")
        self._readers = ThreadPoolExecutor(8, thread_name_prefix="db-reader")

    def read(self, work: Callable[[Session], T]) -> T:
        """Run `work` in a session that is rolled back at its end, in this thread.

        Raises `DatabaseError` when the database does not answer.
        """
        try:
            with Session(self.engine, expire_on_commit=False) as session:
                return work(session)
        except (OperationalError, InterfaceError) as error:
            raise DatabaseError(_AWAY) from error

    def write(self, work: Callable[[Session], T]) -> T:
        """Run `work` in one transaction, on the writer queue, and wait for its commit.

        `work` may be run again when the database was busy or a deadlock was broken, so it must have no effect
        but on the session. Its exceptions roll back and are raised here; `DatabaseError` stands for a database that
        does not answer, or is busy for too long.
        """
        return self.submit(work).result()

    def submit(self, work: Callable[[Session], T]) -> "Future[T]":
        """Like `write`, without waiting."""
        return self._writers.submit(self._transact, work, time.monotonic())

    async def awrite(self, work: Callable[[Session], T]) -> T:
        """`write` for coroutines: the loop goes on meanwhile."""
        return await asyncio.wrap_future(self.submit(work))

    async def aread(self, work: Callable[[Session], T]) -> T:
        """`read` for coroutines: the loop goes on meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.read, work)

    def ping(self) -> None:
        """Raises `DatabaseError` when the database does not answer, or its SQLite file was removed or replaced."""
        try:
            self._check_file()
            with self.engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except (DBAPIError, OSError) as error:
            where = "the SQLite file" if self.is_sqlite else f"PostgreSQL at {self.url.host or 'the local socket'}"
            raise DatabaseError(f"The database does not answer: {where}. Check CHATCORE_DATABASE_URL.") from error

    def _check_file(self) -> None:
        """An open SQLite file goes on working after somebody moved it away, and all that is written is then lost."""
        if not self.is_sqlite:
            return
        path = Path(self.url.database or "")
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        found = path.stat().st_ino
        self._inode = self._inode or found
        if found != self._inode:
            raise DatabaseError("The SQLite file was replaced while Chatcore runs. Restart it.")

    @contextmanager
    def let_go_after(self, seconds: float) -> Iterator[None]:
        """For the end of a process: inside the `with`, and after so many seconds of it, whatever waits for PostgreSQL
        gets `DatabaseError`, and so does whoever asks it anything more. (SQLite keeps nobody waiting for long.)
        """
        cut = threading.Timer(seconds, self._lifeline.cut if self._lifeline else lambda: None)
        cut.daemon = True
        cut.start()
        try:
            yield
        finally:
            cut.cancel()

    def close(self) -> None:
        """Finish the writes that were asked for, then close every connection."""
        self._writers.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        self.engine.dispose()

    def _transact(self, work: Callable[[Session], T], asked: float) -> T:
        begun = time.monotonic()
        for attempt in range(1, _WRITE_TRIES + 1):
            try:
                with Session(self.engine, expire_on_commit=False) as session:
                    if self.is_sqlite:
                        session.connection(execution_options={"chatcore_write": True})
                    result = work(session)
                    session.commit()
                    metrics.written(begun - asked, time.monotonic() - begun)
                    return result
            except DBAPIError as error:
                if attempt == _WRITE_TRIES or not _is_passing(error):
                    if isinstance(error, OperationalError | InterfaceError):
                        metrics.write_failed()
                        raise DatabaseError(_AWAY) from error
                    raise
                metrics.write_retried()
                log.warning("database busy, write tried again", extra={"attempt": attempt})
                time.sleep(random.uniform(0.5, 1.0) * 0.05 * 2**attempt)
        raise AssertionError("unreachable")


def _is_passing(error: DBAPIError) -> bool:
    if isinstance(error, OperationalError) and "locked" in str(error.orig):
        return True
    return getattr(error.orig, "sqlstate", None) in _RETRYABLE_SQLSTATES


class _Lifeline:
    """The sockets to a PostgreSQL: a server that says nothing is waited for without end, until its socket is shut."""

    def __init__(self, engine: Engine) -> None:
        self._made: WeakSet[Any] = WeakSet()
        self._lock = threading.Lock()
        self._is_cut = False
        event.listen(engine, "do_connect", self._on_connecting)
        event.listen(engine, "connect", self._on_connect)

    def cut(self) -> None:
        """Shut them, and open no more."""
        log.warning("the database did not answer in time; what waits for it is given up")
        with self._lock:
            self._is_cut = True
            made = list(self._made)
        for connection in made:
            with suppress(Exception), closing(_socket_of(connection)) as its:  # closed ones have none
                its.shutdown(socket.SHUT_RDWR)

    def _on_connecting(self, dialect: Any, _record: Any, _arguments: Any, _named: Any) -> None:
        if self._is_cut:
            raise dialect.loaded_dbapi.OperationalError("The process ends.")

    def _on_connect(self, connection: Any, _record: Any) -> None:
        with self._lock:
            self._made.add(connection)


def _socket_of(connection: Any) -> socket.socket:
    return socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM)


def _postgres_engine(url: URL) -> Engine:
    connecting = {name: value for name, value in _POSTGRES_CONNECTING.items() if name not in url.query}
    return create_engine(
        url,
        pool_size=10,
        max_overflow=20,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,  # what people write must not stand in an error or a log
        connect_args={**connecting, "options": "-c timezone=utc"},
    )


def _enter_wal(connection: Any) -> None:
    """The first switch to WAL needs the file alone, and SQLite does not wait for that, whatever its busy timeout."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        pool_size=10,
        max_overflow=40,
        hide_parameters=True,
        connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        _enter_wal(connection)
        for pragma in ("synchronous=NORMAL", "foreign_keys=ON", "cache_size=-16000", "secure_delete=FAST"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("chatcore_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
