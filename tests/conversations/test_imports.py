"""Importing ChatGPT's, Open WebUI's and our own files: what is in them arrives once, whatever state they are in."""

import base64
import io
import json
import secrets
import time
import tracemalloc
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select, update

from chatcore.accounts import Principal
from chatcore.config import load_settings
from chatcore.conversations import Conversations, erasing, search, store
from chatcore.conversations.attachments import Attachments
from chatcore.conversations.exchange import Imports, reader
from chatcore.conversations.exchange.depth import MOST, Depth
from chatcore.conversations.exchange.job import ImportProgress
from chatcore.conversations.exchange.nodes import Node, arrange
from chatcore.conversations.exchange.reader import Reader
from chatcore.conversations.exchange.values import ImportedConversation, ImportedMessage, moment
from chatcore.conversations.exchange.writer import Writer
from chatcore.db import Database
from chatcore.db.tables import Conversation as ConversationRow
from chatcore.db.tables import Message as MessageRow
from chatcore.db.tables import SearchEntry, utcnow
from chatcore.errors import Conflict, InvalidInput, NotFound
from tests.conftest import add_person

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
BEGUN = 1_700_000_000.5


class House:
    """Ann, her colleague Bob, Cleo of another tenant, and imports that are waited for."""

    def __init__(self, db: Database, folder: Path) -> None:
        self.db, self.folder = db, folder
        settings = load_settings({"CHATCORE_DATA_DIR": str(folder / "data")}, root=folder)
        self.files = Attachments(db, settings)
        self.imports = Imports(db, settings, self.files)
        self.all = Conversations(db)
        mark = secrets.token_hex(4)
        self.ann = add_person(db, f"ann-{mark}", tenant=f"A-{mark}")
        self.bob = add_person(db, f"bob-{mark}", tenant=f"A-{mark}")
        self.cleo = add_person(db, f"cleo-{mark}", tenant=f"C-{mark}")

    def load(self, who: Principal, what: Any) -> ImportProgress:
        data = what if isinstance(what, bytes) else json.dumps(what).encode()
        return self.wait(who, self.imports.start(who, "export.json", data).id)

    def wait(self, who: Principal, import_id: str) -> ImportProgress:
        deadline = time.monotonic() + 60
        while (found := self.imports.get(who, import_id)).state == "running":
            assert time.monotonic() < deadline, found
            time.sleep(0.005)
        return found

    def mine(self, who: Principal) -> list[ConversationRow]:
        query = select(ConversationRow).where(ConversationRow.user_id == who.user_id).order_by(ConversationRow.id)
        return self.db.read(lambda session: list(session.scalars(query)))

    def messages(self, conversation_id: str) -> list[MessageRow]:
        query = select(MessageRow).where(MessageRow.conversation_id == conversation_id).order_by(MessageRow.id)
        return self.db.read(lambda session: list(session.scalars(query)))

    def branch(self, who: Principal, conversation_id: str) -> list[str]:
        return [one.content for one in self.all.window(who, conversation_id)[1].messages]


@pytest.fixture
def house(module_database: Database, tmp_path: Path) -> House:
    return House(module_database, tmp_path)


# --- ChatGPT --------------------------------------------------------------------------------------------------------


def said(role: str, content: Any, **more: Any) -> dict[str, Any]:
    body = {"content_type": "text", "parts": [content]} if isinstance(content, str) else content
    return {"author": {"role": role}, "content": body, "create_time": BEGUN, "recipient": "all", **more}


def tree(*nodes: tuple[str, str | None, dict[str, Any] | None], **more: Any) -> dict[str, Any]:
    """A conversation of ChatGPT from (id, parent, message)."""
    mapping = {key: {"id": key, "parent": parent, "message": message, "children": []} for key, parent, message in nodes}
    whole = {"title": "Soup", "create_time": BEGUN, "update_time": BEGUN + 60, "mapping": mapping}
    return whole | {"current_node": nodes[-1][0] if nodes else None, "conversation_id": "talk-1"} | more


def soup(**more: Any) -> dict[str, Any]:
    return tree(
        ("root", None, None),
        ("sys", "root", said("system", "")),
        ("hid", "sys", said("user", "about me", metadata={"is_visually_hidden_from_conversation": True})),
        ("q1", "hid", said("user", "How long do lentils cook?")),
        ("a1", "q1", said("assistant", "An hour.", metadata={"model_slug": "gpt-4"})),
        ("a2", "q1", said("assistant", "Red ones ten minutes.", metadata={"model_slug": "gpt-4o"})),
        ("q2", "a2", said("user", "And chickpeas?")),
        **more,
    )


def test_a_conversation_of_chatgpt_arrives_with_its_branches(house: House) -> None:
    done = house.load(house.ann, [soup(is_archived=True)])
    assert (done.state, done.fraction, done.added, done.messages, done.problems) == ("done", 1.0, 1, 4, ())
    (row,) = house.mine(house.ann)
    assert (row.title, row.title_words, row.message_count, row.client_id) == ("Soup", "soup", 4, "chatgpt:talk-1")
    assert row.created_at == row.last_message_at == row.archived_at == datetime.fromtimestamp(BEGUN, UTC)
    assert row.preview == "And chickpeas?"
    question, first, second, follow = house.messages(row.id)
    assert [one.parent_id for one in (question, first, second, follow)] == [None, question.id, question.id, second.id]
    assert [one.model for one in (question, first, second)] == [None, "gpt-4", "gpt-4o"]
    assert house.branch(house.ann, row.id) == ["How long do lentils cook?", "Red ones ten minutes.", "And chickpeas?"]
    assert row.head_message_id == follow.id
    assert second.cost_nano_usd is second.prompt_tokens is None


def test_what_was_thought_and_done_becomes_parts_of_the_reply(house: House) -> None:
    one = tree(
        ("q", None, said("user", "Two and two?")),
        (
            "t",
            "q",
            said("assistant", {"content_type": "thoughts", "thoughts": [{"summary": "Sums", "content": "Add."}]}),
        ),
        ("r", "t", said("assistant", {"content_type": "reasoning_recap"}, metadata={"finished_duration_sec": 4})),
        ("c", "r", said("assistant", {"content_type": "code", "text": "2+2"}, recipient="python")),
        (
            "o",
            "c",
            said("tool", {"content_type": "execution_output", "text": "4"}, author={"role": "tool", "name": "python"}),
        ),
        ("a", "o", said("assistant", "Four. \ue200cite\ue202turn0\ue201")),
    )
    house.load(house.ann, [one])
    question, answer = house.messages(house.mine(house.ann)[0].id)
    assert (answer.parent_id, answer.content) == (question.id, "Four.")
    reasoning, call, words = answer.parts
    assert reasoning == {"type": "reasoning", "text": "**Sums**\n\nAdd.", "duration_ms": 4000}
    assert (call["name"], call["arguments"], call["result"]) == ("python", "2+2", "4")
    assert words == {"type": "text", "text": "Four."}


def test_work_that_no_reply_followed_is_kept(house: House) -> None:
    one = tree(
        ("q", None, said("user", "Two and two?")),
        ("c", "q", said("assistant", {"content_type": "code", "text": "2+2"}, recipient="python")),
        ("o", "c", said("tool", {"content_type": "execution_output", "text": "4"})),
    )
    house.load(house.ann, [one])
    _, answer = house.messages(house.mine(house.ann)[0].id)
    assert [(part["arguments"], part["result"]) for part in answer.parts] == [("2+2", "4")]


@pytest.mark.parametrize(
    ("content", "stored"),
    [
        (
            {"content_type": "multimodal_text", "parts": ["a", {"content_type": "audio_transcription", "text": "b"}]},
            "a\n\nb",
        ),
        (
            {"content_type": "multimodal_text", "parts": [{"asset_pointer": "sediment://file_1"}]},
            "[An image or recording that this export does not hold]",
        ),
        (
            {"content_type": "tether_quote", "title": "Salt", "url": "https://example.org", "text": "is salty"},
            "Salt https://example.org\n\nis salty",
        ),
        ({"content_type": "from_the_future", "text": "words"}, "words"),
        ({"content_type": "text", "parts": ["a\x00b\ud800", None]}, "ab\ufffd"),
    ],
)
def test_every_kind_of_content_keeps_its_words(house: House, content: dict[str, Any], stored: str) -> None:
    house.load(house.ann, [tree(("q", None, said("user", content)))])
    # A lone surrogate written as an escape becomes a question mark in the parser already.
    assert house.messages(house.mine(house.ann)[0].id)[0].content.replace("?", "\ufffd") == stored


def test_a_kind_without_words_is_counted(house: House) -> None:
    done = house.load(
        house.ann, [tree(("q", None, said("user", "Hi")), ("a", "q", said("assistant", {"content_type": "odd"})))]
    )
    assert done.problems == ("“Soup”: 1 piece could not be read.",)
    assert done.messages == 1


# --- Open WebUI -----------------------------------------------------------------------------------------------------


def chat(**more: Any) -> dict[str, Any]:
    reply = (
        '<details type="reasoning" done="true" duration="7">\n<summary>Thought for 7 seconds</summary>\n'
        "&gt; Bread &amp;\n&gt; water.\n</details>\nKnead it."
    )
    messages = {
        "u1": {
            "id": "u1",
            "parentId": None,
            "childrenIds": ["r1", "r2"],
            "role": "user",
            "content": "Bread?",
            "timestamp": 1_700_000_000,
        },
        "r1": {
            "id": "r1",
            "parentId": "u1",
            "role": "assistant",
            "content": reply,
            "model": "llama3:8b",
            "timestamp": 1_700_000_009,
        },
        "r2": {
            "id": "r2",
            "parentId": "u1",
            "role": "assistant",
            "content": "Buy it.",
            "model": "qwen",
            "timestamp": 1_700_000_011,
        },
    }
    inner = {"title": "Baking", "models": ["llama3:8b"], "history": {"messages": messages, "currentId": "r1"}}
    outer = {"id": "c-1", "user_id": "someone", "title": "Baking", "chat": inner, "archived": False, "pinned": True}
    return outer | {"created_at": 1_700_000_000, "updated_at": 1_700_000_020, "meta": {"tags": ["food"]}} | more


def test_a_chat_of_open_webui_arrives_with_its_branches(house: House) -> None:
    done = house.load(house.ann, [chat()])
    assert (done.state, done.added, done.messages, done.problems) == ("done", 1, 3, ())
    (row,) = house.mine(house.ann)
    assert (row.title, row.client_id, row.preview) == ("Baking", "open_webui:c-1", "Knead it.")
    assert row.created_at == datetime.fromtimestamp(1_700_000_000, UTC)
    assert row.last_message_at == row.pinned_at == datetime.fromtimestamp(1_700_000_011, UTC)
    _, reply, other = house.messages(row.id)
    assert reply.parts == [
        {"type": "reasoning", "text": "Bread &\nwater.", "duration_ms": 7000},
        {"type": "text", "text": "Knead it."},
    ]
    assert (reply.model, other.model, other.parent_id) == ("llama3:8b", "qwen", reply.parent_id)
    assert house.branch(house.ann, row.id) == ["Bread?", "Knead it."]


def test_an_old_chat_is_a_list_of_messages(house: House) -> None:
    old = {
        "title": "Old",
        "models": ["m"],
        "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
    }
    assert house.load(house.ann, [old]).added == 1
    assert house.load(house.ann, [old]).unchanged == 1
    assert house.branch(house.ann, house.mine(house.ann)[0].id) == ["a", "b"]


def test_images_inside_a_chat_are_attached(house: House) -> None:
    one = chat()
    url = f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"
    one["chat"]["history"]["messages"]["u1"]["files"] = [
        {"type": "image", "url": url},
        {"type": "file", "name": "a.pdf"},
    ]
    done = house.load(house.ann, [one])
    assert done.problems == ("The file “a.pdf” is not in the export.",)
    question = house.messages(house.mine(house.ann)[0].id)[0]
    media, words = question.parts
    assert (media["type"], media["media"], media["width"], words["text"]) == ("media", "image", 1, "Bread?")
    assert house.files.get(house.ann, media["attachment_id"])[1].is_file()


# --- again and again ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", [[soup()], [chat()]])
def test_the_same_file_twice_brings_nothing_new(house: House, what: Any) -> None:
    house.load(house.ann, what)
    before = [vars(one) | {"_sa_instance_state": 0} for one in house.mine(house.ann)]
    done = house.load(house.ann, what)
    assert (done.state, done.added, done.updated, done.unchanged, done.messages) == ("done", 0, 0, 1, 0)
    assert [vars(one) | {"_sa_instance_state": 0} for one in house.mine(house.ann)] == before


def grown() -> dict[str, Any]:
    one = soup(title="A new title there", current_node="a3")
    later = said("assistant", "An hour and a half.", create_time=BEGUN + 500)
    one["mapping"]["a3"] = {"id": "a3", "parent": "q2", "message": later}
    return one


def test_of_a_file_that_grew_only_the_new_is_added(house: House) -> None:
    house.load(house.ann, [soup()])
    (row,) = house.mine(house.ann)
    house.all.rename(house.ann, row.id, "My soup")
    done = house.load(house.ann, [grown()])
    assert (done.added, done.updated, done.messages) == (0, 1, 1)
    (row,) = house.mine(house.ann)
    assert (row.title, row.message_count, row.preview) == ("My soup", 5, "An hour and a half.")
    assert row.last_message_at == datetime.fromtimestamp(BEGUN + 500, UTC)
    assert house.branch(house.ann, row.id)[-1] == "An hour and a half."


def test_who_went_on_here_stays_where_they_are(house: House) -> None:
    house.load(house.ann, [soup()])
    (row,) = house.mine(house.ann)
    values = {"role": "user", "content": "And peas?", "parts": [], "status": "complete"}

    def go_on(session: Any) -> str:
        message_id = store.add_message(session, house.ann, row.id, parent_id=row.head_message_id, **values)
        store.advance(session, row.id, message_id, 1)
        return message_id

    head = house.db.write(go_on)
    house.load(house.ann, [grown()])
    assert house.mine(house.ann)[0].head_message_id == head
    assert house.mine(house.ann)[0].message_count == 6


def test_a_deleted_conversation_comes_again(house: House) -> None:
    house.load(house.ann, [soup()])
    row = house.mine(house.ann)[0]
    house.db.write(lambda s: s.execute(delete(ConversationRow).where(ConversationRow.id == row.id)))
    assert house.load(house.ann, [soup()]).added == 1


def test_what_is_still_being_erased_comes_again_too(house: House) -> None:
    house.load(house.ann, ours({}))
    (gone,) = house.mine(house.ann)
    exported = "".join(house.imports.export_all(house.ann)).encode()
    house.db.write(lambda session: erasing.condemn(session, [gone.id]))
    for what in (ours({}), exported):
        done = house.load(house.ann, what)
        assert (done.added, done.unchanged, done.messages) == (1, 0, 1)
    assert len(house.all.recent(house.ann)) == 2


def test_two_people_with_one_file_stay_apart(house: House) -> None:
    for who in (house.ann, house.bob, house.cleo):
        assert house.load(who, [soup(), chat()]).added == 2
    ids = {one.id for who in (house.ann, house.bob, house.cleo) for one in house.mine(who)}
    assert len(ids) == 6
    for row in house.mine(house.bob):
        assert all(
            (one.user_id, one.tenant_id) == (house.bob.user_id, house.bob.tenant_id) for one in house.messages(row.id)
        )


def test_two_processes_importing_one_file_at_once_write_it_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = read(json.dumps([soup()]).encode())[0]
    quicker, slower = (Writer(house.db, house.ann, house.files) for _ in range(2))
    # Between the slower one's look and its writing the quicker one writes.
    monkeypatch.setattr(slower, "_keep_files", lambda _: quicker.write(one))
    assert slower.write(one) == ("unchanged", 0)
    (row,) = house.mine(house.ann)
    assert row.message_count == len(house.messages(row.id)) == 4


def test_what_was_imported_is_in_the_index(house: House) -> None:
    house.load(house.ann, [soup()])
    row = house.mine(house.ann)[0]
    entries = select(SearchEntry.message_id).where(SearchEntry.conversation_id == row.id).order_by(SearchEntry.id)
    found = house.db.read(lambda session: list(session.scalars(entries)))
    assert found == [one.id for one in house.messages(row.id)]
    hits = house.db.read(
        lambda session: search.find(session, house.ann, search.Query.parse("lentils"), search.Filters(), 10)
    ).hits
    assert [hit.message_id for hit in hits if hit.message_id] == [found[0]]


def test_a_long_conversation_is_written_whole(house: House) -> None:
    nodes = [
        (f"n{i}", f"n{i - 1}" if i else None, said("user" if i % 2 == 0 else "assistant", str(i))) for i in range(700)
    ]
    assert house.load(house.ann, [tree(*nodes)]).messages == 700  # type: ignore[arg-type]
    row = house.mine(house.ann)[0]
    stored = house.messages(row.id)
    assert row.message_count == len(stored) == 700
    assert [one.parent_id for one in stored] == [None, *(one.id for one in stored[:-1])]
    assert row.head_message_id == stored[-1].id


def test_a_half_written_conversation_is_completed(house: House) -> None:
    house.load(house.ann, [soup()])
    row = house.mine(house.ann)[0]
    last = row.head_message_id
    parent = house.messages(row.id)[-2].id
    house.db.write(lambda s: s.execute(delete(MessageRow).where(MessageRow.id == last)))
    house.db.write(
        lambda s: s.execute(
            update(ConversationRow).where(ConversationRow.id == row.id).values(head_message_id=parent, message_count=3)
        )
    )
    assert house.load(house.ann, [soup()]).updated == 1
    assert house.branch(house.ann, row.id)[-1] == "And chickpeas?"
    assert house.mine(house.ann)[0].message_count == 4


def test_deleting_a_conversation_while_it_is_filled_stops_only_that_one(house: House) -> None:
    nodes = [(f"n{i}", None, said("user", str(i))) for i in range(400)]
    (one,) = Reader(io.BytesIO(json.dumps([tree(*nodes)]).encode()), 1)  # type: ignore[arg-type]

    def deleted_meanwhile() -> None:
        house.db.write(lambda s: s.execute(delete(ConversationRow).where(ConversationRow.user_id == house.ann.user_id)))

    outcome, _ = Writer(house.db, house.ann, house.files, deleted_meanwhile).write(one)
    assert outcome == "skipped"
    assert house.mine(house.ann) == []


# --- odd and broken files -------------------------------------------------------------------------------------------


def read(data: bytes) -> tuple[list[ImportedConversation], Reader]:
    found = Reader(io.BytesIO(data), len(data))
    return list(found), found


@pytest.mark.parametrize("kind", ["list", "ours"])
def test_cut_off_anywhere_what_was_whole_is_kept(kind: str) -> None:
    ours = {
        "format": "chatcore.conversations", "version": 1, "id": "c", "title": "T", "attachments": [],
        "messages": [{"id": "m", "parent_id": None, "role": "user", "content": "Ä\n"}],
    }  # fmt: skip
    items = [soup(), chat(), soup(conversation_id="talk-2")] if kind == "list" else [ours, ours | {"id": "d"}]
    whole = items if kind == "list" else {"format": "chatcore.conversations", "version": 1, "conversations": items}
    data = json.dumps(whole, ensure_ascii=False).encode()
    ends, at = [], 0
    for item in items:
        text = json.dumps(item, ensure_ascii=False).encode()
        at = data.index(text, at) + len(text)
        ends.append(at)
    for length in range(0, len(data), 10):
        try:
            found, how = read(data[:length])
        except InvalidInput:
            assert length < ends[0]
            continue
        assert len(found) == sum(end <= length for end in ends)
        assert how.broken


def test_a_file_that_was_cut_off_says_so(house: House) -> None:
    data = json.dumps([soup(), chat()]).encode()
    done = house.load(house.ann, data[:-5])
    assert (done.state, done.added) == ("done", 1)
    assert done.problems == ("The file is damaged or was cut off. Its first 1 conversation could be read.",)
    done = house.load(house.bob, data[:100])
    assert (done.state, done.added) == ("failed", 0)
    assert done.problems == ("The file is damaged, or was cut off before its first conversation ended.",)


@pytest.mark.parametrize(
    "data",
    [
        b"<!doctype html><p>hi", b"\x89PNG\r\n\x1a\n", b"%PDF-1.7", b"hello", b"42", b'"text"', b"null", b"{}",
        b'[{"uuid": "x", "name": "n", "chat_messages": []}]', b'{"conversations": [{"a": 1}]}', b"[1, 2, 3]",
        b'{"messages": [{"role": "user"}]}', b'{"chat": 1}', b'[{"mapping": []}]', b"[[[[[]]]]]", b"\x00" * 50,
        json.dumps([{"a": 1}] * 50 + [1]).encode(),
    ],
)  # fmt: skip
def test_another_products_file_is_refused(house: House, data: bytes) -> None:
    done = house.load(house.ann, data)
    assert (done.state, done.problems) == ("failed", ("This is no export of Chatcore, ChatGPT or Open WebUI.",))
    assert house.mine(house.ann) == []


def test_a_file_without_conversations_says_so(house: House) -> None:
    assert house.load(house.ann, b"[]").problems == ("There are no conversations in this file.",)
    with pytest.raises(InvalidInput, match="no conversations"):
        house.load(house.ann, b"")


@pytest.mark.parametrize(
    "broken",
    [
        {"mapping": {}}, {"mapping": {"a": None}}, {"mapping": {"a": {"message": {"author": 3, "content": [1]}}}},
        {"mapping": {"a": {"id": 5, "parent": {"x": 1}, "message": said("user", {"parts": {"a": 1}})}}},
        {"chat": {"history": {"messages": {"a": 3, "b": None, "c": {"role": 3}}}}},
        {"chat": {"messages": "text"}}, {"chat": {"messages": [1, None, {"role": "user", "content": {"a": 1}}]}},
        {"format": "chatcore.conversations", "version": 1, "messages": [1, {"role": "user"}, {"role": 7}]},
        {"format": "chatcore.conversations", "version": 1, "messages": [], "settings": 4, "summary": "x"},
    ],
)  # fmt: skip
def test_wrong_types_everywhere_leave_the_rest(house: House, broken: dict[str, Any]) -> None:
    done = house.load(house.ann, [broken, soup()])
    assert done.state == "done"
    assert [one.title for one in house.mine(house.ann)][-1] == "Soup"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "mapping",
                    "message",
                    "author",
                    "role",
                    "content",
                    "parts",
                    "chat",
                    "history",
                    "messages",
                    "id",
                    "parent",
                    "parentId",
                    "format",
                    "version",
                    "title",
                    "create_time",
                    "text",
                    "files",
                    "thoughts",
                    "content_type",
                    "recipient",
                    "metadata",
                    "asset_pointer",
                    "settings",
                    "summary",
                    "attachments",
                ]
            )
            | st.text(max_size=3),
            inner,
            max_size=6,
        )
    ),
    max_leaves=25,
)


@given(_JSON, st.sampled_from(["mapping", "chat", "ours", "none"]))
def test_no_json_at_all_makes_the_reader_fail(value: Any, kind: str) -> None:
    wraps: dict[str, Any] = {
        "mapping": [{"mapping": value if isinstance(value, dict) else {"a": value}}],
        "chat": [{"chat": value, "history": {"messages": {"a": value}}}],
        "ours": {"format": "chatcore.conversations", "version": 1, "messages": [value], "attachments": value},
        "none": value,
    }
    try:
        read(json.dumps(wraps[kind]).encode())
    except InvalidInput:
        pass


def test_two_messages_of_one_id_are_both_kept(house: House) -> None:
    body = json.dumps([tree(("q", None, said("user", "first")), ("a", "q", said("assistant", "reply")))])
    second = json.dumps({"id": "q", "parent": None, "message": said("user", "second")})
    done = house.load(house.ann, body.replace('"mapping": {', '"mapping": {"q": ' + second + ", ", 1).encode())
    assert done.problems == ("“Soup”: 1 message had the id of another one.",)
    assert sorted(one.content for one in house.messages(house.mine(house.ann)[0].id)) == ["first", "reply", "second"]
    assert house.load(house.ann, body.encode()).unchanged == 1


def ours(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A conversation in our own form, of messages that follow each other where they do not say otherwise."""
    made: list[dict[str, Any]] = []
    for number, message in enumerate(messages, 1):
        above = made[-1]["id"] if made else None
        made.append({"id": str(number), "parent_id": above, "role": "user", "content": "x"} | message)
    whole = {"format": "chatcore.conversations", "version": 1, "id": "9", "title": "Ours", "attachments": []}
    return whole | {"messages": made, "head_message_id": made[-1]["id"]} | more


@pytest.mark.parametrize("kind", ["ours", "chatgpt", "open_webui"])
def test_a_message_without_end_is_cut_with_a_note(house: House, kind: str) -> None:
    long = "word " * 200_000
    what: Any = {
        "ours": ours({"content": long, "parts": [{"type": "text", "text": long}]}),
        "chatgpt": [tree(("q", None, said("user", long)))],
        "open_webui": [{"id": "c", "chat": {"history": {"messages": {"q": {"role": "user", "content": long}}}}}],
    }[kind]
    done = house.load(house.ann, what)
    assert (done.state, done.messages) == ("done", 1)
    assert done.problems[0].startswith("A message of “")
    assert "500,000 characters" in done.problems[0]
    (row,) = house.mine(house.ann)
    (message,) = house.messages(row.id)
    for text in (message.content, *(part["text"] for part in message.parts)):
        assert len(text) == 500_000
        assert text.startswith("word word")
        assert text.endswith("was too long to be imported.]")
    assert house.load(house.ann, what).problems == (), "what is there already is not complained of again"


def test_a_long_text_takes_no_longer_than_many_short_ones() -> None:
    def seconds(what: Any) -> float:
        data = json.dumps(what, ensure_ascii=False).encode()
        start = time.thread_time()
        assert len(list(Reader(io.BytesIO(data), len(data)))) == 1
        return time.thread_time() - start

    assert seconds(ours({"content": "wörd " * 800_000})) < 1


def test_parts_without_end_are_left_out(house: House) -> None:
    table = {"type": "table", "columns": ["c"] * 30, "rows": [["x" * 100] * 30] * 500}
    done = house.load(house.ann, ours({"role": "assistant", "parts": [{"type": "text", "text": "kept"}, table, table]}))
    assert done.problems == ("“Ours”: 1 piece could not be read.",)
    (row,) = house.mine(house.ann)
    assert [part["type"] for part in house.messages(row.id)[0].parts] == ["text", "table"]


def test_only_ids_are_taken_for_ids(house: House) -> None:
    table = {"type": "table", "columns": ["1", "9"], "rows": [["1", "2"], ["9", "9"]]}
    call = {"type": "tool_call", "id": "1", "name": "2", "arguments": "1", "state": "success", "result": "9"}
    summary = {"text": "2", "up_to": "2", "model": "1"}
    house.load(house.ann, ours({}, {"role": "assistant", "parts": [table, call]}, summary=summary))
    (row,) = house.mine(house.ann)
    _, reply = house.messages(row.id)
    assert reply.parts == [table, call]
    assert row.summary == {"text": "2", "up_to": reply.id, "model": "1"}


def test_replies_that_were_compared_are_found_again(house: House) -> None:
    meta = {"compare": ["2", "3", "3", "elsewhere", 7], "picked": "3", "imported": "chatgpt"}
    house.load(house.ann, ours({"metadata": meta}, {"role": "assistant"}, {"role": "assistant", "parent_id": "1"}))
    (row,) = house.mine(house.ann)
    question, first, second = house.messages(row.id)
    assert question.meta == {"imported": "chatgpt", "compare": [first.id, second.id], "picked": second.id}


@pytest.mark.parametrize(
    ("metadata", "kept"),
    [
        ({"compare": 5, "picked": 5, "imported": 5, "outcome": ["x"], "usage_source": {}, "trimmed": "abc"}, {}),
        ({"compare": {"1": 1}, "picked": ["1"], "trimmed": [1]}, {}),
        ({"compare": ["nobody"], "picked": "nobody"}, {}),
        ({"trimmed": True, "unheard of": 1, "trace_id": "x"}, {}),
        ({"trimmed": 3, "outcome": "ok", "usage_source": "estimated"}, None),
        ("x", {}),
    ],
    ids=str,
)
def test_metadata_of_wrong_types_does_no_harm(house: House, metadata: Any, kept: Any) -> None:
    house.load(house.ann, ours({"metadata": metadata}))
    (row,) = house.mine(house.ann)
    assert house.messages(row.id)[0].meta == (metadata if kept is None else kept)


def test_a_part_names_no_file_that_the_export_does_not_hold(house: House) -> None:
    part = {"type": "media", "media": "image", "attachment_id": "att_theirs", "name": "x.png"}
    part |= {"media_type": "image/png", "size": 8}
    house.load(house.ann, ours({"parts": [part]}))
    (row,) = house.mine(house.ann)
    assert house.messages(row.id)[0].parts == [part | {"attachment_id": ""}]


def test_costs_beyond_all_bounds_can_still_be_added_up(house: House) -> None:
    reply = {"role": "assistant", "cost_nano_usd": 2**62}
    house.load(house.ann, ours({}, reply, reply, {"role": "assistant", "cost_nano_usd": 10**13}))
    (row,) = house.mine(house.ann)
    assert house.all.totals(house.ann, row.id)[1].cost_nano_usd == 10**13


def test_deep_nesting_and_huge_numbers_are_survived(house: House) -> None:
    deep = "[" * 150 + "]" * 150
    data = json.dumps([soup(create_time="X", update_time=10**400)]).replace('"X"', deep)
    done = house.load(house.ann, data.encode())
    assert (done.state, done.added) == ("done", 1)


def test_what_nests_deeper_than_any_export_ends_the_reading(house: House) -> None:
    """The parser's memory grows with the square of the depth: 20,000 levels would take a gigabyte."""
    deep = "[" * 20_000 + "]" * 20_000
    data = json.dumps([soup(), "x" * 40_000, soup(create_time="X")]).replace('"X"', deep)
    done = house.load(house.ann, data.encode())
    assert (done.state, done.added) == ("done", 1)
    assert done.problems


def test_a_conversation_of_too_many_values_ends_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_MOST_VALUES", 10_000)
    data = json.dumps([soup(), {"mapping": {}, "words": "x" * 40_000, "bomb": [[]] * 200_000}]).encode()
    found, how = read(data)
    assert (len(found), how.broken) == (1, True)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_other_encodings_are_read(encoding: str) -> None:
    data = json.dumps([soup(title="Süß")], ensure_ascii=False).encode(encoding)
    assert read(data)[0][0].title == "Süß"


def test_bytes_that_are_no_text_are_replaced() -> None:
    data = json.dumps([soup(title="S_p")]).encode().replace(b"S_p", b"S\xffp")
    assert read(data)[0][0].title == "S\ufffdp"


@pytest.mark.parametrize("absurd", [-1e18, 1e300, 10**40, "yesterday", True, None, [], 0, "9999-01-01"])
def test_absurd_times_become_the_time_of_the_import(house: House, absurd: Any) -> None:
    assert moment(absurd) is None
    one = tree(("q", None, said("user", "Hi", create_time=absurd)), create_time=absurd, update_time=absurd)
    before = utcnow() - timedelta(seconds=1)
    house.load(house.ann, [one])
    row = house.mine(house.ann)[0]
    assert before <= row.created_at <= utcnow()
    assert before <= house.messages(row.id)[0].created_at <= utcnow()


@pytest.mark.parametrize(
    "value", [1_700_000_000, 1_700_000_000_000, 1_700_000_000_000_000, 1_700_000_000 * 10**9, "2023-11-14T22:13:20Z"]
)
def test_times_are_read_in_any_unit(value: Any) -> None:
    assert moment(value) == datetime.fromtimestamp(1_700_000_000, UTC)


def message(key: str) -> ImportedMessage:
    return ImportedMessage(key, None, "user", key)


def test_missing_parents_and_circles_make_roots() -> None:
    nodes = [("b", "a"), ("a", "c"), ("c", "b"), ("d", "gone"), ("e", "d"), ("s", "s")]
    found = arrange(Node(key, parent, message(key)) for key, parent in nodes).messages
    assert {one.id for one in found} == {"a", "b", "c", "d", "e", "s"}
    assert sum(one.parent_id is None for one in found) == 3
    assert next(one for one in found if one.id == "e").parent_id == "d"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-1, 11), st.booleans()), max_size=20))
def test_any_graph_becomes_a_tree_with_every_message(graph: list[tuple[int, int, bool]]) -> None:
    nodes = [
        Node(str(key), str(parent) if parent >= 0 else None, message(f"{number}") if kept else None)
        for number, (key, parent, kept) in enumerate(graph)
    ]
    nodes = [
        Node(n.id, n.parent_id, ImportedMessage(n.id, None, "user", n.message.content) if n.message else None)
        for n in nodes
    ]
    found = arrange(nodes)
    seen: set[str] = set()
    for one in found.messages:
        assert one.parent_id is None or one.parent_id in seen
        assert one.id not in seen
        seen.add(one.id)
    firsts = {node.id: node for node in reversed(nodes)}
    assert {one.content for one in found.messages} >= {n.message.content for n in firsts.values() if n.message}
    for node in nodes:
        assert (found.nearest(node.id) in seen) or not seen


# --- ZIP ------------------------------------------------------------------------------------------------------------


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def test_a_zip_of_chatgpt_with_several_files_and_an_image(house: House) -> None:
    pointer = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://file-AbC123"}
    one = tree(("q", None, said("user", {"content_type": "multimodal_text", "parts": [pointer, "What is it?"]})))
    data = zipped({
        "conversations-000.json": json.dumps([soup(conversation_id="x")]).encode(),
        "conversations-001.json": json.dumps([one]).encode(),
        "user.json": b'{"email": "ann@example.org"}',
        "file-AbC123-photo.png": PIXEL,
    })  # fmt: skip
    done = house.load(house.ann, data)
    assert (done.state, done.added, done.problems, done.fraction) == ("done", 2, (), 1.0)
    question = house.messages(house.mine(house.ann)[1].id)[0]
    assert question.content == "What is it?"
    assert question.parts[0]["name"] == "file-AbC123-photo.png"


def test_any_json_of_a_zip_is_looked_at_where_the_usual_one_is_missing(house: House) -> None:
    assert house.load(house.ann, zipped({"in/chats.json": json.dumps([chat()]).encode(), "a.txt": b"x"})).added == 1


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (zipped({"a.txt": b"x"}), "This is no export"),
        (zipped({"conversations.json": b"no json"}), "This is no export"),
        (zipped({"conversations.json": b"[]"})[:-20], "damaged or was cut off"),
        (b"PK\x03\x04" + b"\x00" * 100, "damaged or was cut off"),
    ],
)
def test_a_zip_that_cannot_be_read_says_why(house: House, data: bytes, sentence: str) -> None:
    done = house.load(house.ann, data)
    assert done.state == "failed"
    assert sentence in done.problems[0]


def test_a_zip_that_unpacks_to_too_much_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MOST_UNPACKED", 10_000_000)
    done = house.load(house.ann, zipped({"conversations.json": b" " * 10_000_001}))
    assert "unpacks to more" in done.problems[0]


def test_a_zip_of_too_many_entries_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_MOST_ENTRIES", 10)
    done = house.load(house.ann, zipped({f"{number}.json": b"[]" for number in range(11)}))
    assert "unpacks to more" in done.problems[0]


def test_damage_inside_a_zip_keeps_what_came_before(house: House) -> None:
    items = json.dumps([soup(conversation_id=f"t{number}", x=secrets.token_hex(5_000)) for number in range(40)])
    data = bytearray(zipped({"conversations.json": items.encode()}, zipfile.ZIP_STORED))
    data[-60_000] ^= 0x01  # inside a random word: the checksum no longer fits
    done = house.load(house.ann, bytes(data))
    assert done.state == "done"
    assert done.added >= 30
    assert "damaged" in done.problems[0]


# --- in the background ----------------------------------------------------------------------------------------------


def test_anothers_import_is_as_absent_as_one_that_never_was(house: House) -> None:
    mine = house.load(house.ann, [soup()])
    for who in (house.bob, house.cleo):
        assert house.imports.mine(who) == []
        said = []
        for import_id in (mine.id, "import_never"):
            for act in (house.imports.get, house.imports.cancel):
                with pytest.raises(NotFound) as caught:
                    act(who, import_id)
                said.append(str(caught.value))
        assert len(set(said)) == 1
    assert house.imports.mine(house.ann) == [mine]


def many(count: int) -> bytes:
    return json.dumps([soup(conversation_id=f"talk-{number}") for number in range(count)]).encode()


def test_one_at_a_time_with_progress_and_it_can_be_cancelled(house: House) -> None:
    started = house.imports.start(house.ann, "big.json", many(5_000))
    assert (started.state, started.name) == ("running", "big.json")
    with pytest.raises(Conflict, match="An import of yours is running"):
        house.imports.start(house.ann, "again.json", many(1))
    deadline = time.monotonic() + 60
    while house.imports.get(house.ann, started.id).added < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    house.imports.cancel(house.ann, started.id)
    ended = house.wait(house.ann, started.id)
    assert ended.state == "cancelled"
    assert 0 < ended.fraction < 1
    assert len(house.mine(house.ann)) == ended.added >= 5
    assert house.load(house.ann, many(6)).state == "done"


def test_nothing_stays_on_the_disk(house: House) -> None:
    started = house.imports.start(house.ann, "big.json", many(200))
    assert list((house.folder / "data" / "imports").iterdir()) == []
    house.imports.cancel(house.ann, started.id)
    house.wait(house.ann, started.id)
    assert list((house.folder / "data" / "imports").iterdir()) == []


def test_paths_and_open_files_are_taken_too(house: House, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(many(1))
    assert house.wait(house.ann, house.imports.start(house.ann, "x", path).id).added == 1
    assert house.wait(house.bob, house.imports.start(house.bob, "x", io.BytesIO(many(1))).id).added == 1


@pytest.mark.parametrize("wrap", [bytes, io.BytesIO])
def test_a_file_that_is_too_big_is_refused(house: House, wrap: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatcore.conversations.exchange.MOST_BYTES", 2**20)
    with pytest.raises(InvalidInput, match="at most 1 MB"):
        house.imports.start(house.ann, "x", wrap(b"[" * (2**20 + 1)))
    assert house.imports.mine(house.ann) == []


def test_a_defect_of_ours_is_said_plainly(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("inner")

    monkeypatch.setattr(Writer, "write", broken)
    done = house.load(house.ann, [soup()])
    assert done.state == "failed"
    assert done.problems == ("Something went wrong on our side. What was imported so far is kept; try again.",)


@given(
    st.recursive(
        st.text(st.sampled_from('a"\\[]{} '), max_size=6) | st.integers(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
        max_leaves=30,
    ),
    st.integers(1, 7),
)
def test_depth_is_counted_wherever_the_text_is_cut(value: Any, size: int) -> None:
    text = json.dumps([value]).encode()

    def deepest(one: Any) -> int:
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else None
        return 0 if inner is None else 1 + max(map(deepest, inner), default=0)

    wrapped = b"[" * (MOST - deepest([value])) + text
    for extra, expected in ((b"", False), (b"[", True)):
        depth, whole = Depth(), extra + wrapped
        found = [depth.is_too_deep(whole[start : start + size]) for start in range(0, len(whole), size)]
        assert any(found) is expected


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_a_file_that_nests_without_end_is_refused_at_once(opening: bytes) -> None:
    data = opening * 1_000_000
    tracemalloc.start()
    with pytest.raises(InvalidInput, match="no export"):
        list(Reader(io.BytesIO(data), len(data)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50 * 2**20
