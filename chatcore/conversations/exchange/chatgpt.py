"""ChatGPT's export: `conversations.json`, or `conversations-000.json` and so on, in a ZIP with what was attached.

OpenAI documents how to ask for it (Settings, Data controls, Export data) and not what is in it. What is read here
follows descriptions by people who read theirs: the types in pionxzh/chatgpt-exporter `src/api.ts`, the document
mitkury/chatgpt-export-parser `docs/chatgpt-data-export-format.md`, and for exports in several files
mohamed-chs/convoviz pull request 49.

A conversation is a `mapping` of nodes with parents. Nodes that only work towards a reply (thoughts, calls of tools and
what they gave back) become parts of the reply that follows them.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from chatcore.conversations.exchange.nodes import Node, arrange
from chatcore.conversations.exchange.values import (
    ImportedConversation,
    ImportedFile,
    ImportedMessage,
    made_id,
    mapping,
    members,
    moment,
    sequence,
    source_id,
    text,
    valid_parts,
)

FindFile = Callable[[str], tuple[str, Callable[[], bytes | None]] | None]
"""The name and the bytes of an attached file by its id, None where the export does not hold it."""

_WORK: Final = frozenset({"thoughts", "reasoning_recap", "code", "execution_output", "tether_browsing_code"})
_HIDDEN: Final = frozenset({"user_editable_context", "model_editable_context"})
_CITATION: Final = re.compile("\ue200[^\ue201]{0,500}\ue201")
_LONGEST_WORK: Final = 200


def is_conversation(raw: Mapping[str, Any]) -> bool:
    """Whether it looks like a conversation of ChatGPT."""
    return isinstance(raw.get("mapping"), Mapping)


class Conversation:
    """One conversation on its way out of the file."""

    def __init__(self, raw: Mapping[str, Any], find_file: FindFile) -> None:
        self._raw = raw
        self._find_file = find_file
        self._unread = 0
        self._nodes = {str(key): mapping(node) for key, node in raw["mapping"].items()}
        self._parents = {_parent(node) for node in self._nodes.values()}

    def read(self) -> ImportedConversation:
        """The conversation as a value."""
        raw = self._raw
        tree = arrange(self._node(str(key), mapping(node)) for key, node in members(raw["mapping"]))
        created = moment(raw.get("create_time"))
        known = source_id(raw.get("conversation_id")) or source_id(raw.get("id"))
        return ImportedConversation(
            source="chatgpt",
            id=known or made_id(raw.get("title"), raw.get("create_time"), *(one.id for one in tree.messages[:1])),
            title=text(raw.get("title")),
            messages=tree.messages,
            head_id=tree.nearest(source_id(raw.get("current_node"))),
            created_at=created,
            updated_at=moment(raw.get("update_time")),
            archived=raw.get("is_archived") is True,
            pinned=raw.get("is_starred") is True,
            doubled=tree.doubled,
            unread=self._unread,
        )

    def _node(self, key: str, node: Mapping[str, Any]) -> Node:
        node_id = source_id(key) or made_id(key)
        return Node(node_id, _parent(node), self._message(key, node_id, node))

    def _message(self, key: str, node_id: str, node: Mapping[str, Any]) -> ImportedMessage | None:
        message = mapping(node.get("message"))
        role = _role(message)
        if role is None or _is_hidden(message):
            return None
        if _is_work(message):
            # Work that no reply followed stands for itself.
            return None if key in self._parents else self._reply(node_id, node, "", [*self._work(node, message)], ())
        content, files = self._content(mapping(message.get("content")))
        if not content and not files:
            return None
        if role == "user":
            return ImportedMessage(node_id, None, "user", content, moment(message.get("create_time")), files=files)
        return self._reply(node_id, node, content, self._work(node), files)

    def _reply(
        self, node_id: str, node: Mapping[str, Any], content: str, work: list[Any], files: tuple[ImportedFile, ...]
    ) -> ImportedMessage | None:
        parts, _ = valid_parts([*work, {"type": "text", "text": content}] if content else work)
        message = mapping(node.get("message"))
        if not parts and not files:
            return None
        return ImportedMessage(
            node_id,
            None,
            "assistant",
            content,
            moment(message.get("create_time")),
            parts=tuple(parts) if work else (),
            model=text(mapping(message.get("metadata")).get("model_slug"))[:200] or None,
            files=files,
        )

    def _work(self, node: Mapping[str, Any], *last: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What was thought and done between the message before and this one, as parts."""
        steps = list(last)
        here, seen = _parent(node), set[str]()
        while here is not None and here in self._nodes and here not in seen and len(seen) < _LONGEST_WORK:
            seen.add(here)
            above = self._nodes[here]
            message = mapping(above.get("message"))
            if not _is_hidden(message) and _role(message) is not None:
                if not _is_work(message) and (_role(message) == "user" or self._says_something(message)):
                    break
                steps.append(message)
            here = _parent(above)
        return _parts(steps[::-1])

    def _says_something(self, message: Mapping[str, Any]) -> bool:
        return any(sequence(mapping(message.get("content")).get("parts")))

    def _content(self, content: Mapping[str, Any]) -> tuple[str, tuple[ImportedFile, ...]]:
        pieces, files = [], []
        for part in sequence(content.get("parts")):
            if isinstance(part, str):
                pieces.append(text(part))
            elif pointer := source_id(mapping(part).get("asset_pointer")):
                found = self._find_file(pointer.rpartition("/")[2])
                if found is None:
                    pieces.append("[An image or recording that this export does not hold]")
                else:
                    files.append(ImportedFile(None, *found))
            elif said := text(mapping(part).get("text")):
                pieces.append(said)
            else:
                self._unread += part is not None
        if not pieces and not files:
            pieces = [_other_content(content)]
            self._unread += not pieces[0] and content.get("content_type") not in ("text", "multimodal_text", None)
        return _CITATION.sub("", "\n\n".join(piece for piece in pieces if piece)).strip(), tuple(files)


def _parent(node: Mapping[str, Any]) -> str | None:
    return source_id(node.get("parent"))


def _role(message: Mapping[str, Any]) -> str | None:
    role = mapping(message.get("author")).get("role")
    return role if role in ("user", "assistant", "tool") else None


def _is_hidden(message: Mapping[str, Any]) -> bool:
    metadata = mapping(message.get("metadata"))
    return (
        metadata.get("is_visually_hidden_from_conversation") is True
        or mapping(message.get("content")).get("content_type") in _HIDDEN
    )


def _is_work(message: Mapping[str, Any]) -> bool:
    content = mapping(message.get("content"))
    if mapping(message.get("author")).get("role") == "tool":
        return not any(isinstance(part, Mapping) for part in sequence(content.get("parts")))
    if mapping(message.get("author")).get("role") == "user":
        return False
    return content.get("content_type") in _WORK or message.get("recipient") not in (None, "all")


def _other_content(content: Mapping[str, Any]) -> str:
    """The words of a content that has no parts."""
    said = text(content.get("text")) or text(content.get("result")) or text(content.get("content"))
    heading = " ".join(filter(None, (text(content.get("title")), text(content.get("url")))))
    return f"{heading}\n\n{said}".strip() if content.get("content_type") == "tether_quote" else said


def _parts(steps: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    duration = None
    for message in steps:
        content = mapping(message.get("content"))
        kind = content.get("content_type")
        if kind == "thoughts":
            thoughts += [thought for one in sequence(content.get("thoughts")) if (thought := _thought(mapping(one)))]
        elif kind == "reasoning_recap":
            taken = mapping(message.get("metadata")).get("finished_duration_sec")
            duration = int(taken * 1000) if isinstance(taken, int) and 0 < taken < 10**6 else duration
        elif _role(message) == "tool":
            _answer(calls, message, content)
        elif said := _said(content):
            name = text(message.get("recipient"))
            calls.append(_call(name if name not in ("", "all") else "code", said))
    reasoning = [{"type": "reasoning", "text": "\n\n".join(thoughts), "duration_ms": duration}] if thoughts else []
    return [*reasoning, *calls]


def _thought(thought: Mapping[str, Any]) -> str:
    summary, words = text(thought.get("summary")), text(thought.get("content"))
    return "\n\n".join(filter(None, (f"**{summary}**" if summary else "", words)))


def _said(content: Mapping[str, Any]) -> str:
    pieces = [text(part) for part in sequence(content.get("parts"))]
    return "\n\n".join(filter(None, pieces)) or _other_content(content)


def _call(name: str, arguments: str) -> dict[str, Any]:
    return {"type": "tool_call", "id": "", "name": name[:200], "arguments": arguments, "state": "success"}


def _answer(calls: list[dict[str, Any]], message: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """What a tool gave back goes to its call, the last one that has no result yet."""
    result = _said(content)
    if not result:
        return
    if not calls or "result" in calls[-1]:
        calls.append(_call(text(mapping(message.get("author")).get("name")) or "tool", ""))
    calls[-1]["result"] = result
