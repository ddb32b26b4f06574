"""Looks after alerts in the background: one process of the instance evaluates the rules and sends notices.

Which process that is, a lease in SQL says. A database that does not answer can say nothing: then every process that
notices it tells the instance's channels as it last knew them, once, and once more when the database is back.
"""

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, TypeVar

from chatcore.alerts import Alerts
from chatcore.alerts.channels import Sealed
from chatcore.alerts.delivery import Due
from chatcore.alerts.notices import Notice
from chatcore.db import Database, leases
from chatcore.db.tables import utcnow
from chatcore.errors import ChatcoreError, DatabaseError

T = TypeVar("T")
log = logging.getLogger(__name__)

LEASE: Final = "alerts"
_ROUNDS_AWAY: Final = 2
"""Rounds in a row that the database did not answer in before that is told."""
_HUNG: Final = 30.0  # seconds after which a database that says nothing counts as one that does not answer
_JUMP: Final = 30.0  # seconds by which a clock may be put right without anybody waiting


class Watch:
    """A thread that goes round every `every` seconds. `round` may also be called by hand, where no thread runs."""

    def __init__(
        self,
        db: Database,
        alerts: Alerts,
        every: float,
        *,
        now: Callable[[], datetime] = utcnow,
        monotonic: Callable[[], float] = time.monotonic,
        patience: float = _HUNG,
    ) -> None:
        """`every`: seconds between two rounds. `patience`: seconds that the database may take for its part of one."""
        self._db = db
        self._alerts = alerts
        self._every = every
        self._now = now
        self._clock = _Steadiness(now, monotonic)
        self._patience = patience
        self._holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._channels: Sequence[Sealed] = ()
        self._failures = 0
        self._told_away = False
        self._stuck: threading.Thread | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Go round in the background."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Go round no more, and leave the lease to others."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(15)
            try:
                self._db.write(lambda session: leases.release(session, LEASE, self._holder))
            except ChatcoreError:
                log.warning("the lease of alerts could not be given back; it ends by itself")

    def round(self) -> None:
        """One round. Raises nothing that a database or a channel may do."""
        steady = self._clock.look()
        try:
            due = self._bounded(lambda: self._look(steady))
            if due:
                done = self._alerts.send(due)
                self._bounded(lambda: self._alerts.record(done, self._now()))
        except DatabaseError:
            self._away()
        else:
            self._back()

    def _run(self) -> None:
        while not self._stopped.wait(self._every):
            try:
                self.round()
            except Exception:
                log.exception("alerts could not be looked after this time")

    def _look(self, steady: float) -> list[Due]:
        """The part of a round that asks the database: what is to be sent."""
        self._db.ping()
        self._channels = self._alerts.instance_channels()
        if not self._db.write(lambda session: leases.take(session, LEASE, self._holder, 2.5 * self._every)):
            return []
        now = self._now()
        self._alerts.look(now, steady)
        return self._alerts.due(now)

    def _bounded(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises; `DatabaseError` where it takes too long, also for the rounds after it while
        it goes on."""
        if self._stuck is not None and self._stuck.is_alive():
            raise DatabaseError("The database has not answered for a while.")
        results: list[T] = []
        errors: list[Exception] = []

        def run() -> None:
            try:
                results.append(work())
            except Exception as error:  # noqa: BLE001 - raised below, in the thread that asked
                errors.append(error)

        self._stuck = threading.Thread(target=run, name="alerts-round", daemon=True)
        self._stuck.start()
        self._stuck.join(self._patience)
        if errors:
            raise errors[0]
        if not results:
            raise DatabaseError("The database has not answered for a while.")
        return results[0]

    def _away(self) -> None:
        self._failures += 1
        log.warning("alerts could not be looked after: the database does not answer", extra={"rounds": self._failures})
        if self._failures >= _ROUNDS_AWAY and not self._told_away:
            self._told_away = self._tell(
                "firing",
                "[critical] Chatcore's database does not answer",
                f"Process {os.getpid()} on {socket.gethostname()} cannot reach it, so nobody can chat there. Every "
                "process that notices sends this once.",
            )

    def _back(self) -> None:
        self._failures = 0
        if self._told_away:
            self._told_away = not self._tell(
                "recovered",
                "[recovered] Chatcore's database answers again",
                f"Process {os.getpid()} on {socket.gethostname()} reaches it.",
            )

    def _tell(self, word: str, title: str, body: str) -> bool:
        """Whether there is nothing more to tell: somebody was reached, or there is nobody."""
        about = f"database-{self._holder}"
        notice = Notice("firing" if word == "firing" else "recovered", title, body, "critical", about)
        outcomes = self._alerts.tell(self._channels, notice)
        return not outcomes or any(one.sent for one in outcomes)


class _Steadiness:
    """How long the clock has gone steadily: it may be put right while Chatcore runs, or the machine may sleep."""

    def __init__(self, now: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self._now = now
        self._monotonic = monotonic
        self._offset: float | None = None
        self._jumped_at = -float("inf")

    def look(self) -> float:
        """Seconds since the last jump, infinity where there was none."""
        passed = self._monotonic()
        offset = self._now().timestamp() - passed
        if self._offset is not None and abs(offset - self._offset) > _JUMP:
            self._jumped_at = passed
            log.warning("the clock has jumped", extra={"seconds": round(offset - self._offset)})
        self._offset = offset
        return passed - self._jumped_at
