"""Asking over HTTP, over a whole Core, a real server and the hostile provider: stream, cut, resume, stop."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from chatcore.bootstrap import Core
from chatcore.db.tables import UsageMetric
from chatcore.ids import new_id
from tests.api.asking import LONG, QUICK, SLOW, Client, chunks, text_of
from tests.chat import Chat, until
from tests.hostile import HostileProvider


def begun(client: Client, model: str) -> tuple[str, str]:
    """A question whose stream was cut after its first words; the conversation and those words."""
    with client.http.stream("POST", "/api/v1/chat", json={"message": "hello", "model": model}) as answer:
        said = ""
        for line in answer.iter_lines():
            if '"text-delta"' in line:
                said += json.loads(line.removeprefix("data: "))["delta"]
                if len(said) > 20:
                    break
        return answer.headers["x-conversation-id"], said


def test_a_reply_streams_and_is_stored_as_it_was_read(client: Client) -> None:
    answer, found = client.ask(QUICK)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    conversation_id, message_id = answer.headers["x-conversation-id"], answer.headers["x-message-id"]
    question, reply = client.chat.messages(conversation_id)
    assert (question.content, reply.id, reply.content) == ("hello", message_id, text_of(found))
    assert found[0]["messageId"] == message_id
    end = found[-1]["messageMetadata"]
    assert (end["conversationId"], end["promptTokens"], end["completionTokens"]) == (
        conversation_id, reply.prompt_tokens, reply.completion_tokens
    )  # fmt: skip
    assert end["costUsd"] != "0"


def test_it_goes_on_in_its_conversation_with_its_model(client: Client) -> None:
    first, _ = client.ask(QUICK, "one")
    conversation_id = first.headers["x-conversation-id"]
    with client.http.stream(
        "POST", "/api/v1/chat", json={"message": "two", "conversationId": conversation_id}
    ) as again:
        again.read()
    assert again.headers["x-conversation-id"] == conversation_id
    assert [one.content for one in client.chat.messages(conversation_id) if one.role == "user"] == ["one", "two"]
    sent = client.chat.provider.log[-1].messages
    assert [one["content"] for one in sent if one["role"] == "user"] == ["one", "two"]


def test_a_whole_reply_comes_at_once_where_no_stream_is_wanted(client: Client) -> None:
    answer = client.http.post("/api/v1/chat", json={"message": "hello", "model": QUICK, "stream": False})
    assert answer.status_code == 200
    reply = answer.json()["message"]
    assert (reply["role"], reply["status"]) == ("assistant", "complete")
    assert answer.headers["x-token-count"] == str(reply["totalTokens"])
    assert answer.headers["x-model-used"] == f"openai/{QUICK}"
    assert (answer.headers["x-gateway-cache"], answer.headers["x-trace-id"][:6]) == ("MISS", "trace_")


def test_reasoning_and_tools_are_parts_of_their_own(client: Client) -> None:
    _, thought = client.ask("reasoning")
    assert text_of(thought, "reasoning")
    assert text_of(thought)
    _, called = client.ask("tools")
    assert any(one["type"] == "tool-input-available" for one in called)
    assert called[-1]["finishReason"] == "tool-calls"


def test_a_failure_is_a_sentence_in_the_stream(client: Client) -> None:
    _, found = client.ask("500")
    (error,) = [one for one in found if one["type"] == "error"]
    assert error["errorText"].endswith(".")
    assert found[-1]["finishReason"] == "error"


def test_a_cut_connection_leaves_the_turn_alone_and_a_new_one_has_it_from_its_first_word(client: Client) -> None:
    conversation_id, said = begun(client, SLOW)
    with client.http.stream("GET", f"/api/chat/{conversation_id}/stream") as again:
        whole = text_of(chunks(again.read()))
    assert whole.startswith(said)
    assert client.chat.messages(conversation_id)[-1].content == whole
    assert client.http.get(f"/api/chat/{conversation_id}/stream").status_code == 204


def test_two_readers_see_the_same(client: Client, asking_url: str) -> None:
    conversation_id, _ = begun(client, SLOW)

    async def read(http: httpx.AsyncClient) -> str:
        answer = await http.get(f"/api/chat/{conversation_id}/stream")
        return text_of(chunks(answer.content))

    async def both() -> list[str]:
        async with httpx.AsyncClient(base_url=asking_url, headers=client.http.headers, timeout=30) as http:
            return list(await asyncio.gather(*(read(http) for _ in range(5))))

    assert set(asyncio.run(both())) == {client.chat.messages(conversation_id)[-1].content}


def test_stop_keeps_what_was_said_and_is_billed(client: Client) -> None:
    conversation_id, said = begun(client, SLOW)
    assert client.http.post(f"/api/chat/{conversation_id}/stop").json() == {"stopped": 1}
    with client.http.stream("GET", f"/api/chat/{conversation_id}/stream") as rest:
        rest.read()
    reply = client.chat.messages(conversation_id)[-1]
    assert reply.status == "stopped"
    assert reply.content.startswith(said)
    rows = client.core.db.read(
        lambda session: session.execute(
            select(UsageMetric.outcome, UsageMetric.completion_tokens).where(UsageMetric.message_id == reply.id)
        ).all()
    )
    assert [row.outcome for row in rows] == ["stopped"]
    assert rows[0].completion_tokens > 0
    assert client.http.post(f"/api/chat/{conversation_id}/stop").json() == {"stopped": 0}


def test_one_that_is_stopped_is_aborted_for_whoever_reads(client: Client) -> None:
    conversation_id, _ = begun(client, SLOW)
    with client.http.stream("GET", f"/api/chat/{conversation_id}/stream") as reading:
        client.http.post(f"/api/chat/{conversation_id}/stop")
        found = chunks(reading.read())
    assert found[-1] == {"type": "abort", "reason": "stopped"}


def test_while_one_is_written_another_question_is_refused(client: Client) -> None:
    conversation_id, _ = begun(client, SLOW)
    refused = client.refused(message="and?", conversationId=conversation_id)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    client.http.post(f"/api/chat/{conversation_id}/stop")


def test_a_long_reply_comes_whole(client: Client) -> None:
    answer, found = client.ask(LONG)
    whole = text_of(found)
    assert len(whole) > 4_000
    assert whole == client.chat.messages(answer.headers["x-conversation-id"])[-1].content


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"message": ""}, 422, "message"),
        ({"messag": "x"}, 422, "messag"),
        ({"message": "x", "model": "nothing"}, 404, "model_unavailable"),
        ({"message": "x", "agentId": "nobody"}, 404, "not_found"),
        ({"message": "x", "conversationId": "conv_nothing"}, 404, "not_found"),
        ({"message": "x", "temperature": 3}, 422, "temperature"),
        ({"message": "x", "maxTokens": 0}, 422, "maxTokens"),
    ],
)
def test_what_cannot_be_asked_is_a_problem_before_any_stream(
    client: Client, body: dict[str, Any], status: int, word: str
) -> None:
    answer = client.refused(**body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert word in answer.text


def test_another_persons_conversation_is_neither_asked_nor_read_nor_stopped(
    client: Client, asking_core: tuple[Core, HostileProvider]
) -> None:
    conversation_id, _ = begun(client, SLOW)
    other = Chat(*asking_core, new_id("p"))
    _, key = asking_core[0].accounts.create_key(other.who, "program")
    theirs = {"Authorization": f"Bearer {key}"}
    answers = [
        client.http.post("/api/v1/chat", json={"message": "x", "conversationId": conversation_id}, headers=theirs),
        client.http.get(f"/api/chat/{conversation_id}/stream", headers=theirs),
        client.http.post(f"/api/chat/{conversation_id}/stop", headers=theirs),
    ]
    assert [one.status_code for one in answers] == [404] * 3
    client.http.post(f"/api/chat/{conversation_id}/stop")
    assert len(client.chat.messages(conversation_id)) == 2


def test_a_revoked_key_ends_the_stream_and_leaves_the_turn_alone(client: Client) -> None:
    key = client.core.accounts.keys(client.chat.who)[0]
    with client.http.stream("POST", "/api/v1/chat", json={"message": "hello", "model": SLOW}) as answer:
        client.core.accounts.revoke_key(client.chat.who, key.id)
        found = chunks(answer.read())
    assert found[-2] == {"type": "error", "errorText": "This API key is expired or revoked."}
    assert client.http.get("/api/v1/me").status_code == 401
    until(lambda: client.chat.messages(answer.headers["x-conversation-id"])[-1].status == "complete")
