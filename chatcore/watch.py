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
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeVar

from chatcore import metrics
from chatcore.alerts import Alerts
from chatcore.alerts.delivery import Due
from chatcore.alerts.looks import Looked
from chatcore.alerts.notices import Notice
from chatcore.db import Database, leases
from chatcore.db.tables import utcnow
from chatcore.errors import ChatcoreError, DatabaseError

T = TypeVar("T")
log = logging.getLogger(__name__)

LEASE: Final = "alerts"
_ROUNDS_AWAY: Final = 2
"""Rounds in a row that the database did not answer in before that is told."""
_ROUNDS_BLIND: Final = 3  # the same, in which rules could not be evaluated
_DAY: Final = 86_400.0
_HUNG: Final = 30.0  # seconds after which a database that says nothing counts as one that does not answer
_GIVING_BACK: Final = 5.0  # seconds
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
        self._monotonic = monotonic
        self._clock = _Steadiness(now, monotonic)
        self._patience = patience
        self._holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._pruned_at = -float("inf")
        self._looked: Looked | None = None
        self._away = _Trouble(_ROUNDS_AWAY, "Chatcore's database does not answer", "Chatcore's database answers again")
        self._blind = _Trouble(_ROUNDS_BLIND, "Chatcore's alert rules fail", "Chatcore's alert rules work again")
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
                given_back = self._db.submit(lambda session: leases.release(session, LEASE, self._holder))
                given_back.result(_GIVING_BACK)
            except (ChatcoreError, TimeoutError):
                log.warning("the lease of alerts could not be given back; it ends by itself")

    def round(self) -> None:
        """One round. Raises nothing that a database or a channel may do."""
        steady = self._clock.look()
        self._looked = None
        try:
            due = self._bounded(lambda: self._look(steady))
            if due:
                done = self._alerts.send(due)
                self._bounded(lambda: self._alerts.record(done, self._now()))
        except DatabaseError:
            log.warning("alerts could not be looked after: the database does not answer")
            self._seen(self._away, "cannot reach it, so nobody can chat there. Every process that notices sends this.")
        except Exception:
            log.exception("alerts could not be looked after this time")
            self._seen(self._blind, "cannot look at any, so nothing that happens is told; its log says why.")
        else:
            self._over(self._away)
            self._tell_of(self._looked)

    def _run(self) -> None:
        threading.Thread(target=self._remember, name="alerts-channels", daemon=True).start()
        while not self._stopped.wait(self._every):
            self.round()

    def _remember(self) -> None:
        """Before the first round, so that a database that is away by then is told of."""
        try:
            self._alerts.remember_channels()
        except ChatcoreError:
            log.warning("the database does not answer, and where to tell that is not known yet")

    def _look(self, steady: float) -> list[Due]:
        """The part of a round that asks the database: what is to be sent."""
        self._db.ping()
        self._alerts.remember_channels()
        if not self._db.write(lambda session: leases.take(session, LEASE, self._holder, 2.5 * self._every)):
            return []
        now = self._now()
        self._looked = self._alerts.look(now, steady)
        if self._monotonic() - self._pruned_at > _DAY:
            self._alerts.prune(now)
            self._pruned_at = self._monotonic()
        return self._alerts.claim(now)

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

    def _tell_of(self, looked: Looked | None) -> None:
        """`looked`: None where another process looks."""
        if looked is None:
            return
        if looked.failed:
            self._seen(self._blind, f"cannot evaluate {', '.join(looked.failed)}; its log says why.")
            return
        self._over(self._blind)
        metrics.alerts_looked_at()

    def _seen(self, trouble: "_Trouble", what: str) -> None:
        """It is so in this round. `what`: what the process cannot do."""
        trouble.rounds += 1
        if trouble.rounds >= trouble.after and not trouble.told:
            trouble.told = self._tell(trouble, "firing", f"[critical] {trouble.begins}", what)

    def _over(self, trouble: "_Trouble") -> None:
        trouble.rounds = 0
        if trouble.told:
            trouble.told = not self._tell(trouble, "recovered", f"[recovered] {trouble.ends}", "says so.")

    def _tell(self, trouble: "_Trouble", word: Literal["firing", "recovered"], title: str, what: str) -> bool:
        """Whether there is nothing more to tell: somebody was reached, or there is nobody."""
        body = f"Process {os.getpid()} on {socket.gethostname()} {what}"
        about = f"{trouble.begins}-{self._holder}".replace(" ", "-")
        outcomes = self._alerts.tell(Notice(word, title, body, "critical", about))
        return not outcomes or any(one.sent for one in outcomes)


@dataclass
class _Trouble:
    """What is told when it was so in `after` rounds in a row, once, and once more when it is over."""

    after: int
    begins: str
    ends: str
    rounds: int = 0
    told: bool = False


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
