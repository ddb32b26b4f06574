"""The SQL of a step's notes: every save is kept, and one of them stands. Functions work inside the caller's
transaction."""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.db.tables import User
from chatcore.db.tables import WorkshopNotes as NotesRow
from chatcore.db.tables import WorkshopStep as StepRow
from chatcore.errors import Conflict, NotFound
from chatcore.workshops import sessions
from chatcore.workshops.values import Notes

KEPT: Final = 50  # of each step
_HERE: Final = (NotesRow.session_id == bindparam("session"), NotesRow.step_id == bindparam("step"))
_COLUMNS: Final = (
    select(
        NotesRow.step_id, NotesRow.number, NotesRow.text, NotesRow.model, NotesRow.created_at, User.name.label("author")
    )
    .outerjoin(User, User.id == NotesRow.user_id)
)  # fmt: skip
_VERSIONS: Final = _COLUMNS.where(*_HERE).order_by(NotesRow.number.desc()).limit(KEPT)
_STANDING: Final = (
    _COLUMNS.join(
        StepRow,
        (StepRow.session_id == NotesRow.session_id) & (StepRow.step_id == NotesRow.step_id)
        & (StepRow.notes == NotesRow.number),
    )
    .where(NotesRow.session_id == bindparam("session"), NotesRow.step_id.in_(bindparam("steps", expanding=True)))
)  # fmt: skip
_LOCK: Final = (
    select(StepRow.notes)
    .where(StepRow.session_id == bindparam("session"), StepRow.step_id == bindparam("step"))
    .with_for_update()
)
_NEWEST: Final = select(func.max(NotesRow.number)).where(*_HERE)


def standing(session: Session, session_id: str, step_ids: Iterable[str]) -> dict[str, Notes]:
    """The notes that stand, by step. Whose the session is, is the caller's to know."""
    rows = session.execute(_STANDING, {"session": session_id, "steps": list(step_ids)})
    return {row.step_id: _value(row) for row in rows}


def versions(session: Session, session_id: str, step_id: str) -> list[Notes]:
    """All that are kept of a step, newest first. Whose the session is, is the caller's to know."""
    return [_value(row) for row in session.execute(_VERSIONS, {"session": session_id, "step": step_id})]


def save(
    session: Session,
    principal: Principal,
    session_id: str,
    step_id: str,
    text: str,
    over: int,
    *,
    model: str | None = None,
) -> int | None:
    """Save notes over number `over`; returns the new number, None where others were saved since.

    Then a model's are kept all the same, as an earlier version. Raises `NotFound`, `Conflict` where the session is
    over.
    """
    sessions.require_open(session, principal, session_id)
    here = {"session": session_id, "step": step_id}
    stands = session.scalar(_LOCK, here)
    if stands is None:
        raise NotFound(sessions.GONE)
    if stands != over and model is None:
        return None
    number = (session.scalar(_NEWEST, here) or 0) + 1
    values = {"session_id": session_id, "step_id": step_id, "number": number, "text": text, "model": model}
    session.execute(
        insert(NotesRow).values(tenant_id=principal.tenant_id, user_id=principal.user_id, **values)
    )  # fmt: skip
    old: Any = delete(NotesRow).where(*_HERE, NotesRow.number <= number - KEPT, NotesRow.number != stands)
    session.execute(old.execution_options(synchronize_session=False), here)
    if stands == over:
        moved = update(StepRow).where(StepRow.session_id == session_id, StepRow.step_id == step_id)
        session.execute(moved.values(notes=number).execution_options(synchronize_session=False))
    sessions.touch(session, session_id)
    return number if stands == over else None


def overtaken(session: Session, session_id: str, step_id: str) -> Conflict:
    """What the second of two people is told."""
    found = standing(session, session_id, [step_id]).get(step_id)
    who = (found.author if found else None) or "Somebody"
    return Conflict(f"{who} saved other notes of this step while you wrote yours. Yours are not saved yet.")


def _value(row: Any) -> Notes:
    return Notes(row.number, row.text, row.author, row.model, row.created_at)
