"""Copying messages into a conversation of one's own, in small transactions, so that others write in between.

Until its last message is written the copy is kept like a temporary chat: nothing lists it, and what a process that
ended leaves of it is erased within an hour.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from chatcore.accounts.active import require_active
from chatcore.accounts.principal import Principal
from chatcore.conversations import indexing, store
from chatcore.conversations.text import preview_from
from chatcore.conversations.values import Message
from chatcore.db import Database
from chatcore.db.tables import Attachment, MessageAttachment, utcnow
from chatcore.db.tables import Message as MessageRow
from chatcore.ids import new_id

T = TypeVar("T")

_BATCH: Final = 200  # messages in one transaction: on SQLite everybody else's writes wait for it
_BATCH_CHARACTERS: Final = 300_000
_UNFINISHED: Final = timedelta(hours=1)
COPIED: Final = "copy"  # what stands under `imported` in the metadata of a copied message
_COPIED: Final = ["id", "parent_id", "role", "content", "status", "created_at", "edited_at", "model", "finish_reason"]
_COMPARISON: Final = ("compare", "picked")  # they name replies beside the branch
_INSERT: Final = insert(MessageRow.__table__)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Branch:
    """What is copied. `rows`: columns of messages, each after its parent, with `id` and `parent_id` as in the source.

    `attachments`: the ids of each message's attachments, in their order.
    """

    rows: Sequence[Mapping[str, Any]]
    attachments: Mapping[str, Sequence[str]]


def branch(session: Session, conversation_id: str, messages: Sequence[Message]) -> Branch:
    """Messages of a conversation, to be copied. What they cost stays with the originals: nothing was called again."""
    rows = [
        {name: getattr(message, name) for name in _COPIED}
        | {"parts": [dict(part) for part in message.parts], "metadata": {**message.meta, "imported": COPIED}}
        for message in messages
    ]
    return Branch(rows, attachments_of(session, conversation_id, messages))


def attachments_of(
    session: Session, conversation_id: str, messages: Sequence[Message]
) -> Mapping[str, tuple[str, ...]]:
    """The ids of the attachments of messages of a conversation, by the message's id, in their order."""
    rows = session.execute(
        select(MessageAttachment.message_id, MessageAttachment.attachment_id)
        .where(MessageAttachment.conversation_id == conversation_id)
        .where(MessageAttachment.message_id.in_([message.id for message in messages]))
        .order_by(MessageAttachment.message_id, MessageAttachment.position)
    )
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        found[row.message_id] = (*found.get(row.message_id, ()), row.attachment_id)
    return found


def copy(
    db: Database,
    principal: Principal,
    branch: Branch,
    title: str,
    *,
    model: str | None,
    agent_id: str | None = None,
    settings: Mapping[str, Any] | None = None,
    parent_conversation_id: str | None = None,
) -> str:
    """A new conversation of the principal's with copies of the messages; returns its id.

    Raises `Unauthorized` when the person was signed out meanwhile.
    """
    conversation_id = new_id("conv")
    new_ids = {row["id"]: new_id("msg") for row in branch.rows}
    own = {"tenant_id": principal.tenant_id, "user_id": principal.user_id, "conversation_id": conversation_id}
    values: dict[str, Any] = {
        "id": conversation_id,
        "model": model,
        "agent_id": agent_id,
        "settings": dict(settings or {}),
        "parent_conversation_id": parent_conversation_id,
        "title_source": "person",
        "expires_at": utcnow() + _UNFINISHED,
    }

    def begin(session: Session) -> None:
        require_active(session, principal)
        store.create(session, principal, title, **values)

    db.write(begin)
    for batch in batches(branch.rows, lambda row: len(row["content"])):
        rows = [_copied(row, new_ids) | own for row in batch]
        spelled = [(row["id"], indexing.spelled(row["content"])) for row in rows]
        db.write(partial(_write, own, rows, spelled, _links(branch, batch, new_ids)))
    db.write(partial(_show, conversation_id, [row | {"id": new_ids[row["id"]]} for row in map(dict, branch.rows)]))
    return conversation_id


def batches(messages: Sequence[T], size: Callable[[T], int]) -> list[list[T]]:
    """The messages in parts that are quickly written; at least one part. `size`: the characters of a message."""
    found: list[list[T]] = [[]]
    characters = 0
    for message in messages:
        more = size(message)
        if len(found[-1]) >= _BATCH or (found[-1] and characters + more > _BATCH_CHARACTERS):
            found.append([])
            characters = 0
        found[-1].append(message)
        characters += more
    return found


def _copied(row: Mapping[str, Any], new_ids: Mapping[str, str]) -> dict[str, Any]:
    metadata = {name: value for name, value in row["metadata"].items() if name not in _COMPARISON}
    ids = {"id": new_ids[row["id"]], "parent_id": new_ids.get(row["parent_id"])}
    return {**row, **ids, "metadata": metadata, "turn_id": None, "client_message_id": None}


def _links(branch: Branch, batch: Sequence[Mapping[str, Any]], new_ids: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"message_id": new_ids[row["id"]], "attachment_id": attachment_id, "position": position}
        for row in batch
        for position, attachment_id in enumerate(branch.attachments.get(row["id"], ()))
    ]


def _write(
    own: Mapping[str, str],
    rows: Sequence[Mapping[str, Any]],
    spelled: Sequence[tuple[str, str]],
    links: Sequence[Mapping[str, Any]],
    session: Session,
) -> None:
    if rows:
        session.execute(_INSERT, rows)
    whose = {"tenant_id": own["tenant_id"], "user_id": own["user_id"]}
    indexing.index_many(session, own["conversation_id"], whose, spelled)
    # The source may be deleted at this moment, and what only it carried with it.
    wanted = select(Attachment.id).where(Attachment.id.in_({link["attachment_id"] for link in links}))
    there = set(session.scalars(wanted.with_for_update(read=True))) if links else set()
    target = {"tenant_id": own["tenant_id"], "conversation_id": own["conversation_id"]}
    if kept := [{**link, **target} for link in links if link["attachment_id"] in there]:
        session.execute(insert(MessageAttachment), kept)


def _show(conversation_id: str, rows: Sequence[Mapping[str, Any]], session: Session) -> None:
    """The copy is whole: it has a head, and stays."""
    if not rows:
        store.change(session, conversation_id, expires_at=None)
        return
    last = next((row for row in reversed(rows) if row["role"] == "assistant"), rows[-1])
    preview = preview_from(last["content"])
    store.advance(session, conversation_id, rows[-1]["id"], len(rows), preview=preview, expires_at=None)
