"""A hundred programs whose connections are cut at random moments and resumed: no word is lost, none is paid twice."""

import asyncio
import json
import random
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import func, select

from chatcore.db.tables import Conversation, Message, UsageMetric
from chatcore.ids import new_id
from tests.api.asking import Place, api_place
from tests.chat import COMPLETION_PRICE, PROMPT_PRICE, Chat, until

MODEL, WORDS, CLIENTS = "ok;n=40;rate=10", 40, 100


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with api_place(tmp_path_factory.mktemp("core"), [MODEL]) as found:
        yield found


async def read(answer: httpx.Response, cut_after: float | None) -> tuple[str, bool]:
    """The text that came, and whether it came to its end; the connection is cut after some seconds."""
    text, done = "", False
    try:
        async with asyncio.timeout(cut_after):
            async for line in answer.aiter_lines():
                if line == "data: [DONE]":
                    done = True
                elif line.startswith("data: "):
                    chunk = json.loads(line[6:])
                    text += chunk["delta"] if chunk["type"] == "text-delta" else ""
    except TimeoutError:
        pass  # the cut
    return text, done


async def one(http: httpx.AsyncClient, number: int, moment: random.Random) -> tuple[str, str]:
    """Ask, be cut, resume, be cut again, resume; returns the conversation and the text as the last reader had it."""
    body = {"id": f"chat-{number}", "model": MODEL, "messages": [
        {"id": f"m-{number}", "role": "user", "parts": [{"type": "text", "text": f"question {number}"}]}
    ]}  # fmt: skip
    async with http.stream("POST", "/api/chat", json=body) as answer:
        conversation_id = answer.headers["x-conversation-id"]
        text, done = await read(answer, moment.uniform(0.0, 2.5))
    for _ in range(3):
        if done:
            return conversation_id, text
        # A program that does not know whether its question arrived sends it again, or asks for what is being written.
        if moment.random() < 0.5:
            again = http.stream("POST", "/api/chat", json=body)
        else:
            again = http.stream("GET", f"/api/chat/chat-{number}/stream")
        async with again as answer:
            if answer.status_code == 204:
                break
            before = text
            text, done = await read(answer, moment.uniform(0.2, 2.0) if moment.random() < 0.5 else None)
            assert text.startswith(before) or before.startswith(text), "from its first word, each time"
    async with http.stream("POST", "/api/chat", json=body) as answer:
        text, done = await read(answer, None)
    assert done
    return conversation_id, text


def test_a_hundred_clients_cut_and_resumed(place: Place) -> None:
    core, provider, url = place
    chat = Chat(core, provider, new_id("p"))
    _, key = core.accounts.create_key(chat.who, "program")
    moments = random.Random(2026)

    async def all_of_them() -> list[tuple[str, str]]:
        limits = httpx.Limits(max_connections=None)
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60, limits=limits) as http:
            jobs = [one(http, number, random.Random(moments.random())) for number in range(CLIENTS)]
            return await asyncio.gather(*jobs)

    found = asyncio.run(all_of_them())
    until(lambda: core.turns.running == 0, 30)
    assert len({conversation_id for conversation_id, _ in found}) == CLIENTS
    assert {text.count("[") for _, text in found} == {WORDS}

    def counts(session: object) -> tuple[int, int, int, int]:
        mine = (Conversation.user_id == chat.who.user_id, UsageMetric.user_id == chat.who.user_id)
        here = select(Conversation.id).where(mine[0])
        ask = (
            select(func.count()).select_from(Conversation).where(mine[0]),
            select(func.count()).select_from(Message).where(Message.conversation_id.in_(here)),
            select(func.count()).select_from(UsageMetric).where(mine[1], UsageMetric.outcome == "ok"),
            select(func.count()).select_from(UsageMetric).where(mine[1], UsageMetric.outcome != "ok"),
        )
        return tuple(int(session.scalar(one) or 0) for one in ask)  # type: ignore[attr-defined,return-value]

    assert core.db.read(counts) == (CLIENTS, 2 * CLIENTS, CLIENTS, 0)
    for conversation_id, text in found:
        reply = chat.messages(conversation_id)[-1]
        assert reply.content == text
        row = chat.ledger(reply.turn_id)
        cost = round((row.prompt_tokens * PROMPT_PRICE + WORDS * COMPLETION_PRICE) * 1e9)
        assert (row.completion_tokens, row.cost_nano_usd) == (WORDS, cost)
    assert len([call for call in provider.log if "question" in str(call.messages)]) == CLIENTS
