"""How often a password may be tried: counted in SQL, so that a restart or a second replica forgets nothing.

An attempt is written down before the password is looked at and struck out when it was right, so a hundred at the
same moment are not a way round the count. What is refused is not counted, so the wait that was told is true.
"""

import math
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, insert, select
from sqlalchemy.orm import Session

from chatcore.accounts.locks import serialize
from chatcore.db.tables import LoginAttempt, utcnow
from chatcore.errors import TooManyAttempts
from chatcore.ids import new_id

WINDOW: Final = timedelta(minutes=15)
PER_NAME: Final = 5
PER_ADDRESS: Final = 50

_MAX_STORED: Final = 200  # a typed name may be anything; what is beyond this cannot be a username


def begin(session: Session, username: str, address: str) -> None:
    """Count an attempt for the typed name and the address ('' where unknown).

    Raises `TooManyAttempts` with the seconds until one of the counted attempts leaves the window.
    """
    username = username[:_MAX_STORED]
    serialize(session, f"name:{username}", f"address:{address}")
    now = utcnow()
    wait = _wait(session, LoginAttempt.username == username, PER_NAME, now)
    if address:
        wait = max(wait, _wait(session, LoginAttempt.address == address, PER_ADDRESS, now))
    if wait:
        raise TooManyAttempts(wait)
    session.execute(delete(LoginAttempt).where(LoginAttempt.created_at <= now - WINDOW))
    session.execute(insert(LoginAttempt).values(id=new_id("try"), username=username, address=address, created_at=now))


def clear(session: Session, username: str) -> None:
    """The password was right: the name starts from zero. What the address tried on other names stays counted."""
    session.execute(delete(LoginAttempt).where(LoginAttempt.username == username[:_MAX_STORED]))


def _wait(session: Session, same: ColumnElement[bool] | Any, limit: int, now: datetime) -> int:
    """Whole seconds until fewer than `limit` attempts stand in the window, 0 when that is so now."""
    oldest_that_counts = session.scalar(
        select(LoginAttempt.created_at)
        .where(same, LoginAttempt.created_at > now - WINDOW)
        .order_by(LoginAttempt.created_at.desc())
        .offset(limit - 1)
        .limit(1)
    )
    return 0 if oldest_that_counts is None else max(1, math.ceil((oldest_that_counts + WINDOW - now).total_seconds()))
