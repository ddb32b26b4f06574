"""Chatcore's own JSON form of conversations, complete and re-importable. docs/export-format.md describes it."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.conversations import store
from chatcore.conversations.access import OWNED, scope
from chatcore.conversations.attachments import Attachments
from chatcore.conversations.exchange import extras
from chatcore.conversations.exchange.nodes import Node, arrange
from chatcore.conversations.exchange.values import (
    ImportedConversation,
    ImportedFile,
    ImportedMessage,
    Role,
    integer,
    made_id,
    mapping,
    moment,
    neutral,
    sequence,
    source_id,
    text,
    valid_parts,
)
from chatcore.db import Database
from chatcore.db.tables import Agent as AgentRow
from chatcore.db.tables import Attachment as AttachmentRow
from chatcore.db.tables import Conversation as ConversationRow
from chatcore.db.tables import Message as MessageRow
from chatcore.db.tables import MessageAttachment, utcnow
from chatcore.errors import InvalidInput, NotFound

FORMAT: Final = "chatcore.conversations"
VERSION: Final = 1

_ROLES: Final[dict[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system", "tool": "tool"}
_STATUSES: Final = ("complete", "stopped", "interrupted", "failed")
_NUMBERS: Final = ("prompt_tokens", "completion_tokens", "total_tokens", "ttft_ms", "latency_ms")
_OURS_ALONE: Final = frozenset({"trace_id", "session_id", "tenant_id", "user_id", "turn_id", "request_id"})

_ROW: Final = select(
    ConversationRow.created_at, ConversationRow.updated_at, ConversationRow.title_source, AgentRow.slug, AgentRow.name
).outerjoin(AgentRow, AgentRow.id == ConversationRow.agent_id)
_MESSAGES: Final = (
    select(
        *(one.label("meta") if one.key == "metadata" else one for one in MessageRow.__table__.columns), AgentRow.slug
    )
    .outerjoin(AgentRow, AgentRow.id == MessageRow.agent_id)
    .where(MessageRow.conversation_id == bindparam("conversation"))
    .order_by(MessageRow.id)
)
_FILES: Final = (
    select(
        MessageAttachment.message_id,
        *(AttachmentRow.__table__.c[name] for name in ("id", "name", "kind", "media_type", "size", "details")),
    )
    .join(AttachmentRow, AttachmentRow.id == MessageAttachment.attachment_id)
    .where(MessageAttachment.conversation_id == bindparam("conversation"))
    .order_by(MessageAttachment.message_id, MessageAttachment.position, AttachmentRow.id)
)
_OWN_IDS: Final = (
    select(ConversationRow.id).where(OWNED, ConversationRow.expires_at.is_(None)).order_by(ConversationRow.id)
)


def dump(
    session: Session, principal: Principal, conversation_id: str, attachments: Attachments | None = None
) -> dict[str, Any]:
    """A conversation of one's own, complete: the whole tree of messages, parent before child, and attached files with
    their bytes in base64 (without `attachments`: their names and sizes). It holds no ids of people or tenants.

    Raises `NotFound`, the same for absent and for somebody else's.
    """
    one = store.get(session, principal, conversation_id)
    row = session.execute(_ROW.where(ConversationRow.id == conversation_id)).one()
    files = session.execute(_FILES, {"conversation": conversation_id}).all()
    carried: dict[str, list[str]] = {}
    for file in files:
        carried.setdefault(file.message_id, []).append(file.id)
    rows = session.execute(_MESSAGES, {"conversation": conversation_id}).all()
    return {
        "format": FORMAT,
        "version": VERSION,
        "id": one.id,
        "title": one.title,
        "title_source": row.title_source,
        "agent": {"slug": row.slug, "name": row.name} if row.slug else None,
        "model": one.model,
        "folder": one.folder,
        "pinned_at": _time(one.pinned_at),
        "archived_at": _time(one.archived_at),
        "created_at": _time(row.created_at),
        "updated_at": _time(row.updated_at),
        "last_message_at": _time(one.last_message_at),
        "settings": dict(one.settings),
        "summary": one.summary,
        "head_message_id": one.head_message_id,
        "messages": _in_order([_message(message, carried.get(message.id, [])) for message in rows]),
        "attachments": [_file(principal, file, attachments) for file in {file.id: file for file in files}.values()],
    }


def dump_all(db: Database, principal: Principal, attachments: Attachments | None = None) -> Iterator[str]:
    """One file with every conversation of one's own but the temporary ones, in pieces of text."""
    ids = db.read(lambda session: list(session.scalars(_OWN_IDS, scope(principal))))
    head = {"format": FORMAT, "version": VERSION, "exported_at": _time(utcnow())}
    yield json.dumps(head, ensure_ascii=False)[:-1] + ', "conversations": ['
    comma = "\n"
    for conversation_id in ids:
        try:
            one = db.read(lambda session, of=conversation_id: dump(session, principal, of, attachments))  # type: ignore[misc]
        except NotFound:
            continue  # deleted meanwhile
        yield comma + json.dumps(one, ensure_ascii=False)
        comma = ",\n"
    yield "\n]}\n"


def canonical(dumped: Mapping[str, Any]) -> dict[str, Any]:
    """A dumped conversation with ids named by their order and without the time of export: what stays equal through
    export, import and export again.
    """
    messages = {one["id"]: f"message {number}" for number, one in enumerate(dumped["messages"])}
    files = {one["id"]: f"attachment {number}" for number, one in enumerate(dumped["attachments"])}
    kept = {name: value for name, value in dumped.items() if name not in ("exported_at", "updated_at")}
    return kept | {
        "id": "conversation",
        "summary": extras.summary_with(dumped["summary"], messages),
        "head_message_id": messages.get(dumped["head_message_id"]),
        "messages": [_canonical(one, messages, files) for one in dumped["messages"]],
        "attachments": [one | {"id": files[one["id"]]} for one in dumped["attachments"]],
    }


def _canonical(one: Mapping[str, Any], messages: Mapping[str, str], files: Mapping[str, str]) -> dict[str, Any]:
    return {
        **one,
        "id": messages[one["id"]],
        "parent_id": messages.get(one["parent_id"]),
        "parts": extras.parts_with(one["parts"], files),
        "attachments": [files[file_id] for file_id in one["attachments"]],
        "metadata": extras.metadata_with(one["metadata"], messages),
    }


def _message(row: Any, files: list[str]) -> dict[str, Any]:
    return {
        "id": row.id,
        "parent_id": row.parent_id,
        "role": row.role,
        "content": row.content,
        "parts": list(row.parts or ()),
        "attachments": files,
        "status": "interrupted" if row.status == "streaming" else row.status,
        "agent": row.slug,
        "model": row.model,
        "provider": row.provider,
        "finish_reason": row.finish_reason,
        **{name: getattr(row, name) for name in _NUMBERS},
        "cost_nano_usd": row.cost_nano_usd,
        "edited_at": _time(row.edited_at),
        "created_at": _time(row.created_at),
        "metadata": {name: value for name, value in (row.meta or {}).items() if name not in _OURS_ALONE},
    }


def _in_order(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Parent before child; ids made on several machines may say otherwise."""
    by_id = {one["id"]: one for one in messages}
    nodes = (Node(key, one["parent_id"], ImportedMessage(key, None, "user", "")) for key, one in by_id.items())
    return [by_id[one.id] | {"parent_id": one.parent_id} for one in arrange(nodes).messages]


def _file(principal: Principal, row: Any, attachments: Attachments | None) -> dict[str, Any]:
    facts = {name: getattr(row, name) for name in ("id", "name", "kind", "media_type", "size")}
    data = None
    if attachments is not None:
        try:
            _, path = attachments.get(principal, row.id)
            data = base64.b64encode(Path(path).read_bytes()).decode()
        except (NotFound, OSError):
            pass  # its bytes are gone: what is known of it is kept
    return facts | {"data": data}


def _time(value: datetime | None) -> str | None:
    return value.isoformat() if value is not None else None


def is_conversation(raw: Mapping[str, Any]) -> bool:
    """Whether it looks like a conversation of ours."""
    return raw.get("format") == FORMAT and isinstance(raw.get("messages"), list)


def read(raw: Mapping[str, Any]) -> ImportedConversation:
    """A conversation as `dump` wrote it, as a value. Raises `InvalidInput` where a newer version wrote it."""
    if raw.get("version") != VERSION:
        raise InvalidInput("This file was written by a newer Chatcore. Update this one first.")
    files = {
        known: mapping(one) for one in sequence(raw.get("attachments")) if (known := source_id(mapping(one).get("id")))
    }
    messages = [mapping(one) for one in sequence(raw.get("messages"))]
    unread = 0
    nodes = []
    for number, one in enumerate(messages):
        node_id = source_id(one.get("id")) or made_id(number, one.get("content"))
        message, lost = _read_message(node_id, one, files)
        unread += lost
        nodes.append(Node(node_id, source_id(one.get("parent_id")), message))
    tree = arrange(nodes)
    return ImportedConversation(
        source="chatcore",
        id=source_id(raw.get("id")) or made_id(raw.get("title"), *(one.id for one in tree.messages[:2])),
        title=text(raw.get("title")),
        messages=tree.messages,
        head_id=tree.nearest(source_id(raw.get("head_message_id"))) if raw.get("head_message_id") else None,
        created_at=moment(raw.get("created_at")),
        updated_at=moment(raw.get("updated_at")),
        archived=raw.get("archived_at") is not None,
        pinned=raw.get("pinned_at") is not None,
        agent=text(mapping(raw.get("agent")).get("slug")) or None,
        doubled=tree.doubled,
        unread=unread,
        facts=_facts(raw),
    )


def _facts(raw: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "settings": neutral(mapping(raw.get("settings"))),
        "summary": extras.summary(mapping(raw.get("summary"))),
        "model": text(raw.get("model"))[:200] or None,
        "folder": text(raw.get("folder")).strip()[:100] or None,
    }
    if raw.get("title_source") in ("first", "model", "person"):
        facts["title_source"] = raw["title_source"]
    times = {name: moment(raw.get(name)) for name in ("pinned_at", "archived_at", "last_message_at")}
    return facts | {name: value for name, value in times.items() if value is not None}


def _read_message(
    node_id: str, raw: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]]
) -> tuple[ImportedMessage | None, int]:
    role = _ROLES.get(text(raw.get("role")))
    if role is None:
        return None, 1
    parts, lost = valid_parts(raw.get("parts"))
    status = raw.get("status")
    facts: dict[str, Any] = {name: integer(raw.get(name)) for name in _NUMBERS}
    facts |= {name: text(raw.get(name))[:200] or None for name in ("provider", "finish_reason", "agent")}
    facts |= {
        "cost_nano_usd": integer(raw.get("cost_nano_usd"), extras.MOST_COST),
        "edited_at": moment(raw.get("edited_at")),
        "status": status if status in _STATUSES else "complete",
        "metadata": extras.metadata(mapping(raw.get("metadata"))),
    }
    ids = [known for one in sequence(raw.get("attachments")) if (known := source_id(one)) in files and known]
    message = ImportedMessage(
        node_id,
        None,
        role,
        text(raw.get("content")),
        moment(raw.get("created_at")),
        parts=tuple(parts),
        model=text(raw.get("model"))[:200] or None,
        files=tuple(_attached(known, files[known]) for known in ids),
        facts=facts,
    )
    return message, lost


def _attached(file_id: str, raw: Mapping[str, Any]) -> ImportedFile:
    data = raw.get("data")

    def decoded() -> bytes | None:
        try:
            return base64.b64decode(data, validate=True) if isinstance(data, str) else None
        except (binascii.Error, ValueError):
            return None

    return ImportedFile(file_id, text(raw.get("name"))[:200] or "file", decoded)
