"""Tools over HTTP: the AI SDK's own client reads the stream, a yes comes by a request, v2 names tools."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from chatcore.ids import new_id
from chatcore.tools import Toolbox
from tests.api.asking import Place, api_place
from tests.chat import Chat, until
from tests.turns.tools import Source, agent_with, script


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with api_place(tmp_path_factory.mktemp("core"), ["script"]) as found:
        yield found


@pytest.fixture
def source(place: Place) -> Iterator[Source]:
    toolbox: Toolbox = place[0].toolbox
    before, source = toolbox._sources, Source()
    toolbox.add(source)
    yield source
    toolbox._sources = before


@pytest.fixture
def http(place: Place) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=place[2], timeout=30) as http:
        yield http


def person(place: Place, http: httpx.Client) -> Chat:
    chat = Chat(place[0], place[1], new_id("p"))
    http.headers["Authorization"] = f"Bearer {place[0].accounts.create_key(chat.who, 'k')[1]}"
    return chat


def chunks(answer: httpx.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def test_v2_offers_the_tools_that_it_names(place: Place, http: httpx.Client, source: Source) -> None:
    person(place, http)
    body = {
        "messages": [{"role": "user", "content": script([["double", {"n": 4}]])}],
        "config": {"model": "script", "tools": ["double"]},
    }
    said = chunks(http.post("/api/chat/v2", json=body))
    assert [one["output"] for one in said if one["type"] == "tool-output-available"] == ["8"]
    assert said[-1]["type"] == "finish"
    assert [n for n, _ in source.made["double"].calls] == [4]


def test_a_yes_comes_by_a_request(place: Place, http: httpx.Client, source: Source) -> None:
    chat = person(place, http)
    agent_id = agent_with(chat, {"name": "double", "asks_first": True})
    body = {"message": script([["double", {"n": 5}]]), "model": "script", "agentId": agent_id}
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(http.post("/api/v1/chat", json=body)))
    asking.start()
    turns = place[0].turns.engine
    until(lambda: any(
        '"asking"' in live.text("tool_result") and live.conversation_id for live in list(turns._live.values())
        if not live.finished
    ))  # fmt: skip
    conversation_id = next(live.conversation_id for live in turns._live.values() if not live.finished)
    said = http.post(f"/api/chat/{conversation_id}/tools/call_0_0", json={"approved": True})
    assert said.json() == {"approved": True}
    asking.join(20)
    seen = [one["type"] for one in chunks(answers[0]) if one["type"].startswith("tool")]
    assert seen == [
        "tool-input-start", "tool-input-available", "tool-approval-request", "tool-approval-response",
        "tool-output-available",
    ]  # fmt: skip
    assert http.post(f"/api/chat/{conversation_id}/tools/call_0_0", json={"approved": True}).status_code == 404
    read = http.get(f"/api/chat/{conversation_id}").json()["messages"][1]["parts"][0]
    assert (read["state"], read["output"]) == ("output-available", "10")


def test_an_agent_brings_its_model_along(place: Place, http: httpx.Client, source: Source) -> None:
    chat = person(place, http)
    agent_id = agent_with(chat, "double", model="script")
    answer = http.post("/api/v1/chat", json={"message": script([["double", {"n": 7}]]), "agentId": agent_id})
    assert [one["output"] for one in chunks(answer) if one["type"] == "tool-output-available"] == ["14"]
