"""Once an hour one process of the instance removes what is older than its time, and ends what was begun."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from chatcore.care import clock
from chatcore.care.people import PersonEraser
from chatcore.care.retention import Retention
from chatcore.db import Database, leases
from chatcore.db.tables import utcnow
from chatcore.errors import ChatcoreError
from chatcore.ids import new_id

log = logging.getLogger(__name__)

LEASE: Final = "retention"
_FIRST: Final = 60.0  # seconds after the start
_EVERY: Final = 3600.0
_PATIENCE: Final = 5.0  # seconds for the step that is being taken when the process ends
_OFTEN: Final = 6
"""Rounds in a row that another process was at work before that is told: it may be stuck."""


class Keeper:
    """A thread that does it."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._holder = new_id("keeper")
        self._jumps = clock.Jumps()
        self._refused = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="care", daemon=True)

    def start(self) -> None:
        """Begin, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Do no further round. One that is at work is left behind: each of its steps is a transaction of its own."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(_PATIENCE)

    def round(self) -> bool:
        """Do it now, unless another process does. Returns whether it was done. What fails holds nothing else up."""
        if not self._db.write(lambda session: leases.take(session, LEASE, self._holder, _EVERY)):
            self._refused += 1
            if self._refused % _OFTEN == 0:
                log.warning("another process has been at old data in every round", extra={"rounds": self._refused})
            return False
        self._refused = 0
        try:
            self._try(PersonEraser(self._db).resume, "people who are being erased are not gone yet")
            self._try(self._retain, "old data was not removed")
        finally:
            self._db.write(lambda session: leases.release(session, LEASE, self._holder))
        return True

    def _retain(self) -> None:
        jumped = self._jumps.ahead()
        doubt = self._db.write(lambda session: clock.doubt(session, utcnow(), jumped=jumped))
        if doubt is None:
            Retention(self._db).run()
        else:
            log.warning("old data was not removed, as the clock may be wrong", extra={"why": doubt})

    def _try(self, job: Callable[[], object], failed: str) -> None:
        try:
            job()
        except ChatcoreError as error:
            log.warning("%s; the next round tries again", failed, extra={"error": error.code})
        except Exception:
            if not self._stopping.is_set():  # else the database was closed
                log.exception("%s; the next round tries again", failed)

    def _run(self) -> None:
        wait = _FIRST
        while not self._stopping.wait(wait):
            wait = _EVERY
            try:
                self.round()
            except ChatcoreError as error:
                log.warning("old data was not removed; the next round tries again", extra={"error": error.code})
            except Exception:
                if self._stopping.is_set():
                    return  # the database was closed
                log.exception("old data could not be removed; the next round tries again")
