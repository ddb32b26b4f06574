"""Exports of stored conversations: whose they are, what stands in them, and under which name."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.config import load_settings
from chatcore.conversations import store
from chatcore.conversations.attachments import Attachments
from chatcore.conversations.export import Document, Exports, to_markdown
from chatcore.conversations.export.document import file_name
from chatcore.conversations.values import Message
from chatcore.db import Database
from chatcore.errors import NotFound
from chatcore.ids import new_id
from tests.conftest import add_person

NOW = datetime(2026, 3, 4, 15, 30, tzinfo=UTC)
FENCED = "Look:\n\n```python\nif a < b:\n\treturn '#'\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |"


@pytest.fixture
def exports(module_database: Database, tmp_path: Path) -> Exports:
    settings = load_settings({"CHATCORE_DATA_DIR": str(tmp_path / "data")}, root=tmp_path)
    return Exports(module_database, Attachments(module_database, settings))


@pytest.fixture
def ann(module_database: Database) -> Principal:
    return add_person(module_database, new_id("ann"))


def talk(db: Database, who: Principal, *turns: tuple[str, str], **more: Any) -> str:
    """A conversation of (role, content), each message below the one before; returns its id."""

    def work(session: Session) -> str:
        one = store.create(session, who, turns[0][1], model="fast", agent_id=None, settings={})
        head = None
        for role, content in turns:
            values = {"model": "fast" if role == "assistant" else None, **(more if role == "assistant" else {})}
            head = store.add_message(
                session, who, one.id, parent_id=head, role=role, content=content, status="complete", **values
            )
            store.advance(session, one.id, head, 1)
        return one.id

    return db.write(work)


def message(content: str, role: str = "assistant", **more: Any) -> Message:
    return Message("m", None, role, content, more.pop("status", "complete"), NOW, "u", model="fast", **more)


def markdown(*messages: Message, **more: Any) -> str:
    return to_markdown(Document("Of *cats*", messages, NOW, people={"u": "Ann"}, models={"fast": "Fast"}, **more))


def test_the_branch_is_written_with_who_and_what(module_database: Database, exports: Exports, ann: Principal) -> None:
    conversation_id = talk(module_database, ann, ("user", "How?"), ("assistant", FENCED))
    file = exports.markdown(ann, conversation_id, labels={"fast": "Fast One"})
    text = file.data.decode()
    assert text.startswith("# How?\n\n*Exported ")
    assert f"## {ann.name.replace('_', chr(92) + '_')} · " in text
    assert f"## Fast One · {datetime.now(UTC):%-d %B %Y}" in text
    assert FENCED in text
    assert file.media_type.startswith("text/markdown")
    assert file.name.startswith("How-")


def test_only_the_visible_branch_is_written(module_database: Database, exports: Exports, ann: Principal) -> None:
    conversation_id = talk(module_database, ann, ("user", "Q"), ("assistant", "seen"))
    module_database.write(
        lambda s: store.add_message(
            s, ann, conversation_id, parent_id=None, role="user", content="aside", status="complete"
        )
    )
    text = exports.markdown(ann, conversation_id).data.decode()
    assert "seen" in text
    assert "aside" not in text


def test_a_pdf_is_made_of_a_stored_conversation(module_database: Database, exports: Exports, ann: Principal) -> None:
    part = {
        "type": "media", "media": "image", "attachment_id": "att_gone", "name": "cat.png", "media_type": "image/png",
        "size": 1,
    }  # fmt: skip
    conversation_id = talk(module_database, ann, ("user", "Q"), ("assistant", "A"), parts=[part])
    file = exports.pdf(ann, conversation_id)
    assert file.data.startswith(b"%PDF")
    assert file.media_type == "application/pdf"


def test_json_is_complete_and_readable(module_database: Database, exports: Exports, ann: Principal) -> None:
    conversation_id = talk(module_database, ann, ("user", "Grüße"), ("assistant", "A"))
    file = exports.json(ann, conversation_id)
    assert "Grüße" in file.data.decode()
    assert "Grüße" in json.dumps(json.loads(file.data), ensure_ascii=False)


@pytest.mark.parametrize("kind", ["markdown", "pdf", "json"])
def test_what_is_not_ones_own_does_not_exist(
    module_database: Database, exports: Exports, ann: Principal, kind: str
) -> None:
    conversation_id = talk(module_database, ann, ("user", "Q"), ("assistant", "A"))
    strangers = [add_person(module_database, new_id("b")), add_person(module_database, new_id("c"), tenant="Other")]
    for stranger in strangers:
        with pytest.raises(NotFound) as theirs:
            getattr(exports, kind)(stranger, conversation_id)
        with pytest.raises(NotFound) as absent:
            getattr(exports, kind)(stranger, "conv_absent")
        assert str(theirs.value) == str(absent.value)


def test_titles_and_names_mean_nothing_in_markdown() -> None:
    assert markdown().startswith("# Of \\*cats\\*\n")


def test_an_open_fence_is_closed_so_that_the_next_message_is_seen() -> None:
    text = markdown(message("````\n```\nnever closed"), message("next"))
    headings = [token for token in MarkdownIt().parse(text) if token.type == "heading_open" and token.tag == "h2"]
    assert len(headings) == 2


def test_parts_become_markdown() -> None:
    figures, attached = {"name": "N", "values": [1, None]}, {"attachment_id": "a", "size": 9}
    parts = (
        {"type": "reasoning", "text": "Hmm", "duration_ms": 4000},
        {"type": "tool_call", "name": "find", "arguments": '{"q": 1}', "state": "success", "result": "``` three"},
        {"type": "chart", "chart": "bar", "title": "Sales", "x": ["a", "b"], "series": [figures]},
        {"type": "table", "columns": ["x|y"], "rows": [["1\n2"]]},
        {"type": "code", "language": "rust", "code": "fn main() {}"},
        {"type": "file", "kind": "pdf", "name": "r.pdf", "media_type": "application/pdf", "pages": 2, **attached},
        {"type": "error", "message": "It broke."},
    )  # fmt: skip
    text = markdown(message("Words.", parts=parts, status="failed"))
    assert "Hmm" not in text
    for block in ('*Tool call: find*\n\n```json\n{"q": 1}\n```\n\n````\n``` three\n````', "**Sales**\n\n| ",
                  "| a | 1 |\n| b |  |", "| x\\|y |\n| --- |\n| 1 2 |", "```rust\nfn main() {}\n```",
                  "- r.pdf (PDF, 2 pages)", "> **Error:** It broke.", "*This reply failed.*"):  # fmt: skip
        assert block in text
    assert "> **Thought for 4 s**\n>\n> Hmm\n\nWords." in markdown(message("Words.", parts=parts), with_reasoning=True)


def test_a_document_that_is_not_whole_says_so() -> None:
    assert "only its newest 1 message " in markdown(message("x"), earlier=True)
    assert "newest" not in markdown(message("x"))


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Of cats, and dogs?", "Of-cats-and-dogs-2026-03-04.pdf"),
        ("../../etc/passwd", "etc-passwd-2026-03-04.pdf"),
        ("", "conversation-2026-03-04.pdf"),
        ("🐈", "conversation-2026-03-04.pdf"),
        ("Über Größe", "Über-Größe-2026-03-04.pdf"),
        ("CON\x00\n\u202e", "CON-2026-03-04.pdf"),
    ],
)
def test_files_have_safe_names(title: str, name: str) -> None:
    assert file_name(title, NOW, "pdf") == name


def test_file_names_are_short() -> None:
    assert len(file_name("a" * 500, NOW, "json")) <= 80
    assert len(file_name("語" * 500, NOW, "json").encode()) <= 255
