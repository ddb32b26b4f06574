"""The SQL of attachments. Functions take a session and work inside the caller's transaction."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import and_, bindparam, delete, exists, insert, or_, select
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.conversations.access import ALLOWED, scope
from chatcore.db.engine import changed_rows
from chatcore.db.tables import Attachment as AttachmentRow
from chatcore.db.tables import Conversation as ConversationRow
from chatcore.db.tables import MessageAttachment as LinkRow
from chatcore.db.tables import QueuedMessage as QueuedRow
from chatcore.db.tables import utcnow
from chatcore.errors import NotFound
from chatcore.ids import new_id

GONE: Final = "This file does not exist, or it is not yours."
_AT_ONCE: Final = 500


@dataclass(frozen=True)
class Attachment:
    """A file that was attached. `kind`: image, audio, video, pdf or text. `size`: bytes.

    `details`: `width` and `height` in pixels, `seconds`, `pages`, `characters`, as far as its kind has them.
    """

    id: str
    kind: str
    media_type: str
    name: str
    size: int
    sha256: str
    details: dict[str, Any] = field(default_factory=dict)


_LINKED: Final = exists().where(
    LinkRow.attachment_id == AttachmentRow.id, LinkRow.conversation_id == ConversationRow.id, ALLOWED["reply"]
)
_CARRIED: Final = exists().where(LinkRow.attachment_id == AttachmentRow.id)
_COLUMNS: Final = tuple(getattr(AttachmentRow, name) for name in Attachment.__dataclass_fields__)
_ALLOWED: Final = select(*_COLUMNS).where(
    AttachmentRow.id.in_(bindparam("ids", expanding=True)),
    AttachmentRow.tenant_id == bindparam("tenant"),
    or_(AttachmentRow.user_id == bindparam("user"), _LINKED),
)
_BY_ID: Final = select(*_COLUMNS).where(AttachmentRow.id.in_(bindparam("ids", expanding=True)))
_IN_CONVERSATION: Final = _BY_ID.where(
    exists().where(LinkRow.attachment_id == AttachmentRow.id, LinkRow.conversation_id == bindparam("conversation"))
)


def add(session: Session, principal: Principal, attachment: Attachment) -> None:
    """Write a new attachment of the principal's."""
    whose = {"tenant_id": principal.tenant_id, "user_id": principal.user_id}
    session.execute(insert(AttachmentRow).values(**whose, **vars(attachment)))


def new(kind: str, media_type: str, name: str, size: int, sha256: str, details: dict[str, Any]) -> Attachment:
    """An attachment with an id of its own, not yet written."""
    return Attachment(new_id("att"), kind, media_type, name, size, sha256, details)


def allowed(session: Session, principal: Principal, ids: Sequence[str]) -> list[Attachment]:
    """Those named, in their order: the principal's own, or linked to a message of a conversation they may reply in.

    Raises `NotFound`, the same for absent and for somebody else's.
    """
    rows = session.execute(_ALLOWED, scope(principal) | {"ids": list(ids)})
    found = {row.id: Attachment(**row) for row in rows.mappings()}
    if any(one not in found for one in ids):
        raise NotFound(GONE)
    return [found[one] for one in ids]


def those_there(session: Session, principal: Principal, ids: Sequence[str]) -> list[Attachment]:
    """`allowed`, without those that are absent or somebody else's."""
    rows = session.execute(_ALLOWED, scope(principal) | {"ids": list(ids)})
    found = {row.id: Attachment(**row) for row in rows.mappings()}
    return [found[one] for one in ids if one in found]


def unscoped(session: Session, tenant_id: str, attachment_id: str) -> Attachment:
    """One of the tenant's, for whoever a share has let in already. Raises `NotFound`."""
    statement = _BY_ID.where(AttachmentRow.tenant_id == tenant_id)
    row = session.execute(statement, {"ids": [attachment_id]}).mappings().one_or_none()
    if row is None:
        raise NotFound(GONE)
    return Attachment(**row)


def of_conversation(session: Session, conversation_id: str, ids: Sequence[str]) -> dict[str, Attachment]:
    """By id, those of the named that messages of the conversation carry; the caller has seen whose it is."""
    found: dict[str, Attachment] = {}
    for start in range(0, len(ids), _AT_ONCE):
        values = {"ids": list(ids[start : start + _AT_ONCE]), "conversation": conversation_id}
        found |= {row.id: Attachment(**row) for row in session.execute(_IN_CONVERSATION, values).mappings()}
    return found


def link(
    session: Session, principal: Principal, conversation_id: str, message_id: str, attachments: Iterable[Attachment]
) -> None:
    """A message carries these, in this order."""
    rows = [
        {
            "message_id": message_id,
            "attachment_id": attachment.id,
            "tenant_id": principal.tenant_id,
            "conversation_id": conversation_id,
            "position": position,
        }
        for position, attachment in enumerate(attachments)
    ]
    if rows:
        session.execute(insert(LinkRow), rows)


def remove_unused(session: Session, older_than: timedelta) -> int:
    """Delete rows that no message and no waiting question carries; returns how many."""
    old = and_(AttachmentRow.created_at < utcnow() - older_than, ~_CARRIED)
    unused = select(AttachmentRow.id).where(old).with_for_update(skip_locked=True).limit(_AT_ONCE * 10)
    return _remove(session, list(session.scalars(unused)))


def forget(session: Session, conversation_ids: Sequence[str]) -> int:
    """Delete what only these conversations carry, in messages or in waiting questions, and their links; returns how
    many attachments. For the transaction that erases them, before it does. The files go with the next `collect`.
    """
    elsewhere = exists().where(
        LinkRow.attachment_id == AttachmentRow.id, LinkRow.conversation_id.not_in(conversation_ids)
    )
    linked = select(LinkRow.attachment_id).where(LinkRow.conversation_id.in_(conversation_ids))
    queued = select(QueuedRow.attachments).where(QueuedRow.conversation_id.in_(conversation_ids))
    waiting = [one for ids in session.scalars(queued) for one in ids or ()]
    theirs = or_(AttachmentRow.id.in_(linked), AttachmentRow.id.in_(waiting))
    only_theirs = list(session.scalars(select(AttachmentRow.id).where(theirs, ~elsewhere).with_for_update()))
    links = delete(LinkRow).where(LinkRow.conversation_id.in_(conversation_ids))
    session.execute(links.execution_options(synchronize_session=False))
    return _remove(session, only_theirs, but_waiting_in=conversation_ids)


def _remove(session: Session, ids: Sequence[str], but_waiting_in: Sequence[str] = ()) -> int:
    """Delete these rows, without those that are carried after all. They are locked: whoever links one at this moment
    was waited for, and is seen by this second look.
    """
    queued = select(QueuedRow.attachments).where(QueuedRow.conversation_id.not_in(but_waiting_in))
    waiting = {one for found in session.scalars(queued) for one in found or ()}
    unused = [one for one in ids if one not in waiting]
    gone = 0
    for start in range(0, len(unused), _AT_ONCE):
        statement = delete(AttachmentRow).where(AttachmentRow.id.in_(unused[start : start + _AT_ONCE]), ~_CARRIED)
        gone += changed_rows(session.execute(statement.execution_options(synchronize_session=False)))
    return gone


def kept(session: Session, hashes: Sequence[str]) -> set[str]:
    """Those of the hashes that some row names."""
    return set(session.scalars(select(AttachmentRow.sha256).where(AttachmentRow.sha256.in_(hashes))))
