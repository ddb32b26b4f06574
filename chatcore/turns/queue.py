"""The SQL of questions that wait behind a running turn. Functions work inside the caller's transaction."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from chatcore import errors
from chatcore.accounts.principal import Principal
from chatcore.db import changed_rows
from chatcore.db.tables import QueuedMessage as QueuedRow
from chatcore.db.tables import User as UserRow
from chatcore.ids import new_id
from chatcore.turns.values import QueuedMessage

if TYPE_CHECKING:
    from chatcore.turns.asking import Question
    from chatcore.turns.values import Choice

MAX_QUEUED: Final = 20
_WAITING: Final = select(QueuedRow.id).where(QueuedRow.conversation_id == bindparam("conversation")).limit(1)
_ASKERS: Final = (
    select(QueuedRow.tenant_id, QueuedRow.user_id)
    .where(QueuedRow.conversation_id.in_(bindparam("conversations", expanding=True)))
    .distinct()
)
_QUEUED: Final = (
    select(QueuedRow)
    .where(
        QueuedRow.conversation_id == bindparam("conversation"),
        QueuedRow.user_id == bindparam("user"),
        QueuedRow.tenant_id == bindparam("tenant"),
    )
    .order_by(QueuedRow.id)
)


def enqueue(
    session: Session, principal: Principal, conversation_id: str, question: "Question", choice: "Choice"
) -> str:
    """Put a question behind the running turn; returns its id. Raises `Conflict` when too many wait already."""
    if len(queued(session, principal, conversation_id)) >= MAX_QUEUED:
        raise errors.Conflict(f"{MAX_QUEUED} questions are waiting already. Wait for an answer, or withdraw one.")
    queued_id = new_id("queued")
    session.execute(
        insert(QueuedRow).values(
            id=queued_id, tenant_id=principal.tenant_id, user_id=principal.user_id, conversation_id=conversation_id,
            content=question.text, model=choice.picked.asked, agent_id=choice.agent_id,
            settings=choice.settings.as_dict(), attachments=list(question.attachments),
        )
    )  # fmt: skip
    return queued_id


def is_waited_for(session: Session, conversation_id: str) -> bool:
    """Whether any question waits in a conversation."""
    return session.scalar(_WAITING, {"conversation": conversation_id}) is not None


def askers(session: Session, conversation_ids: Collection[str]) -> set[tuple[str, str]]:
    """Whose questions wait in conversations: the ids of tenant and person."""
    return {(row.tenant_id, row.user_id) for row in session.execute(_ASKERS, {"conversations": conversation_ids})}


def queued(session: Session, principal: Principal, conversation_id: str) -> list[QueuedRow]:
    """What waits in a conversation, in the order of asking."""
    scope = {"conversation": conversation_id, "user": principal.user_id, "tenant": principal.tenant_id}
    return list(session.scalars(_QUEUED, scope))


def take_queued(session: Session, principal: Principal, conversation_id: str, queued_id: str) -> Any:
    """Take one's own question out of the queue. None when it no longer waits."""
    for row in queued(session, principal, conversation_id):
        if row.id == queued_id and _remove(session, row):
            return row
    return None


def take_oldest(session: Session, conversation_id: str) -> Any:
    """Take the question that waits longest, whoever asked it. None when there is none.

    Those of people who were disabled meanwhile stay.
    """
    waiting = (
        select(QueuedRow)
        .join(UserRow, UserRow.id == QueuedRow.user_id)
        .where(QueuedRow.conversation_id == conversation_id, UserRow.disabled_at.is_(None))
        .order_by(QueuedRow.id)
    )
    return next((row for row in session.scalars(waiting).all() if _remove(session, row)), None)


def _remove(session: Session, row: QueuedRow) -> bool:
    """Whether it was still there: somebody may have taken it a moment ago."""
    gone = delete(QueuedRow).where(QueuedRow.id == row.id).execution_options(synchronize_session=False)
    return changed_rows(session.execute(gone)) == 1


def edit_queued(session: Session, principal: Principal, conversation_id: str, queued_id: str, text: str) -> bool:
    """Change a question that waits. False when it no longer does."""
    changed = session.execute(
        update(QueuedRow)
        .where(
            QueuedRow.id == queued_id,
            QueuedRow.conversation_id == conversation_id,
            QueuedRow.user_id == principal.user_id,
            QueuedRow.tenant_id == principal.tenant_id,
        )
        .values(content=text)
        .execution_options(synchronize_session=False)
    )
    return changed_rows(changed) == 1


def clear(session: Session, conversation_id: str) -> None:
    """Nothing waits in a conversation any more."""
    gone = delete(QueuedRow).where(QueuedRow.conversation_id == conversation_id)
    session.execute(gone.execution_options(synchronize_session=False))


def value(row: QueuedRow) -> QueuedMessage:
    """A waiting question as it travels."""
    return QueuedMessage(row.id, row.content, row.model, row.created_at, tuple(row.attachments))
