"""Whether the clock may be believed, before anything is removed because it is old.

A clock that is ahead makes everything old. So each look notes the time; when the next one comes implausibly later, or
the clock has jumped ahead meanwhile, nothing is removed for three days, in which somebody can read the warnings.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from chatcore.db.tables import Message, Setting, Tenant, UsageMetric, User, utcnow

_KEY: Final = "retention.clock"
_LONGEST_REST: Final = timedelta(days=45)
"""Without a look; an instance that was switched off for longer is looked at like one whose clock is wrong."""
_WAIT: Final = timedelta(days=3)
_JUMP: Final = timedelta(hours=6)


class Jumps:
    """Tells when the wall clock went ahead of the time that has passed, the machine's sleep included."""

    def __init__(self, now: Callable[[], datetime] | None = None, passed: Callable[[], float] | None = None) -> None:
        """`passed`: seconds since any moment."""
        self._now = now or utcnow
        self._passed = passed or _passed
        self._begun = self._now() - timedelta(seconds=self._passed())

    def ahead(self) -> bool:
        """Whether it has, since this was asked last."""
        begun, self._begun = self._begun, self._now() - timedelta(seconds=self._passed())
        return self._begun - begun > _JUMP


def doubt(session: Session, now: datetime, *, jumped: bool = False) -> str | None:
    """What speaks against removing what is old at `now`, as a sentence; None for nothing. Notes the look.

    `jumped`: the clock is known to have gone ahead.
    """
    row = session.get(Setting, _KEY)
    noted = row.value if row else {}
    seen = _time(noted.get("seen")) or _newest(session) or now
    since = _time(noted.get("doubted_since"))
    if since is None or since > now:  # it was put back
        since = now if jumped or now - seen > _LONGEST_REST else None
    if since is None or now - since >= _WAIT:
        _note(session, seen=now)
        return None
    _note(session, seen=seen, doubted_since=since)
    return (
        f"By this machine's clock it is {now:%Y-%m-%d %H:%M} UTC, but the last that was seen of this instance is of "
        f"{seen:%Y-%m-%d}; nothing is removed for being old before {since + _WAIT:%Y-%m-%d %H:%M}."
    )


def trust(session: Session, now: datetime) -> None:
    """Somebody says that the clock is right."""
    _note(session, seen=now)


def _note(session: Session, **times: datetime) -> None:
    value = {name: at.isoformat() for name, at in times.items()}
    session.merge(Setting(key=_KEY, value=value, updated_at=utcnow()))


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _newest(session: Session) -> datetime | None:
    """When somebody last wrote, asked a model or got an account."""
    tables: tuple[Any, ...] = (Message, UsageMetric, User)
    each = [
        select(func.max(table.created_at)).where(table.tenant_id == Tenant.id).correlate(Tenant).scalar_subquery()
        for table in tables
    ]
    found = [value for row in session.execute(select(*each).select_from(Tenant)) for value in row if value is not None]
    return max(found, default=None)


def _passed() -> float:
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # the former goes on while the machine sleeps
    return time.clock_gettime(clock)
