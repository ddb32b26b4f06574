"""`POST /api/chat/v2`: settings and context in one body, and headers that say who answered."""

from typing import Any

import httpx
import pytest

from chatcore.api.headers import header
from tests.api.asking import QUICK, SLOW, Client, chunks, text_of


def ask(client: Client, *messages: Any, model: str = QUICK, **more: Any) -> httpx.Response:
    config = {"model": model} | more.pop("config", {})
    said = [one if isinstance(one, dict) else {"role": "user", "content": one} for one in messages]
    return client.http.post("/api/chat/v2", json={"messages": said, "config": config, **more})


def sent(client: Client, marker: str) -> list[dict[str, Any]]:
    """The messages that the provider got with this marker, of the last such call."""
    calls = [call for call in client.chat.provider.log if marker in str(call.messages)]
    return calls[-1].messages


def test_the_headers_say_who_answered_and_the_finish_what_it_took(client: Client) -> None:
    answer = ask(client, "hello", config={"temperature": 0.5, "maxTokens": 50})
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert answer.headers["x-model-used"] == f"openai/{QUICK}"
    assert answer.headers["x-gateway-cache"] == "MISS"
    found = chunks(answer.content)
    assert "[11]" in text_of(found)
    metadata = found[-1]["messageMetadata"]
    assert metadata["totalTokens"] > 12
    assert metadata["traceId"] == answer.headers["x-trace-id"]
    assert metadata["conversationId"] == answer.headers["x-conversation-id"]
    row = client.chat.ledger(metadata["turnId"])
    assert row.trace_id == metadata["traceId"]


def test_the_defaults_are_those_of_the_contract(client: Client) -> None:
    marker = client.chat.who.user_id[-8:]
    ask(client, f"defaults {marker}")
    params = client.chat.call(marker).params
    assert (params["temperature"], params["max_tokens"]) == (0.7, 1000)
    answer = client.http.post("/api/chat/v2", json={"messages": [{"role": "user", "content": "hello"}]})
    assert answer.status_code == 404, "no alias `balanced` here"


@pytest.mark.parametrize("config", [{"temperature": 2.1}, {"maxTokens": 4001}, {"maxTokens": 0}, {"model": ""}])
def test_what_is_out_of_range_is_named(client: Client, config: dict[str, Any]) -> None:
    answer = ask(client, "hello", config=config)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == f"config.{next(iter(config))}"


def test_a_tool_that_is_not_here_is_refused_by_name(client: Client) -> None:
    answer = ask(client, "hello", config={"tools": ["no_such_tool"]})
    assert answer.status_code == 422
    assert "there is no tool no_such_tool" in answer.json()["detail"]


def test_a_new_conversation_begins_with_what_was_said_elsewhere(client: Client) -> None:
    marker = client.chat.who.user_id[-8:]
    said = [
        {"role": "system", "content": "Answer in French."}, {"role": "user", "content": f"first {marker}"},
        {"role": "assistant", "content": "oui"}, {"role": "tool", "content": "42"}, "and now?",
    ]  # fmt: skip
    answer = ask(client, *said, conversationId="6f1c1f0e-9e59-4a4e-8f0f-0d7d3c9d7c11")
    conversation_id = answer.headers["x-conversation-id"]
    kept = [(one.role, one.content) for one in client.chat.messages(conversation_id)][:-1]
    assert kept == [("user", f"first {marker}"), ("assistant", "oui"), ("user", "and now?")]
    got = sent(client, marker)
    assert [one["role"] for one in got] == ["system", "user", "assistant", "user"]
    assert "Answer in French." in got[0]["content"]
    again = ask(client, *said, "and then?", conversationId="6f1c1f0e-9e59-4a4e-8f0f-0d7d3c9d7c11")
    assert again.headers["x-conversation-id"] == conversation_id
    assert len(client.chat.messages(conversation_id)) == 6, "nothing is stored twice"


def test_without_history_the_model_gets_what_is_sent_and_no_more(client: Client) -> None:
    marker = client.chat.who.user_id[-8:]
    ask(client, "the secret word is swordfish", conversationId="c")
    answer = ask(client, f"what is it {marker}", conversationId="c", context={"includeHistory": False})
    assert [one["content"] for one in sent(client, marker)] == [f"what is it {marker}"]
    assert len(client.chat.messages(answer.headers["x-conversation-id"])) == 4
    ask(client, f"and with history {marker}", conversationId="c")
    assert "swordfish" in str(sent(client, f"and with history {marker}"))


def test_data_is_kept_and_told_to_the_model(client: Client) -> None:
    marker = client.chat.who.user_id[-8:]
    question = {"role": "user", "content": f"look {marker}", "dataParts": [{"type": "table", "data": {"price": 17}}]}
    answer = ask(client, question, conversationId="c", context={"sessionData": {"locale": "de-CH"}})
    got = sent(client, marker)
    assert "de-CH" in got[0]["content"]
    assert got[0]["role"] == "system"
    assert '"price": 17' in str(got[1]["content"])
    kept = client.chat.messages(answer.headers["x-conversation-id"])[0]
    assert kept.content == f"look {marker}"
    assert kept.meta["session_data"] == {"locale": "de-CH"}
    assert kept.meta["data_parts"] == [{"type": "table", "data": {"price": 17}}]
    ask(client, f"later {marker}", conversationId="c")
    assert '"price": 17' in str(sent(client, f"later {marker}")), "it stays a part of its message"
    big = ask(client, "x", context={"sessionData": {"x": "y" * 70_000}})
    assert big.status_code == 422


def test_a_message_id_seen_before_is_stored_once(client: Client) -> None:
    question = {"id": "m1", "role": "user", "content": "hello"}
    first = ask(client, question, conversationId="c")
    again = ask(client, question, conversationId="c")
    assert again.headers["x-turn-id"] == first.headers["x-turn-id"]
    assert again.headers["x-model-used"] == f"openai/{QUICK}"
    assert int(again.headers["x-token-count"]) > 12
    assert text_of(chunks(again.content)) == text_of(chunks(first.content))


def test_an_earlier_reply_says_so(client: Client) -> None:
    marker = client.chat.who.user_id[-8:]
    hits = [ask(client, f"same {marker}", config={"temperature": 0}).headers["x-gateway-cache"] for _ in range(2)]
    assert hits == ["MISS", "HIT"]


def test_a_stream_that_is_resumed_has_its_trace(client: Client) -> None:
    said = [{"role": "user", "content": "slow"}]
    with (
        client.http.stream("POST", "/api/chat/v2", json={"messages": said, "config": {"model": SLOW}}) as answer,
        client.http.stream("GET", f"/api/chat/{answer.headers['x-conversation-id']}/stream") as resumed,
    ):
        assert resumed.headers["x-trace-id"] == answer.headers["x-trace-id"]
        assert "[59]" in text_of(chunks(resumed.read()))


def test_what_comes_along_is_cleaned_and_bounded(client: Client) -> None:
    said = [{"role": "assistant", "content": "a\u0000b"}, "and now?"]
    answer = ask(client, *said, conversationId="c")
    assert client.chat.messages(answer.headers["x-conversation-id"])[0].content == "ab"
    big = [{"role": "assistant", "content": "x" * 150_000}, {"role": "system", "content": "y" * 60_000}, "hello"]
    refused = ask(client, *big, conversationId="d")
    assert refused.status_code == 422
    assert "210,000 characters" in refused.json()["detail"]


def test_a_model_of_any_name_can_stand_in_a_header() -> None:
    assert header("openai/gpt-5") == "openai/gpt-5"
    assert header("openai/günstig – 模型\n") == "openai/g%C3%BCnstig %E2%80%93 %E6%A8%A1%E5%9E%8B%0A"
