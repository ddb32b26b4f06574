"""Servers of the Model Context Protocol: official ones that work, and ours that do not."""

import asyncio
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from chatcore.accounts import Principal
from chatcore.config import PROJECT_ROOT, Settings, load_settings
from chatcore.conversations.attachments import Attachments
from chatcore.db import Database
from chatcore.errors import ConfigError, Forbidden
from chatcore.tools import MAX_RESULT, ToolCall, ToolFailed
from chatcore.tools.mcp import McpServers
from chatcore.tools.mcp import server as lives
from tests.conftest import add_person, skip_or_fail

T = TypeVar("T")
HOSTILE = str(Path(__file__).with_name("hostile_server.py"))
OFFICIAL = PROJECT_ROOT / "tests" / "node" / "node_modules" / ".bin"
SECRET = "planted-mcp-secret-0815"


def hostile(behaviour: str, **more: Any) -> dict[str, Any]:
    """The settings of a misbehaving program."""
    return {"command": sys.executable, "args": [HOSTILE, behaviour], **more}


@contextmanager
def hostile_http(behaviour: str) -> Iterator[str]:
    """The address of a misbehaving server."""
    process = subprocess.Popen([sys.executable, HOSTILE, behaviour, "http"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield f"http://127.0.0.1:{process.stdout.readline().strip()}/mcp"
    process.kill()
    process.wait()
    process.stdout.close()


class House:
    """`ann` and the servers of an instance."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.ann = add_person(database, "ann")
        self.root = add_person(database, "root", role="operator")

    def settings(self, servers: dict[str, Any]) -> Settings:
        (self.folder / "config.yaml").write_text(yaml.safe_dump({"mcp_servers": servers}))
        variables = {
            "CHATCORE_DATA_DIR": str(self.folder / "data"), "PATH": os.environ["PATH"], "HOME": str(self.folder),
            "CHATCORE_SECRET_KEY": SECRET, "OPENAI_API_KEY": SECRET, "MCP_KEY": "opensesame",
        }  # fmt: skip
        return load_settings(variables, root=self.folder)

    @asynccontextmanager
    async def running(self, **servers: Any) -> AsyncIterator[McpServers]:
        """Started, each of them ready or away."""
        settings = self.settings(servers)
        made = McpServers(self.database, settings, Attachments(self.database, settings))
        await made.start()
        try:
            await until(lambda: all(one.state != "starting" for one in made.health(self.root)))
            yield made
        finally:
            await made.close()

    def call(self) -> ToolCall:
        none: Any = None
        return ToolCall("call_1", self.ann, None, "conv_1", "msg_1", "turn_1", "trace_1", none)

    async def say(self, made: McpServers, text: str, server: str = "it", tool: str = "echo") -> Any:
        """Call the tool as a turn does."""
        (found,) = [one for one in made.tools(self.ann, None, [f"mcp/{server}"]) if one.spec.name.endswith(tool)]
        return await found.run({"text": text}, self.call())


@pytest.fixture
def house(database: Database, tmp_path: Path) -> House:
    return House(database, tmp_path)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for what never comes."""
    monkeypatch.setattr(lives, "_CONNECTS_WITHIN", 4.0)
    monkeypatch.setattr(lives, "_FIRST_PAUSE", 0.2)


async def until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def run(work: Callable[[], Awaitable[T]]) -> T:
    async def inner() -> T:
        return await work()

    return asyncio.run(inner())


# ---- official servers, unmodified


def official(name: str) -> str:
    path = OFFICIAL / name
    if not path.exists() or shutil.which("node") is None:
        skip_or_fail(f"{name} is not installed: run npm ci in tests/node")
    return str(path)


def test_the_official_filesystem_server_is_used(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "note.txt").write_text("the meeting is on Friday")

    async def work() -> None:
        files = {"command": official("mcp-server-filesystem"), "args": [str(folder)]}
        async with house.running(files=files) as made:
            choices = {one.name: one for one in made.choices(house.ann)}
            assert not choices["mcp/files"].why_not
            assert not choices["mcp/files/read_text_file"].asks_first, "it says that it only reads"
            assert choices["mcp/files/write_file"].asks_first
            (tool,) = made.tools(house.ann, None, ["mcp/files/read_text_file"])
            assert tool.spec.name == "files__read_text_file"
            found = await tool.run({"path": str(folder / "note.txt")}, house.call())
            assert "the meeting is on Friday" in found.text
            outside = await tool.run({"path": "/etc/passwd"}, house.call())
            assert outside.failed
            assert "root:" not in outside.text

    run(work)


def test_the_official_everything_server_gives_text_and_structure(house: House) -> None:
    async def work() -> None:
        every = {"command": official("mcp-server-everything"), "args": ["stdio"]}
        async with house.running(every=every) as made:
            tools = {one.spec.name: one for one in made.tools(house.ann, None, ["mcp/every"])}
            assert "Echo: hi" in (await tools["every__echo"].run({"message": "hi"}, house.call())).text
            total = await tools["every__get-sum"].run({"a": 2, "b": 40}, house.call())
            assert "42" in total.text
            environment = await tools["every__get-env"].run({}, house.call())
            assert SECRET not in environment.text

    run(work)


# ---- who may use what


def test_access_allowed_tools_and_what_asks_first(house: House) -> None:
    async def work() -> None:
        servers = {
            "it": hostile("ok"), "admins": hostile("ok", access={"roles": ["admin"]}),
            "none": hostile("ok", allowed_tools=["other"]), "free": hostile("ok", asks_first=[]),
        }  # fmt: skip
        async with house.running(**servers) as made:
            names = [one.name for one in made.choices(house.ann)]
            assert "mcp/it/echo" in names
            assert not [name for name in names if "admins" in name]
            assert "mcp/none/echo" not in names
            assert made.tools(house.ann, None, ["mcp/admins"]) == []
            asks = {one.name: one.asks_first for one in made.choices(house.ann)}
            assert asks["mcp/it/echo"], "nobody says that it only reads"
            assert not asks["mcp/free/echo"]
            with pytest.raises(Forbidden):
                made.health(house.ann)
            with pytest.raises(Forbidden):
                made.reconnect(add_person(house.database, "adam", role="admin"), "it")

    run(work)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [({"x": {}}, "command or a url"), ({"x": {"command": "a", "url": "http://b"}}, "not both"),
     ({"a b": {"command": "a"}}, "other signs")],
)  # fmt: skip
def test_a_server_that_can_be_none_is_named_at_the_start(house: House, wrong: dict[str, Any], why: str) -> None:
    settings = house.settings(wrong)
    with pytest.raises(ConfigError, match=why):
        McpServers(house.database, settings, Attachments(house.database, settings))


def test_it_gets_no_secret_of_ours_and_its_own_by_reference(house: House) -> None:
    async def work() -> str:
        async with house.running(it=hostile("environment", env={"GIVEN": "os.environ/MCP_KEY"})) as made:
            return str((await house.say(made, "x")).text)

    said = run(work)
    assert SECRET not in said
    assert '"GIVEN": "opensesame"' in said


# ---- hostile ones

AWAY = {
    "hang-initialize": "did not answer in time",
    "hang-list": "did not answer in time",
    "list-garbage": "does not speak the protocol",
    "wrong-schema": "does not speak the protocol",
    "version": "does not speak the protocol",
    "flood": "",
}


@pytest.mark.parametrize("behaviour", AWAY)
def test_one_that_does_not_come_up_is_away_and_says_why(house: House, behaviour: str) -> None:
    async def work() -> None:
        async with house.running(it=hostile(behaviour), good=hostile("ok")) as made:
            health = {one.server: one for one in made.health(house.root)}
            assert health["it"].state == "away"
            assert AWAY[behaviour] in health["it"].said
            assert health["good"].state == "ready", "the others are as they were"
            assert made.tools(house.ann, None, ["mcp/it"]) == []
            assert next(one for one in made.choices(house.ann) if one.name == "mcp/it").why_not

    run(work)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [({"command": "/nowhere/server"}, "program is not there"),
     ({"command": "/etc/passwd"}, "may not be started"),
     ({"command": "true"}, "cannot be reached"),
     ({"command": "x", "env": {"A": "os.environ/NOT_SET"}}, "NOT_SET, which is not set")],
)  # fmt: skip
def test_a_program_that_cannot_be_is_a_sentence(house: House, wrong: dict[str, Any], why: str) -> None:
    async def work() -> str:
        async with house.running(it=wrong) as made:
            return made.health(house.root)[0].said

    assert why in run(work)


CALLS = {
    "huge": "it is not known whether it was done",
    "die-in-call": "it is not known whether it was done",
    "wrong-shape": "makes no sense",
    "wrong-id": "within 1 seconds",
    "garbage-call": "within 1 seconds",
    "hang-call": "within 1 seconds",
}


@pytest.mark.parametrize("behaviour", CALLS)
def test_a_call_that_goes_wrong_is_a_sentence_and_the_next_one_works(house: House, behaviour: str) -> None:
    async def work() -> None:
        async with house.running(it=hostile(behaviour, timeout=1)) as made:
            with pytest.raises(ToolFailed, match=CALLS[behaviour]):
                await asyncio.wait_for(house.say(made, "die"), 20)
            if behaviour in ("huge", "die-in-call"):
                await until(lambda: made.health(house.root)[0].state == "away")
                await until(lambda: made.health(house.root)[0].state == "ready")
            if behaviour in ("garbage-call", "die-in-call"):
                assert "you said: quick" in (await house.say(made, "quick")).text

    run(work)


def test_a_long_answer_within_the_limit_is_cut(house: House) -> None:
    async def work() -> int:
        async with house.running(it=hostile("long")) as made:
            return len((await house.say(made, "x")).text)

    assert run(work) < MAX_RESULT + 200


def test_one_hanging_call_holds_up_nobody_else(house: House) -> None:
    async def work() -> float:
        async with house.running(it=hostile("hang-call", timeout=5), good=hostile("ok")) as made:
            hanging = asyncio.ensure_future(house.say(made, "x"))
            await asyncio.sleep(0.1)
            began = time.monotonic()
            assert "you said: y" in (await house.say(made, "y", "good")).text
            took = time.monotonic() - began
            hanging.cancel()
            await asyncio.gather(hanging, return_exceptions=True)
            return took

    assert run(work) < 3


def test_noise_around_the_messages_is_left_out(house: House, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> str:
        async with house.running(it=hostile("noise")) as made:
            return str((await house.say(made, "x")).text)

    with caplog.at_level(logging.INFO):
        assert "you said: x" in run(work)
    assert len(caplog.records) < 100


def test_odd_tools_are_kept_out_and_counted(house: House) -> None:
    async def work() -> None:
        async with house.running(it=hostile("odd-tools")) as made:
            tools = {one.spec.name: one.spec for one in made.tools(house.ann, None, ["mcp/it"])}
            assert set(tools) == {"it__echo", "it__long"}
            assert all(len(name) <= 64 and name.replace("-", "").replace("_", "").isalnum() for name in tools)
            assert len(tools["it__long"].description) < 2_100
            assert made.health(house.root)[0].kept_out == 7

    run(work)


@pytest.mark.parametrize("behaviour", ["many-tools", "endless-pages"])
def test_too_many_tools_are_not_taken(house: House, behaviour: str) -> None:
    async def work() -> int:
        async with house.running(it=hostile(behaviour)) as made:
            return made.health(house.root)[0].tools

    assert run(work) == 500


def test_tools_that_change_while_it_runs_are_listed_again(house: House) -> None:
    async def work() -> None:
        async with house.running(it=hostile("changing")) as made:
            await house.say(made, "x")
            await until(lambda: [one.name for one in made.choices(house.ann)] == ["mcp/it", "mcp/it/renamed"])

    run(work)


def test_errors_pictures_and_structure(house: House) -> None:
    async def work() -> None:
        servers = {name: hostile(name) for name in ("error", "picture", "structured")}
        async with house.running(**servers) as made:
            failed = await house.say(made, "x", "error")
            assert failed.failed
            assert "no such thing" in failed.text
            picture = await house.say(made, "x", "picture")
            assert len(picture.parts) == 1
            assert "cannot be shown" in picture.text
            assert json.dumps({"answer": 42}) in (await house.say(made, "x", "structured")).text

    run(work)


def test_names_of_two_servers_do_not_clash(house: House) -> None:
    async def work() -> list[str]:
        async with house.running(**{"a-b": hostile("ok"), "a_b": hostile("ok")}) as made:
            return [one.spec.name for one in made.tools(house.ann, None, ["mcp/a-b", "mcp/a_b"])]

    names = run(work)
    assert len(set(names)) == 2


def test_nothing_is_left_running(house: House) -> None:
    async def work() -> None:
        async with house.running(it=hostile("hang-call"), other=hostile("ok")) as made:
            hanging = asyncio.ensure_future(house.say(made, "x"))
            await asyncio.sleep(0.1)
            hanging.cancel()
            await asyncio.gather(hanging, return_exceptions=True)

    run(work)
    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in shown.splitlines() if HOSTILE in line and "hang-call" in line]


# ---- at an address


def test_one_at_an_address_is_used_with_its_key(house: House) -> None:
    async def work(url: str) -> None:
        allowed = {"url": url, "allow_private": True}
        with_key = {**allowed, "headers": {"x-key": "os.environ/MCP_KEY"}}
        async with house.running(it=with_key, without=allowed) as made:
            assert "you said: hello" in (await house.say(made, "hello")).text
            health = {one.server: one for one in made.health(house.root)}
            assert health["without"].state == "away"
            assert "refuses our credentials" in health["without"].said
            assert "opensesame" not in str(health)
            assert "opensesame" in made.secrets()

    with hostile_http("key") as url:
        run(lambda: work(url))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_private_address_is_not_gone_to(house: House, host: str) -> None:
    async def work(url: str) -> str:
        async with house.running(it={"url": url.replace("127.0.0.1", host)}) as made:
            return made.health(house.root)[0].said

    with hostile_http("ok") as url:
        assert "inside our network" in run(lambda: work(url))


@pytest.mark.parametrize("behaviour", ["redirect", "401", "list-garbage"])
def test_one_at_an_address_that_misbehaves_is_away(house: House, behaviour: str) -> None:
    async def work(url: str) -> str:
        async with house.running(it={"url": url, "allow_private": True}) as made:
            health = made.health(house.root)[0]
            assert health.state == "away"
            return health.said

    with hostile_http(behaviour) as url:
        assert "127.0.0.1" not in run(lambda: work(url))


def test_a_hundred_megabytes_from_an_address_are_refused_while_they_come(house: House) -> None:
    async def work(url: str) -> None:
        async with house.running(it={"url": url, "allow_private": True, "timeout": 20}) as made:
            with pytest.raises(ToolFailed):
                await house.say(made, "x")

    with hostile_http("huge") as url:
        run(lambda: work(url))


@pytest.mark.parametrize("url", ["ftp://example.com", "http://user:pw@example.com/", "file:///etc/passwd", "nonsense"])
def test_an_address_that_is_none_is_a_sentence(house: House, url: str) -> None:
    async def work() -> str:
        async with house.running(it={"url": url}) as made:
            return made.health(house.root)[0].said

    assert "cannot be reached" in run(work)
    assert isinstance(house.ann, Principal)
