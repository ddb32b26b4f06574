"""Our own JSON: complete, without what is nobody else's business, and equal after export, import and export."""

import json
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from chatcore.accounts import Principal
from chatcore.config import load_settings
from chatcore.conversations import store
from chatcore.conversations.attachments import Attachments
from chatcore.conversations.attachments import store as attachment_store
from chatcore.conversations.exchange import json_form
from chatcore.conversations.exchange.writer import Writer
from chatcore.db import Database
from chatcore.db.tables import Agent as AgentRow
from chatcore.db.tables import Conversation as ConversationRow
from chatcore.db.tables import Message as MessageRow
from chatcore.db.tables import UsageMetric
from chatcore.errors import InvalidInput, NotFound
from tests.conftest import add_person

NOTE = b"Bring the blue folder.\n"


class House:
    """Ann, her colleague Bob and Cleo of another tenant, with their files."""

    def __init__(self, db: Database, folder: Path) -> None:
        self.db = db
        self.files = Attachments(db, load_settings({"CHATCORE_DATA_DIR": str(folder / "data")}, root=folder))
        mark = secrets.token_hex(4)
        self.ann = add_person(db, f"ann-{mark}", tenant=f"A-{mark}")
        self.bob = add_person(db, f"bob-{mark}", tenant=f"A-{mark}", role="admin")
        self.cleo = add_person(db, f"cleo-{mark}", tenant=f"C-{mark}", role="operator")

    def new(self, who: Principal, **values: Any) -> str:
        def work(session: Session) -> str:
            made = store.create(session, who, "A walk in the hills", model="demo/m", agent_id=None, settings={"t": 0.5})
            if values:
                session.execute(update(ConversationRow).where(ConversationRow.id == made.id).values(**values))
            return made.id

        return self.db.write(work)

    def say(self, who: Principal, conversation_id: str, parent: str | None, content: str = "x", **values: Any) -> str:
        def work(session: Session) -> str:
            row = {"role": "user", "content": content, "parts": [], "status": "complete"} | values
            message_id = store.add_message(session, who, conversation_id, parent_id=parent, **row)
            store.advance(session, conversation_id, message_id, 1)
            return message_id

        return self.db.write(work)

    def dump(self, who: Principal, conversation_id: str) -> dict[str, Any]:
        return self.db.read(lambda session: json_form.dump(session, who, conversation_id, self.files))

    def load(self, who: Principal, dumped: dict[str, Any]) -> tuple[str, Writer]:
        """Import through JSON text; the id of the conversation that came of it."""
        writer = Writer(self.db, who, self.files)
        one = json_form.read(json.loads(json.dumps(dumped)))
        self.outcome = writer.write(one)
        query = select(ConversationRow.id).where(
            ConversationRow.user_id == who.user_id, ConversationRow.client_id == f"chatcore:{one.id}"
        )
        return self.db.read(lambda session: session.scalar(query)) or one.id, writer


@pytest.fixture
def house(module_database: Database, tmp_path: Path) -> House:
    return House(module_database, tmp_path)


def full(house: House) -> str:
    """A conversation with everything: branches, every kind of part, a file, costs, an edit, a summary, an agent."""
    agent = house.db.read(
        lambda s: s.scalars(select(AgentRow.id).where(AgentRow.tenant_id == house.ann.tenant_id).limit(1)).one()
    )
    now = datetime(2025, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    one = house.new(
        house.ann, agent_id=agent, folder="Walks", pinned_at=now, archived_at=now, title_source="person",
        created_at=now - timedelta(days=3), title="Über Berge 🏔",
    )  # fmt: skip
    file = house.files.add(house.ann, "list.txt", NOTE)
    shown = {
        "type": "file", "kind": "text", "attachment_id": file.id, "name": file.name, "media_type": file.media_type,
        "size": file.size,
    }  # fmt: skip
    root = house.say(house.ann, one, None, "Where to?", parts=[shown, {"type": "text", "text": "Where to?"}])
    house.db.write(lambda s: attachment_store.link(s, house.ann, one, root, [file]))
    parts = [
        {"type": "reasoning", "text": "Hills are high.", "duration_ms": 1200},
        {"type": "tool_call", "id": "c1", "name": "map", "arguments": "{}", "state": "success", "result": "ok"},
        {"type": "table", "columns": ["a", "b"], "rows": [[1, "x"], [2.5, None]]},
        {"type": "text", "text": "Up."},
    ]
    reply = house.say(
        house.ann, one, root, "Up.", role="assistant", parts=parts, model="demo/m", provider="demo", agent_id=agent,
        finish_reason="stop", prompt_tokens=7, completion_tokens=3, total_tokens=10, cost_nano_usd=123_456_789_012,
        ttft_ms=12, latency_ms=340, meta={"trace_id": "secret-trace", "session_id": "s", "outcome": "ok"},
    )  # fmt: skip
    house.say(house.ann, one, root, "Down.", role="assistant", status="stopped", model="demo/m")
    other = house.say(house.ann, one, None, "Where else?", edited_at=now)
    house.say(house.ann, one, other, "Home 家 👩‍👩‍👧.", role="assistant", status="failed")
    summary = {"text": "A talk on walks.", "up_to": reply, "model": "demo/m", "edited": False, "cost_nano_usd": 7}
    summary |= {"created_at": "2025-03-01T12:00:00+00:00"}
    house.db.write(
        lambda s: s.execute(
            update(ConversationRow).where(ConversationRow.id == one).values(head_message_id=reply, summary=summary)
        )
    )
    return one


def test_export_import_and_export_are_equal(house: House) -> None:
    dumped = house.dump(house.ann, full(house))
    there, writer = house.load(house.bob, dumped)
    again = house.dump(house.bob, there)
    assert writer.problems == []
    assert json_form.canonical(again) == json_form.canonical(dumped)
    assert again["id"] != dumped["id"]
    assert not {one["id"] for one in again["messages"]} & {one["id"] for one in dumped["messages"]}


def test_an_export_holds_everything(house: House) -> None:
    dumped = house.dump(house.ann, full(house))
    assert [one["content"] for one in dumped["messages"]] == [
        "Where to?", "Up.", "Down.", "Where else?", "Home 家 👩‍👩‍👧.",
    ]  # fmt: skip
    reply = dumped["messages"][1]
    assert (reply["cost_nano_usd"], reply["completion_tokens"], reply["latency_ms"]) == (123_456_789_012, 3, 340)
    assert [part["type"] for part in reply["parts"]] == ["reasoning", "tool_call", "table", "text"]
    assert dumped["head_message_id"] == dumped["summary"]["up_to"] == reply["id"]
    assert dumped["attachments"][0]["data"] == "QnJpbmcgdGhlIGJsdWUgZm9sZGVyLgo="
    assert dumped["agent"]["slug"]
    assert reply["agent"] == dumped["agent"]["slug"]


def test_an_export_names_nobody(house: House) -> None:
    written = json.dumps(house.dump(house.ann, full(house)))
    for secret in (house.ann.user_id, house.ann.tenant_id, house.ann.username, "secret-trace", "session_id"):
        assert secret not in written


def test_files_come_along(house: House) -> None:
    there, _ = house.load(house.cleo, house.dump(house.ann, full(house)))
    dumped = house.dump(house.cleo, there)
    (file,) = dumped["attachments"]
    _, path = house.files.get(house.cleo, file["id"])
    assert path.read_bytes() == NOTE
    assert dumped["messages"][0]["parts"][0]["attachment_id"] == file["id"]


def test_an_id_of_anothers_file_in_a_made_up_export_opens_nothing(house: House) -> None:
    theirs = house.files.add(house.ann, "list.txt", NOTE)
    dumped = house.dump(house.ann, full(house))
    dumped["id"], dumped["attachments"] = "conv_made_up", [{"id": theirs.id, "name": "list.txt", "data": None}]
    dumped["messages"][0]["attachments"] = [theirs.id]
    dumped["messages"][0]["parts"][0]["attachment_id"] = theirs.id
    there, writer = house.load(house.cleo, dumped)
    found = house.dump(house.cleo, there)
    assert found["attachments"] == []
    assert found["messages"][0]["parts"][0]["attachment_id"] == ""
    assert writer.problems == ["The file “list.txt” is not in the export."]


def test_importing_costs_nothing(house: House) -> None:
    count = select(func.count()).select_from(UsageMetric)
    before = house.db.read(lambda session: session.scalar(count))
    house.load(house.bob, house.dump(house.ann, full(house)))
    assert house.db.read(lambda session: session.scalar(count)) == before


def test_ones_own_export_brings_nothing_new_where_the_conversation_still_is(house: House) -> None:
    one = full(house)
    dumped = house.dump(house.ann, one)
    assert house.load(house.ann, dumped)[0] == one
    assert house.outcome == ("unchanged", 0)
    assert house.dump(house.ann, one) == dumped


def test_a_newer_version_is_refused(house: House) -> None:
    with pytest.raises(InvalidInput, match="newer Chatcore"):
        json_form.read(house.dump(house.ann, house.new(house.ann)) | {"version": 2})


@pytest.mark.parametrize(
    "summary",
    [
        {"text": 5},
        {"up_to": "m"},
        {"text": "kept", "up_to": ["m"], "cost_nano_usd": "much", "edited": "no", "x": {}},
        7,
    ],
)
def test_a_summary_of_wrong_types_does_no_harm(house: House, summary: Any) -> None:
    there, _ = house.load(house.bob, house.dump(house.ann, full(house)) | {"summary": summary})
    assert house.dump(house.bob, there)["summary"] in (None, {"text": "kept"})


@pytest.mark.parametrize("stranger", ["bob", "cleo"])
def test_anothers_conversation_is_not_exported(house: House, stranger: str) -> None:
    one, who = full(house), getattr(house, stranger)
    said = []
    for conversation_id in (one, "conv_never"):
        with pytest.raises(NotFound) as caught:
            house.dump(who, conversation_id)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert one not in "".join(json_form.dump_all(house.db, who, house.files))


def test_everything_in_one_file(house: House) -> None:
    mine = [full(house), house.new(house.ann)]
    house.new(house.ann, expires_at=datetime(2100, 1, 1, tzinfo=UTC))
    house.new(house.bob)
    found = json.loads("".join(json_form.dump_all(house.db, house.ann, house.files)))
    assert (found["format"], found["version"]) == ("chatcore.conversations", 1)
    assert [one["id"] for one in found["conversations"]] == mine
    assert found["conversations"][0] == house.dump(house.ann, mine[0])


def test_nothing_at_all_is_a_file_too(house: House) -> None:
    assert json.loads("".join(json_form.dump_all(house.db, house.ann)))["conversations"] == []


# --- any tree -------------------------------------------------------------------------------------------------------

_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)
_MESSAGE = st.tuples(st.integers(-1, 30), st.sampled_from(["user", "assistant", "system"]), _TEXT, st.booleans())


@pytest.fixture(scope="module")
def one_house(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(module_database, tmp_path_factory.mktemp("house"))


@settings(max_examples=30)
@given(st.lists(_MESSAGE, max_size=12), st.integers(0, 30), _TEXT)
def test_any_tree_comes_back(one_house: House, tree: list[tuple[int, str, str, bool]], head: int, folder: str) -> None:
    house = one_house
    one, ids = house.new(house.ann, folder=folder.strip() or None), []
    for parent, role, content, rated in tree:
        above = ids[parent % len(ids)] if ids and parent >= 0 else None
        ids.append(house.say(house.ann, one, above, content, role=role, cost_nano_usd=5 if rated else None))
    if ids:
        house.db.write(lambda s: store.advance(s, one, ids[head % len(ids)], 0))
    dumped = house.dump(house.ann, one)
    there, _ = house.load(house.cleo, dumped)
    again = house.dump(house.cleo, there)
    assert json_form.canonical(again) == json_form.canonical(dumped)
    row = house.db.read(lambda session: session.get_one(ConversationRow, there))
    stored = select(func.count()).select_from(MessageRow).where(MessageRow.conversation_id == there)
    assert row.message_count == len(tree) == house.db.read(lambda session: session.scalar(stored))
    assert all(one["parent_id"] is None or one["parent_id"] < one["id"] for one in again["messages"])
