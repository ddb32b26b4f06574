"""Folding what is settled and in no rollup yet: rows that others wrote, and those from before an upgrade."""

import logging
import threading
from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from chatcore.db import Database
from chatcore.db.tables import NOT_ROLLED_UP, UsageMetric
from chatcore.errors import DatabaseError
from chatcore.usage import rollups

log = logging.getLogger(__name__)

BATCH: Final = 2_000  # rows that one transaction folds
_row: Final = UsageMetric.__table__.c


class Backlog:
    """A row that cannot be counted is logged once, and left out until the process starts anew."""

    def __init__(self, db: Database, stopped: threading.Event) -> None:
        self._db = db
        self._stopped = stopped
        self._uncountable: set[str] = set()

    def is_empty(self) -> bool:
        """Whether there is nothing to fold."""
        return self._db.read(lambda session: session.scalar(_rows(self._uncountable, 1))) is None

    def fold(self, limit: int | None) -> int:
        """Fold the oldest first, up to about `limit`; returns how many were."""
        done = 0
        while (limit is None or done < limit) and not self._stopped.is_set():
            count, more = self._fold_some()
            done += count
            if not more:
                break
        return done

    def _fold_some(self) -> tuple[int, bool]:
        """How many rows were folded, and whether there may be more."""
        but = frozenset(self._uncountable)
        try:
            count = self._db.write(lambda session: rollups.fold(session, _held(session, but)))
        except DatabaseError:
            raise
        except Exception:  # noqa: BLE001 - said of the very row that it is about
            ids = self._db.read(lambda session: session.scalars(_rows(but, BATCH)).all())
            return self._fold_apart(ids), len(ids) == BATCH
        return count, count == BATCH

    def _fold_apart(self, ids: Sequence[str]) -> int:
        """Fold them by halves, down to those that cannot be folded."""
        try:
            return self._db.write(lambda session: rollups.fold(session, ids))
        except DatabaseError:
            raise
        except Exception:
            if len(ids) == 1:
                log.exception("a call cannot be counted; the usage page's sums lack it", extra={"usage_id": ids[0]})
                self._uncountable.update(ids)
                return 0
        half = len(ids) // 2
        return self._fold_apart(ids[:half]) + self._fold_apart(ids[half:])


def _rows(but: Collection[str], count: int) -> Select[str]:
    settled = select(_row.id).where(NOT_ROLLED_UP, _row.outcome != "running")
    if but:
        settled = settled.where(_row.id.not_in(but))
    return settled.order_by(_row.tenant_id, _row.created_at).limit(count)


def _held(session: Session, but: Collection[str]) -> Sequence[str]:
    return session.scalars(_rows(but, BATCH).with_for_update(skip_locked=True)).all()
