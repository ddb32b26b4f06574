"""Ids that programs made: of a conversation, unique per person, and of a message, unique in its conversation.

The ids of a workshop's session and step are a program's own as well, and name a conversation of one's own. An id of
the form that ours have never is: it names the one that those who take part in that workshop share.

Functions work inside the caller's transaction. What is another's is as if it were not there.
"""

import re
from typing import Any, Final

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.conversations import store
from chatcore.conversations.access import ALLOWED, OWNED, TAKES_PART, scope
from chatcore.conversations.values import Conversation, Message
from chatcore.db.tables import Conversation as ConversationRow
from chatcore.db.tables import Message as MessageRow
from chatcore.db.tables import WorkshopStep as StepRow
from chatcore.errors import InvalidInput

MOST: Final = 200  # characters of an id
WORKSHOP: Final = "workshop"  # the prefix of our sessions' ids
_WORKSHOP: Final = re.compile(rf"{WORKSHOP}_[0-9a-z]{{26}}")
_BY_ALIAS: Final = select(ConversationRow.id).where(
    OWNED, ALLOWED["own"], ConversationRow.client_id == bindparam("alias")
)
_BY_STEP: Final = (
    select(ConversationRow.id)
    .where(
        OWNED, ALLOWED["own"], ConversationRow.workshop_session_id == bindparam("session"),
        ConversationRow.step_id == bindparam("step"),
    )
    .order_by(ConversationRow.id)
    .limit(1)
)  # fmt: skip
_SHARED: Final = (
    select(ConversationRow.id)
    .join(StepRow, StepRow.conversation_id == ConversationRow.id)
    .where(ALLOWED["reply"], TAKES_PART)
    .where(StepRow.session_id == bindparam("session"), StepRow.step_id == bindparam("step"))
)
_BY_ID: Final = select(ConversationRow.id).where(ALLOWED["reply"], ConversationRow.id == bindparam("id"))
_REPLY: Final = (
    select(MessageRow.id)
    .where(MessageRow.parent_id == bindparam("question"), MessageRow.role == "assistant")
    .order_by(MessageRow.id.desc())
    .limit(1)
)


def checked(client_id: str | None) -> str | None:
    """The id where it can be one. Raises `InvalidInput`."""
    if client_id is not None and not (0 < len(client_id) <= MOST and client_id.isprintable()):
        raise InvalidInput(f"An id has 1 to {MOST} printable characters.")
    return client_id


def find(session: Session, principal: Principal, any_id: str) -> str | None:
    """The id of a conversation that the principal may reply in, by that id or by their alias; None without one."""
    given = scope(principal)
    found = session.scalar(_BY_ID, given | {"id": any_id}) or session.scalar(_BY_ALIAS, given | {"alias": any_id})
    return None if found is None else str(found)


def is_workshop(session_id: str | None) -> bool:
    """Whether an id has the form of our sessions', be there one or not: nobody learns which there are."""
    return session_id is not None and _WORKSHOP.fullmatch(session_id) is not None


def of_step(session: Session, principal: Principal, session_id: str, step_id: str) -> str | None:
    """The id of the conversation of a workshop's session and step: the principal's own, or the shared one of a session
    of ours, as long as they take part. None without one."""
    given = scope(principal) | {"session": session_id, "step": step_id}
    found = session.scalar(_SHARED if is_workshop(session_id) else _BY_STEP, given)
    return None if found is None else str(found)


def name(session: Session, principal: Principal, conversation_id: str, alias: str) -> None:
    """Let one's conversation be known by this alias from now on, and no other one."""
    before = session.scalar(_BY_ALIAS, scope(principal) | {"alias": alias})
    if before not in (None, conversation_id):
        store.change(session, str(before), client_id=None)
    store.change(session, conversation_id, client_id=alias)


def take_into_step(session: Session, conversation_id: str, session_id: str, step_id: str) -> None:
    """Let a conversation be that of a workshop's step from now on."""
    store.change(session, conversation_id, workshop_session_id=session_id, step_id=step_id)


def message(session: Session, conversation: Conversation, any_id: str) -> Message | None:
    """A message of a conversation, by its id or by the one that a program gave it."""
    here = MessageRow.conversation_id == conversation.id
    found = session.scalar(select(MessageRow.id).where(here, MessageRow.client_message_id == any_id)) or any_id
    return store.messages(session, conversation.id, [str(found)]).get(str(found))


def version(session: Session, conversation: Conversation, message: Message, text: str) -> Message | None:
    """The newest changed version of a message that says this."""
    beside = (
        MessageRow.conversation_id == conversation.id,
        MessageRow.parent_id.is_not_distinct_from(message.parent_id),
    )
    says = (MessageRow.role == message.role, MessageRow.content == text, MessageRow.edited_at.is_not(None))
    found = session.scalar(select(MessageRow.id).where(*beside, *says).order_by(MessageRow.id.desc()).limit(1))
    return store.messages(session, conversation.id, [found]).get(found) if found else None


def unname(session: Session, message_id: str) -> None:
    """Take a program's id from a message, for another one that is to have it."""
    changed: Any = update(MessageRow).where(MessageRow.id == message_id).values(client_message_id=None)
    session.execute(changed.execution_options(synchronize_session=False))


def newest_reply(session: Session, conversation: Conversation, question_id: str) -> Message | None:
    """The reply to a question that was begun last."""
    found = session.scalar(_REPLY, {"question": question_id})
    return store.messages(session, conversation.id, [found]).get(found) if found else None
