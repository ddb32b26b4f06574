"""The SQL of who takes part in a session. Functions work inside the caller's transaction."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from chatcore.accounts.active import require_active
from chatcore.accounts.principal import Principal
from chatcore.db import changed_rows
from chatcore.db.tables import User, utcnow
from chatcore.db.tables import WorkshopParticipant as PersonRow
from chatcore.db.tables import WorkshopSession as SessionRow
from chatcore.errors import Conflict, InvalidInput, NotFound
from chatcore.workshops import access, sessions
from chatcore.workshops.values import Person

MOST: Final = 100  # in one session
_JOINED: Final = select(SessionRow.id).where(access.JOINABLE, SessionRow.id == bindparam("id")).with_for_update()
_LOCK: Final = select(SessionRow.id).where(SessionRow.id == bindparam("id")).with_for_update()
_HERE: Final = select(PersonRow.user_id).where(PersonRow.session_id == bindparam("id"), PersonRow.removed_at.is_(None))
_INVITABLE: Final = select(User.id, User.name).where(User.tenant_id == bindparam("tenant"), User.disabled_at.is_(None))


def join(session: Session, principal: Principal, session_id: str) -> None:
    """Take part, where the session is open to the team and one was not removed from it; else nothing."""
    require_active(session, principal)
    if session.execute(_JOINED, access.scope(principal) | {"id": session_id}).one_or_none() is not None:
        _add(session, session_id, principal.tenant_id, [principal.user_id])


def invitable(session: Session, principal: Principal, session_id: str) -> list[Person]:
    """The people of the tenant who do not take part, by name. For who leads the session. Raises as `require_led`."""
    sessions.require_led(session, principal, session_id)
    others = _INVITABLE.where(User.id.not_in(_HERE)).order_by(User.name, User.id)
    rows = session.execute(others, {"tenant": principal.tenant_id, "id": session_id})
    return [Person(row.id, row.name) for row in rows]


def invite(session: Session, principal: Principal, session_id: str, user_ids: Sequence[str]) -> None:
    """Let people of the tenant take part, those who were removed too. Raises `NotFound`, `Forbidden`, `Conflict` for
    more than 100."""
    sessions.require_led(session, principal, session_id)
    session.execute(_LOCK, {"id": session_id})
    wanted = list(dict.fromkeys(user_ids))
    known = session.execute(_INVITABLE.where(User.id.in_(wanted)), {"tenant": principal.tenant_id}).all()
    if len(known) != len(wanted):
        raise NotFound("One of these people does not exist, or has left the team.")
    _add(session, session_id, principal.tenant_id, wanted)


def remove(session: Session, principal: Principal, session_id: str, user_id: str) -> None:
    """Somebody no longer takes part, and the session's link lets them in no more. Raises `NotFound`, `Forbidden`,
    `InvalidInput` for who leads it."""
    sessions.require_led(session, principal, session_id)
    if user_id == principal.user_id:
        raise InvalidInput("You lead this workshop, so you cannot be removed from it.")
    gone: Any = update(PersonRow).where(*_of(session_id, user_id)).values(removed_at=utcnow())
    _gone(session, session_id, gone)


def leave(session: Session, principal: Principal, session_id: str) -> None:
    """Take part no longer; one may come back as one came. Raises `NotFound`, `InvalidInput` for who leads it."""
    require_active(session, principal)
    if sessions.one(session, principal, session_id).is_owner:
        raise InvalidInput("You lead this workshop, so you cannot leave it. End it, or archive it.")
    _gone(session, session_id, delete(PersonRow).where(*_of(session_id, principal.user_id)))


def _of(session_id: str, user_id: str) -> tuple[Any, ...]:
    return PersonRow.session_id == session_id, PersonRow.user_id == user_id, PersonRow.removed_at.is_(None)


def _gone(session: Session, session_id: str, statement: Any) -> None:
    if not changed_rows(session.execute(statement.execution_options(synchronize_session=False))):
        raise NotFound("This person does not take part in the workshop.")
    sessions.touch(session, session_id)


def _add(session: Session, session_id: str, tenant_id: str, user_ids: Sequence[str]) -> None:
    """The caller holds the session's row."""
    before = delete(PersonRow).where(
        PersonRow.session_id == session_id, PersonRow.user_id.in_(user_ids), PersonRow.removed_at.is_not(None)
    )
    session.execute(before.execution_options(synchronize_session=False))
    here = set(session.scalars(_HERE, {"id": session_id}))
    new = [user_id for user_id in user_ids if user_id not in here]
    if len(here) + len(new) > MOST:
        raise Conflict(f"At most {MOST} people take part in a workshop.")
    if new:
        tenant = {"session_id": session_id, "tenant_id": tenant_id}
        session.execute(insert(PersonRow), [{**tenant, "user_id": user_id} for user_id in new])
        sessions.touch(session, session_id)
