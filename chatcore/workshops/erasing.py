"""Workshops when people are erased, and when old words go. Functions work inside the caller's transaction."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.orm import Session

from chatcore.conversations import indexing
from chatcore.db import changed_rows
from chatcore.db.tables import Conversation, Message, Playbook, User
from chatcore.db.tables import WorkshopNotes as NotesRow
from chatcore.db.tables import WorkshopParticipant as PersonRow
from chatcore.db.tables import WorkshopSession as SessionRow
from chatcore.db.tables import WorkshopStep as StepRow

_OF_STEP: Final = (NotesRow.session_id == StepRow.session_id, NotesRow.step_id == StepRow.step_id)
_STANDING: Final = (*_OF_STEP, NotesRow.number == StepRow.notes)


def hand_on(session: Session, user_id: str) -> None:
    """Whoever takes part longest leads the workshops that a person led, and has their conversations; one in which
    nobody else takes part goes. To be called before the person's conversations are erased."""
    for session_id in session.scalars(select(SessionRow.id).where(SessionRow.owner_id == user_id)).all():
        heir = session.scalar(
            select(PersonRow.user_id)
            .join(User, User.id == PersonRow.user_id)
            .where(PersonRow.session_id == session_id, PersonRow.removed_at.is_(None), PersonRow.user_id != user_id)
            .where(User.disabled_at.is_(None))
            .order_by(PersonRow.joined_at, PersonRow.user_id)
            .limit(1)
        )
        if heir is None:
            _run(session, delete(SessionRow).where(SessionRow.id == session_id))
            continue
        led = update(SessionRow).where(SessionRow.id == session_id)
        _run(session, led.values(owner_id=heir, revision=SessionRow.revision + 1))
        here = select(Conversation.id).join(StepRow, StepRow.conversation_id == Conversation.id)
        for conversation_id in session.scalars(here.where(StepRow.session_id == session_id)).all():
            _give(session, conversation_id, heir)


def erase_person(session: Session, user_id: str) -> None:
    """Nothing names the person any more, and the notes that they wrote are gone: where those stood, what somebody else
    had saved before stands again. Their playbooks are the team's."""
    hand_on(session, user_id)
    theirs = (NotesRow.user_id == user_id, NotesRow.model.is_(None))
    _run(session, delete(NotesRow).where(*theirs))
    _stand_again(session)
    for of in (
        update(NotesRow).where(NotesRow.user_id == user_id).values(user_id=None),
        update(StepRow).where(StepRow.done_by == user_id).values(done_by=None),
        update(Playbook).where(Playbook.owner_id == user_id).values(owner_id=None),
        delete(PersonRow).where(PersonRow.user_id == user_id),
    ):
        _run(session, of)


def erase_old(session: Session, tenant_id: str, before: datetime) -> int:
    """Take away the sessions of a tenant in which nothing happened since, and in others the notes from before.

    Returns how many sessions went. Their conversations are erased as all others are.
    """
    talked = (
        select(StepRow.session_id)
        .join(Conversation, Conversation.id == StepRow.conversation_id)
        .where(StepRow.session_id == SessionRow.id, Conversation.last_message_at >= before)
    )
    old = delete(SessionRow).where(SessionRow.tenant_id == tenant_id, SessionRow.updated_at < before, ~exists(talked))
    gone = _run(session, old)
    _run(session, delete(NotesRow).where(NotesRow.tenant_id == tenant_id, NotesRow.created_at < before))
    _stand_again(session)
    return gone


def _stand_again(session: Session) -> None:
    """Where the notes that stood are gone, the newest that are left stand."""
    left = select(func.coalesce(func.max(NotesRow.number), 0)).where(*_OF_STEP).scalar_subquery()
    missing = StepRow.notes > 0, ~exists().where(*_STANDING)
    _run(session, update(StepRow).where(*missing).values(notes=left))


def _give(session: Session, conversation_id: str, heir: str) -> None:
    """A conversation, with its place in the search, is another person's from now on."""
    indexing.forget(session, conversation_id)
    new: dict[str, Any] = {"user_id": heir, "client_id": None, "folder": None, "pinned_at": None, "archived_at": None}
    _run(session, update(Conversation).where(Conversation.id == conversation_id).values(**new))
    said = select(Message.id, Message.content).where(Message.conversation_id == conversation_id)
    for row in session.execute(said.where(Message.status != "streaming").order_by(Message.id)).all():
        indexing.index(session, conversation_id, row.id, row.content)


def _run(session: Session, statement: Any) -> int:
    return changed_rows(session.execute(statement.execution_options(synchronize_session=False)))
