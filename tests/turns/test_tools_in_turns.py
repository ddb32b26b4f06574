"""Chatcore's own tools, each through a whole turn: the model asks, the tool works, the reply holds what it made."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatcore.bootstrap import Core
from chatcore.config import PROJECT_ROOT
from chatcore.ids import new_id
from chatcore.turns import Submission
from tests.chat import Chat, running_core, until
from tests.conftest import add_person, skip_or_fail
from tests.hostile import HostileProvider
from tests.turns.tools import agent_with, script

FILES = PROJECT_ROOT / "tests" / "node" / "node_modules" / ".bin" / "mcp-server-filesystem"
DOCUMENT = b"# Coffee\n\nThe coffee machine is descaled on the first Monday of each month by the kitchen team.\n"


@pytest.fixture(scope="module")
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory, provider: HostileProvider) -> Iterator[Core]:
    shared = tmp_path_factory.mktemp("shared")
    (shared / "note.txt").write_text("the meeting is on Friday")
    servers = {"files": {"command": str(FILES), "args": [str(shared)]}} if FILES.exists() else {}
    folder, path = tmp_path_factory.mktemp("core"), {"PATH": os.environ["PATH"]}
    with running_core(folder, provider, ["script", "ok;n=4"], servers=servers, environ=path) as core:
        core.flags.set(add_person(core.db, "root", role="operator"), execute_code=True)
        yield core


@pytest.fixture
def chat(core: Core, provider: HostileProvider) -> Chat:
    return Chat(core, provider, new_id("p"))


def asked(chat: Chat, tool: str, name: str, arguments: dict[str, Any]) -> Any:
    agent_id = agent_with(chat, {"name": tool, "asks_first": False})
    return chat.answer("script", script([[name, arguments]]), agent_id=agent_id)


def call_of(reply: Any) -> dict[str, Any]:
    return next(dict(part) for part in reply.parts if part["type"] == "tool_call")


def test_an_official_mcp_server_is_used_in_a_turn(core: Core, chat: Chat) -> None:
    if not FILES.exists() or shutil.which("node") is None:
        skip_or_fail("mcp-server-filesystem is not installed: run npm ci in tests/node")
    who = add_person(core.db, new_id("admin"), role="admin")
    until(lambda: core.mcp.health(who)[0].state == "ready", 30)
    folder = core.settings.file.mcp_servers["files"].args[0]
    reply = asked(chat, "mcp/files", "files__read_text_file", {"path": str(Path(folder) / "note.txt")})
    call = call_of(reply)
    assert (reply.status, call["state"]) == ("complete", "success")
    assert "the meeting is on Friday" in call["result"]
    sent = [one for one in chat.provider.log if "the meeting is on Friday" in str(one.messages)]
    assert [one.messages[-1]["role"] for one in sent] == ["tool"]
    assert len(chat.ledger_rows(reply.turn_id)) == 2


def test_code_runs_and_its_picture_belongs_to_the_reply(core: Core, chat: Chat) -> None:
    who = add_person(core.db, new_id("p"))
    choice = next(one for one in core.toolbox.choices(who) if one.name == "execute_code")
    deadline = time.monotonic() + 30
    while "tried" in choice.why_not and time.monotonic() < deadline:
        time.sleep(0.2)
        choice = next(one for one in core.toolbox.choices(who) if one.name == "execute_code")
    code = "from PIL import Image\nImage.new('RGB', (20, 10), 'red').save('red.png')\nprint(6 * 7)"
    reply = asked(chat, "execute_code", "execute_code", {"code": code})
    call = call_of(reply)
    if call["state"] == "error" and choice.why_not:
        skip_or_fail(choice.why_not)
    assert "42" in call["result"]
    picture = next(part for part in reply.parts if part["type"] == "media")
    share = core.shares.create(chat.who, chat.core.conversations.recent(chat.who)[0].id, kind="team", can_reply=True)
    colleague = add_person(core.db, new_id("p"))
    attachment, _ = core.attachments.get(colleague, picture["attachment_id"])
    assert attachment.kind == "image", "who may read the reply may see its picture"
    assert share.kind == "team"


def test_a_report_belongs_to_the_reply(chat: Chat) -> None:
    reply = asked(
        chat, "generate_report", "generate_report", {"title": "Week", "markdown": "## Done\n\nAll.", "format": "pdf"}
    )
    assert call_of(reply)["state"] == "success"
    assert [part["type"] for part in reply.parts if part["type"] == "file"] == ["file"]


def known(core: Core, chat: Chat) -> None:
    base = core.knowledge.create(chat.who, "Kitchen")
    core.knowledge.add(chat.who, base, "coffee.md", DOCUMENT)
    until(lambda: core.knowledge.documents(chat.who, base)[0].state == "ready", 30)


def test_knowledge_is_found_and_cited(core: Core, chat: Chat) -> None:
    known(core, chat)
    reply = asked(chat, "search_knowledge", "search_knowledge", {"question": "when is the coffee machine descaled?"})
    citations = next(part for part in reply.parts if part["type"] == "citations")
    assert "first Monday" in citations["items"][0]["text"]
    passage = core.knowledge.passage(chat.who, citations["items"][0]["passage_id"])
    assert "descaled" in str(passage)


def test_use_rag_searches_before_the_model_is_asked(core: Core, chat: Chat) -> None:
    known(core, chat)
    sent = Submission("[] when is the coffee machine descaled?", "ok;n=4", search_first=True)
    asked = core.turns.submit(chat.who, sent)
    chat.words(asked)
    call = next(one for one in chat.provider.log if "before you were asked" in str(one.messages))
    assert "first Monday" in str(call.messages[-1]["content"])
    assert [one["role"] for one in call.messages] == ["user", "user"], "as words, to a model that takes no tools"
    assert "tools" not in call.params
    assert "citations" in [part["type"] for part in chat.reply(asked).parts]


def test_use_rag_with_a_model_that_takes_tools(core: Core, chat: Chat) -> None:
    known(core, chat)
    question = "[] on which day is the machine for coffee descaled?"
    asked = core.turns.submit(chat.who, Submission(question, "script", search_first=True))
    chat.words(asked)
    call = next(one for one in chat.provider.log if question in str(one.messages))
    assert [one["role"] for one in call.messages][-2:] == ["assistant", "tool"], "it was asked once, knowing this"
    assert "first Monday" in str(call.messages[-1]["content"])
    assert "search_first" not in str(chat.reply(asked).content)
