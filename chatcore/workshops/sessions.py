"""The SQL of sessions. Functions work inside the caller's transaction."""

from typing import Any, Final

from sqlalchemy import Select, and_, bindparam, case, func, insert, select, update
from sqlalchemy.orm import Session

from chatcore.accounts.active import require_active
from chatcore.accounts.locks import serialize
from chatcore.accounts.principal import Principal
from chatcore.conversations.aliases import WORKSHOP
from chatcore.db.tables import Conversation, Turn, User, utcnow
from chatcore.db.tables import WorkshopParticipant as PersonRow
from chatcore.db.tables import WorkshopSession as SessionRow
from chatcore.db.tables import WorkshopStep as StepRow
from chatcore.errors import Conflict, Forbidden, InvalidInput, NotFound
from chatcore.ids import new_id
from chatcore.workshops import access, contents
from chatcore.workshops.values import Content, Listed, OpenStep, Person, Pulse, Workshop

MOST: Final = 200  # of one person, without archived ones
SHOWN: Final = 100  # in a list
GONE: Final = "This workshop does not exist, or it is not yours."
_OVER: Final = "This workshop has ended. Whoever leads it can go on with it."


def _listed() -> Select[Any]:
    people = select(func.count()).where(PersonRow.session_id == SessionRow.id, PersonRow.removed_at.is_(None))
    steps = select(func.count()).where(StepRow.session_id == SessionRow.id)
    name = SessionRow.content["name"].as_string()
    columns: tuple[Any, ...] = (
        SessionRow.id, SessionRow.title, name.label("playbook"), User.name.label("owner"), SessionRow.owner_id,
        SessionRow.open_to_team, SessionRow.updated_at, SessionRow.ended_at, SessionRow.archived_at,
        case((access.TAKES_PART, 1), else_=0).label("takes_part"),
        people.scalar_subquery().label("people"),
        steps.scalar_subquery().label("steps"),
        steps.where(StepRow.done_at.is_not(None)).scalar_subquery().label("done"),
    )  # fmt: skip
    newest = (SessionRow.updated_at.desc(), SessionRow.id.desc())
    return select(*columns).join(User, User.id == SessionRow.owner_id).order_by(*newest).limit(SHOWN)


# Built once: pages run them for every click, and the pulse every two seconds for each open tab.
_LIST: Final = {
    False: _listed().where(access.LISTED, SessionRow.archived_at.is_(None)),
    True: _listed().where(access.TAKES_PART, SessionRow.archived_at.is_not(None)),
}
_ONE: Final = select(*SessionRow.__table__.columns).where(access.TAKES_PART, SessionRow.id == bindparam("id"))
_TALK: Final = and_(Conversation.id == StepRow.conversation_id, Conversation.expires_at.is_(None))  # not deleted
_STEPS: Final = (
    select(StepRow.step_id, Conversation.id.label("conversation_id"), StepRow.notes, StepRow.done_at)
    .outerjoin(Conversation, _TALK)
    .where(StepRow.session_id == bindparam("id"))
)
_PEOPLE: Final = (
    select(User.id, User.name)
    .join(PersonRow, PersonRow.user_id == User.id)
    .where(PersonRow.session_id == bindparam("id"), PersonRow.removed_at.is_(None))
    .order_by(PersonRow.joined_at, User.id)
)
_LED: Final = select(SessionRow.id, SessionRow.tenant_id, SessionRow.owner_id).where(
    access.LEADS, SessionRow.id == bindparam("id")
)
_OPEN: Final = select(SessionRow.ended_at, SessionRow.archived_at).where(
    access.TAKES_PART, SessionRow.id == bindparam("id")
)
_OWN: Final = select(func.count()).select_from(SessionRow).where(access.LEADS, SessionRow.archived_at.is_(None))
_RUNNING: Final = (
    select(Turn.id).where(Turn.conversation_id == Conversation.id, Turn.status == "running").exists()
)  # fmt: skip
_PULSE: Final = (
    select(
        SessionRow.revision, Conversation.id.label("conversation_id"), Conversation.head_message_id,
        Conversation.last_message_at, _RUNNING.label("running"),
    )
    .select_from(SessionRow)
    .outerjoin(StepRow, and_(StepRow.session_id == SessionRow.id, StepRow.step_id == bindparam("step")))
    .outerjoin(Conversation, _TALK)
    .where(access.TAKES_PART, SessionRow.id == bindparam("id"))
)  # fmt: skip


def listed(session: Session, principal: Principal, *, archived: bool = False) -> list[Listed]:
    """Those that the principal takes part in or may join, newest activity first; `archived`: theirs that are."""
    rows = session.execute(_LIST[archived], access.scope(principal))
    return [
        Listed(
            row.id, row.title, row.playbook, row.owner, row.owner_id == principal.user_id, bool(row.takes_part),
            bool(row.open_to_team), row.people, row.steps, row.done, row.updated_at, row.ended_at, row.archived_at,
        )
        for row in rows
    ]  # fmt: skip


def one(session: Session, principal: Principal, session_id: str) -> Workshop:
    """A session that the principal takes part in. Raises `NotFound`, the same for absent and for others'."""
    row = session.execute(_ONE, access.scope(principal) | {"id": session_id}).one_or_none()
    if row is None:
        raise NotFound(GONE)
    content = contents.unpacked(row.content)
    states = {state.step_id: state for state in session.execute(_STEPS, {"id": session_id})}
    people = session.execute(_PEOPLE, {"id": session_id})
    return Workshop(
        id=row.id, title=row.title, content=content,
        steps=tuple(
            OpenStep(step, state.conversation_id, state.notes, state.done_at)
            for step in content.steps if (state := states[step.id])
        ),
        people=tuple(Person(one.id, one.name, one.id == row.owner_id) for one in people),
        is_owner=row.owner_id == principal.user_id, open_to_team=row.open_to_team, revision=row.revision,
        ended_at=row.ended_at, archived_at=row.archived_at,
    )  # fmt: skip


def pulse(session: Session, principal: Principal, session_id: str, step_id: str) -> Pulse:
    """What tells whether a step is still as it was drawn, in one query. Raises `NotFound`."""
    row = session.execute(_PULSE, access.scope(principal) | {"id": session_id, "step": step_id}).one_or_none()
    if row is None:
        raise NotFound(GONE)
    return Pulse(row.revision, row.conversation_id, row.head_message_id, row.last_message_at, bool(row.running))


def create(session: Session, principal: Principal, title: str, content: Content, *, open_to_team: bool) -> str:
    """Begin a session with this content; returns its id. Raises `Conflict` when one leads 200."""
    require_active(session, principal)
    serialize(session, f"workshops:{principal.user_id}")
    if (session.scalar(_OWN, access.scope(principal)) or 0) >= MOST:
        raise Conflict(f"You lead {MOST} workshops. Archive one that is no longer needed.")
    session_id = new_id(WORKSHOP)
    tenant = {"tenant_id": principal.tenant_id}
    session.execute(
        insert(SessionRow).values(
            id=session_id, owner_id=principal.user_id, title=title, content=contents.packed(content),
            open_to_team=open_to_team, **tenant,
        )
    )  # fmt: skip
    session.execute(insert(PersonRow).values(session_id=session_id, user_id=principal.user_id, **tenant))
    session.execute(insert(StepRow), [{"session_id": session_id, "step_id": one.id, **tenant} for one in content.steps])
    return session_id


def change(session: Session, principal: Principal, session_id: str, **values: Any) -> None:
    """Set columns of a session that the principal leads. Raises `NotFound`, `Forbidden`."""
    require_led(session, principal, session_id)
    touch(session, session_id, **values)


def set_done(session: Session, principal: Principal, session_id: str, step_id: str, *, done: bool) -> None:
    """Mark a step. Raises `NotFound`, `Conflict` where the session is over."""
    require_open(session, principal, session_id)
    by = {"done_at": utcnow(), "done_by": principal.user_id} if done else {"done_at": None, "done_by": None}
    marked = update(StepRow).where(StepRow.session_id == session_id, StepRow.step_id == step_id).values(**by)
    session.execute(marked.execution_options(synchronize_session=False))
    touch(session, session_id)


def require_led(session: Session, principal: Principal, session_id: str) -> None:
    """Raises `NotFound`, and `Forbidden` for who only takes part."""
    require_active(session, principal)
    if session.execute(_LED, access.scope(principal) | {"id": session_id}).one_or_none() is None:
        one(session, principal, session_id)
        raise Forbidden("Only who leads this workshop can do this.")


def require_part(session: Session, principal: Principal, session_id: str) -> Any:
    """The session's `ended_at` and `archived_at`. Raises `NotFound` for who takes no part."""
    row = session.execute(_OPEN, access.scope(principal) | {"id": session_id}).one_or_none()
    if row is None:
        raise NotFound(GONE)
    return row


def require_open(session: Session, principal: Principal, session_id: str) -> None:
    """Raises `NotFound` for who takes no part, `Conflict` where the session is over."""
    require_active(session, principal)
    require_going_on(require_part(session, principal, session_id))


def require_going_on(row: Any) -> None:
    """`row`: with `ended_at` and `archived_at`. Raises `Conflict` where the session is over."""
    if row.ended_at is not None or row.archived_at is not None:
        raise Conflict(_OVER)


def require_step(content: Content, step_id: str) -> None:
    """Raises `InvalidInput` where there is no such step."""
    if step_id not in {one.id for one in content.steps}:
        raise InvalidInput("This workshop has no step of this id.")


def touch(session: Session, session_id: str, **values: Any) -> None:
    """Let everybody who looks at a session see that something has changed. `values`: columns that are to be set."""
    changed = update(SessionRow).where(SessionRow.id == session_id)
    changed = changed.values(revision=SessionRow.revision + 1, updated_at=utcnow(), **values)
    session.execute(changed.execution_options(synchronize_session=False))
