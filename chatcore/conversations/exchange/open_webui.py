"""Open WebUI's export: a JSON array of chats, each with its message tree in `chat.history`.

Taken from Open WebUI's source (open-webui/open-webui): `src/lib/components/chat/Settings/DataControls.svelte` and
`Chats.svelte` (what Export writes and Import reads), `backend/open_webui/models/chats.py` (the fields of a chat),
`src/lib/utils/index.ts` (`convertMessagesToHistory`: the form of a message) and
`backend/open_webui/utils/middleware.py` (the `<details type="reasoning">` blocks inside replies). Chats of old versions
have no `chat` around them, or only a list of messages.
"""

import base64
import binascii
import html
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

from chatcore.conversations.exchange.nodes import Node, arrange
from chatcore.conversations.exchange.values import (
    ImportedConversation,
    ImportedFile,
    ImportedMessage,
    Role,
    made_id,
    mapping,
    members,
    moment,
    sequence,
    source_id,
    text,
    valid_parts,
)

_ROLES: Final[dict[str, Role]] = {"user": "user", "assistant": "assistant"}
_OPEN: Final = '<details type="'
_CLOSE: Final = "</details>"
_ATTRIBUTE: Final = re.compile(r'(\w+)="([^"]*)"')
_SUMMARY: Final = re.compile(r"\s*<summary>[^<]*</summary>")
_QUOTE: Final = re.compile(r"^(?:>|&gt;) ?", re.MULTILINE)


def is_conversation(raw: Mapping[str, Any]) -> bool:
    """Whether it looks like a chat of Open WebUI, of today's form or an older one."""
    chat = raw.get("chat") if isinstance(raw.get("chat"), Mapping) else raw
    assert isinstance(chat, Mapping)
    return isinstance(mapping(chat.get("history")).get("messages"), Mapping) or (
        isinstance(chat.get("messages"), list) and ("models" in chat or chat is not raw)
    )


def read(raw: Mapping[str, Any]) -> ImportedConversation:
    """A chat as a value."""
    chat = mapping(raw.get("chat")) or raw
    history = mapping(chat.get("history"))
    unread: list[object] = []
    tree = arrange(_nodes(history, chat, unread))
    title = text(raw.get("title")) or text(chat.get("title"))
    known = source_id(raw.get("id")) or source_id(chat.get("id"))
    return ImportedConversation(
        source="open_webui",
        id=known or made_id(title, *(one.id for one in tree.messages[:2])),
        title=title,
        messages=tree.messages,
        head_id=tree.nearest(source_id(history.get("currentId"))),
        created_at=moment(raw.get("created_at")) or moment(chat.get("timestamp")),
        updated_at=moment(raw.get("updated_at")),
        archived=raw.get("archived") is True,
        pinned=raw.get("pinned") is True,
        doubled=tree.doubled,
        unread=len(unread),
    )


def _nodes(history: Mapping[str, Any], chat: Mapping[str, Any], unread: list[object]) -> Iterator[Node]:
    if isinstance(history.get("messages"), Mapping):
        for key, raw in members(history["messages"]):
            message = mapping(raw)
            node_id = source_id(key) or made_id(key)
            yield Node(node_id, source_id(message.get("parentId")), _message(node_id, message, unread))
        return
    above = None
    for number, raw in enumerate(sequence(chat.get("messages"))):
        message = mapping(raw)
        node_id = source_id(message.get("id")) or made_id(number, message.get("role"), message.get("content"))
        yield Node(node_id, source_id(message.get("parentId")) or above, _message(node_id, message, unread))
        above = node_id


def _message(node_id: str, raw: Mapping[str, Any], unread: list[object]) -> ImportedMessage | None:
    role = _ROLES.get(text(raw.get("role")))
    if role is None:
        return None
    content, work = _text(raw, unread), list[dict[str, Any]]()
    if role == "assistant":
        content, work = _lift(content)
        error = mapping(raw.get("error")).get("content")
        if isinstance(error, str) and error:
            work.append({"type": "error", "code": "imported", "message": error[:2_000], "retryable": False})
    files = tuple(_files(raw))
    parts, lost = valid_parts([*work, {"type": "text", "text": content}] if content else work)
    unread.extend([raw] * lost)
    if not content and not parts and not files:
        return None
    return ImportedMessage(
        node_id,
        None,
        role,
        content,
        moment(raw.get("timestamp")),
        parts=tuple(parts) if work else (),
        model=text(raw.get("model"))[:200] or None if role == "assistant" else None,
        files=files,
    )


def _text(raw: Mapping[str, Any], unread: list[object]) -> str:
    """`content` is text, or a list of typed pieces; the newest replies may have their words in `output` only."""
    content = raw.get("content")
    if isinstance(content, str) and content:
        return text(content)
    pieces = sequence(content) or [
        piece for item in sequence(raw.get("output")) for piece in sequence(mapping(item).get("content"))
    ]
    said = [text(mapping(piece).get("text")) for piece in pieces]
    unread.extend(piece for piece, words in zip(pieces, said, strict=True) if not words)
    return "\n\n".join(filter(None, said))


def _lift(content: str) -> tuple[str, list[dict[str, Any]]]:
    """The text without its blocks of reasoning and tool calls, and these as parts."""
    kept, parts, at = [], [], 0
    while (start := content.find(_OPEN, at)) >= 0 and (end := content.find(_CLOSE, start)) >= 0:
        head_end = content.find(">", start, end)
        block = _block(content[start:head_end], content[head_end + 1 : end]) if head_end >= 0 else None
        stop = end + len(_CLOSE)
        kept.append(content[at : start if block else stop])
        parts += [block] if block else []
        at = stop
    kept.append(content[at:])
    return ("".join(kept).strip() if parts else content), parts


def _block(head: str, body: str) -> dict[str, Any] | None:
    attributes = {name: html.unescape(value) for name, value in _ATTRIBUTE.findall(head)}
    if attributes.get("type") == "reasoning":
        words = html.unescape(_QUOTE.sub("", _SUMMARY.sub("", body, count=1).strip()))
        taken = attributes.get("duration", "")
        duration = int(taken) * 1000 if taken.isascii() and taken.isdigit() and len(taken) < 7 else None
        return {"type": "reasoning", "text": words, "duration_ms": duration}
    if attributes.get("type") == "tool_calls":
        call = {"type": "tool_call", "id": attributes.get("id", "")[:200], "name": attributes.get("name", "tool")[:200]}
        return call | {
            "arguments": attributes.get("arguments", ""),
            "state": "success",
            "result": attributes.get("result", ""),
        }
    return None


def _files(raw: Mapping[str, Any]) -> Iterator[ImportedFile]:
    """Images that stand in the chat itself; other files stay in Open WebUI's own store."""
    for number, file in enumerate(sequence(raw.get("files"))):
        url = mapping(file).get("url")
        name = text(mapping(file).get("name"))[:200] or f"image {number + 1}"
        if isinstance(url, str) and url.startswith("data:") and ";base64," in url[:100]:
            yield ImportedFile(None, name, partial(_decoded, url))
        elif mapping(file):
            yield ImportedFile(None, name, lambda: None)


def _decoded(url: str) -> bytes | None:
    try:
        return base64.b64decode(url.partition(",")[2], validate=True)
    except (binascii.Error, ValueError):
        return None
