"""What only one process does at a time: a row in SQL says who, and until when they need not say so again.

The clock is one for all processes: PostgreSQL's, or on SQLite that of the machine. It may have been ahead when somebody
took a lease, so one that ends too far ahead counts as ended: nothing rests longer than twice the time of a lease.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from chatcore.db.tables import Lease, UtcDateTime, utcnow

_row: Final = Lease.__table__.c
_NOW: Final = select(func.clock_timestamp(type_=UtcDateTime()))
_RELEASE: Final = delete(Lease.__table__).where(  # type: ignore[arg-type]
    _row.name == bindparam("of"), _row.holder == bindparam("by")
)


def _take(dialect: "type[postgresql.Insert] | type[sqlite.Insert]") -> Any:
    insert = dialect(Lease.__table__)  # type: ignore[arg-type]
    taking = insert.on_conflict_do_update(
        index_elements=[_row.name],
        set_={"holder": insert.excluded.holder, "until": insert.excluded.until},
        where=or_(
            _row.holder == insert.excluded.holder,
            _row.until < bindparam("now", type_=UtcDateTime()),
            _row.until > bindparam("too_far", type_=UtcDateTime()),
        ),
    )
    return taking.returning(_row.name)


_TAKE: Final = {"postgresql": _take(postgresql.Insert), "sqlite": _take(sqlite.Insert)}


def take(session: Session, name: str, holder: str, seconds: float) -> bool:
    """Take the lease called `name` for `seconds` from now, or go on holding it. False while another holder's lasts.

    Others see it when the transaction has been committed. `holder`: a name that no other process or thread has.
    """
    now, time = _now(session), timedelta(seconds=seconds)
    values = {"name": name, "holder": holder, "until": now + time, "now": now, "too_far": now + 2 * time}
    return session.execute(_TAKE[session.get_bind().dialect.name], values).first() is not None


def _now(session: Session) -> datetime:
    if session.get_bind().dialect.name == "sqlite":
        return utcnow()
    return session.execute(_NOW).scalar_one()


def release(session: Session, name: str, holder: str) -> None:
    """Give the lease up before its time, where `holder` has it."""
    session.execute(_RELEASE, {"of": name, "by": holder})
