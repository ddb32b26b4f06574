"""What a share shows: the messages of one branch as a stranger may read them, never more than that branch.

Functions take a session and the row of an open share, as `sharing` found it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import CTE, bindparam, exists, select
from sqlalchemy.orm import Session

from chatcore.conversations import copying, store
from chatcore.conversations.copying import Branch
from chatcore.conversations.parts import ErrorPart, parse
from chatcore.conversations.values import Message
from chatcore.db.tables import Message as MessageRow
from chatcore.db.tables import MessageAttachment

MAX_COPIED: Final = 10_000  # messages
_FAILED: Final = ErrorPart(code="error", message="This reply could not be finished.", retryable=False)
_META: Final = ("trimmed",)  # what of a message's metadata is drawn


@dataclass(frozen=True)
class Shared:
    """A shared conversation as its reader sees it. The author's name is the only one in it.

    `attachments`: the ids of each message's attachments. `is_live`: it grows with the conversation. `running`: a
    reply is being written, it is shown when it has ended. `version` changes with what is shown. `conversation_id`:
    only where the reader may reply in it.
    """

    title: str
    author: str
    messages: tuple[Message, ...]
    earlier: bool
    attachments: Mapping[str, tuple[str, ...]]
    is_live: bool
    running: bool
    version: str
    expires_at: datetime | None
    created_at: datetime
    conversation_id: str | None


def _end(share: Any) -> str | None:
    end: str | None = share.up_to_message_id or share.head_message_id
    return end


def version(session: Session, share: Any) -> str:
    """The end of the branch, and whether it is being written."""
    status = session.scalar(select(MessageRow.status).where(MessageRow.id == _end(share)))
    return f"{_end(share)} {status}"


def window(session: Session, share: Any, limit: int) -> Shared:
    """The newest `limit` messages of the branch, cleaned."""
    found = store.branch(session, share.conversation_id, _end(share), limit)
    messages = tuple(cleaned(message) for message in found.messages if message.status != "streaming")
    return Shared(
        title=share.title,
        author=share.author,
        messages=messages,
        earlier=found.earlier,
        attachments=copying.attachments_of(session, share.conversation_id, messages),
        is_live=share.up_to_message_id is None,
        running=len(messages) < len(found.messages),
        version=version(session, share),
        expires_at=share.expires_at,
        created_at=share.created_at,
        conversation_id=share.conversation_id if share.can_reply else None,
    )


def cleaned(message: Message) -> Message:
    """The message without tokens, costs, times, ids of people and agents, and what failed behind an error."""
    return Message(
        id=message.id,
        parent_id=message.parent_id,
        role=message.role,
        content=message.content,
        status=message.status,
        created_at=message.created_at,
        edited_at=message.edited_at,
        parts=_cleaned_parts(message.parts),
        model=message.model,
        finish_reason=message.finish_reason,
        meta={name: message.meta[name] for name in _META if name in message.meta},
    )


def _cleaned_parts(parts: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """What the kinds of parts are made of and nothing else; why a reply failed stays its author's."""
    known = (part for part in map(parse, parts) if part is not None)
    return tuple(
        _FAILED.model_dump() if isinstance(part, ErrorPart) else part.model_dump(mode="json", exclude_unset=True)
        for part in known
    )


def _walk() -> CTE:
    """The ids of the branch, from its end to the root."""
    here = MessageRow.conversation_id == bindparam("conversation")
    walk = select(MessageRow.id, MessageRow.parent_id).where(MessageRow.id == bindparam("end"), here)
    up = walk.cte("shown", recursive=True)
    parent = MessageRow.__table__.alias("parent")
    step = select(parent.c.id, parent.c.parent_id).where(
        parent.c.id == up.c.parent_id, parent.c.conversation_id == bindparam("conversation")
    )
    return up.union_all(step)


def _carries() -> Any:
    walk = _walk()
    linked = exists().where(
        MessageAttachment.message_id == walk.c.id, MessageAttachment.attachment_id == bindparam("attachment")
    )
    return select(walk.c.id).where(linked).limit(1)


_CARRIES: Final = _carries()


def carries(session: Session, share: Any, attachment_id: str) -> bool:
    """Whether a message of the branch carries the attachment."""
    where = {"end": _end(share), "conversation": share.conversation_id, "attachment": attachment_id}
    return session.execute(_CARRIES, where).first() is not None


def branch(session: Session, share: Any) -> Branch:
    """All that the share shows, to be copied: without what its reader does not see either."""
    found = store.branch(session, share.conversation_id, _end(share), MAX_COPIED)
    messages = [cleaned(message) for message in found.messages if message.status != "streaming"]
    return copying.branch(session, share.conversation_id, messages)
