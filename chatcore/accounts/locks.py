"""One at a time, where a decision is made from what other rows say."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session


def serialize(session: Session, *names: str) -> None:
    """Wait until no other transaction holds one of `names`, and hold them until this one ends.

    Name them in the same order everywhere. SQLite writes are one at a time anyway.
    """
    if session.get_bind().dialect.name != "postgresql":
        return
    for name in names:
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"accounts:{name}", 0))))
