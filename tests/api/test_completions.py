"""`/v1/chat/completions`: PyPI's own `openai` as the client, unmodified."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from sqlalchemy import select

from chatcore.db.tables import Conversation, UsageMetric
from chatcore.errors import DatabaseError
from chatcore.ids import new_id
from tests.api.asking import QUICK, SLOW, Place, api_place
from tests.chat import COMPLETION_PRICE, PROMPT_PRICE, Chat, until

CUT = "cut;n=40;at=12"
MODELS = [
    QUICK, SLOW, "reasoning", "tools", "hang", "500", "401", "429;after=7", "length", "cached", "empty", "refused",
    "overflow", "stall;n=20;at=10", CUT, "cut;n=30;at=6", "embed", "embed;n=1",
]  # fmt: skip
ROUTER = {"num_retries": 0, "fallbacks": [{CUT: [QUICK]}]}
HELLO: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with api_place(tmp_path_factory.mktemp("core"), MODELS, router=ROUTER) as found:
        yield found


class Program(Chat):
    """A person's program, by OpenAI's own library."""

    def __init__(self, place: Place) -> None:
        core, provider, url = place
        super().__init__(core, provider, new_id("p"))
        _, self.key = core.accounts.create_key(self.who, "program")
        self.url = f"{url}/v1"
        self.client = openai.OpenAI(base_url=self.url, api_key=self.key, max_retries=0, timeout=30)

    def complete(self, model: str = QUICK, messages: list[Any] | None = None, **more: Any) -> Any:
        return self.client.chat.completions.create(model=model, messages=messages or HELLO, **more)

    def rows(self) -> list[UsageMetric]:
        mine = select(UsageMetric).where(UsageMetric.user_id == self.who.user_id).order_by(UsageMetric.id)
        return self.core.db.read(lambda session: list(session.scalars(mine)))

    def post(self, body: Any, **headers: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer {self.key}", **headers}
        return httpx.post(f"{self.url}/chat/completions", json=body, headers=sent, timeout=30)


@pytest.fixture
def program(place: Place) -> Program:
    return Program(place)


def text_of(chunks: list[Any]) -> str:
    return "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)


def numbers(text: str) -> list[int]:
    return [int(word.strip("[]")) for word in text.split() if word.startswith("[")]


# ---- what is said


def test_a_whole_completion(program: Program) -> None:
    said = program.complete()
    assert numbers(said.choices[0].message.content) == list(range(12))
    assert (said.object, said.model, said.choices[0].finish_reason) == ("chat.completion", QUICK, "stop")
    (row,) = program.rows()
    assert (row.outcome, row.purpose, row.conversation_id) == ("ok", "api", None)
    assert (said.usage.prompt_tokens, said.usage.completion_tokens) == (row.prompt_tokens, row.completion_tokens)
    assert row.cost_nano_usd == round((row.prompt_tokens * PROMPT_PRICE + 12 * COMPLETION_PRICE) * 1e9)


def test_a_stream_is_settled_before_its_end(program: Program) -> None:
    chunks = []
    for chunk in program.complete(stream=True, stream_options={"include_usage": True}):
        chunks.append(chunk)
        if not chunk.choices:
            assert [row.outcome for row in program.rows()] == ["ok"]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert numbers(text_of(chunks)) == list(range(12))
    assert [one.choices[0].finish_reason for one in chunks if one.choices][-1] == "stop"
    assert chunks[-1].usage.completion_tokens == 12
    assert len({one.id for one in chunks}) == 1


def test_without_the_option_no_chunk_says_the_usage(program: Program) -> None:
    assert all(one.choices for one in program.complete(stream=True))


def test_nothing_of_it_is_stored(program: Program) -> None:
    program.complete()
    mine = select(Conversation).where(Conversation.user_id == program.who.user_id)
    assert program.core.db.read(lambda session: session.scalars(mine).all()) == []


def test_what_a_model_thinks_comes_beside_its_words(program: Program) -> None:
    said = program.complete("reasoning")
    assert said.choices[0].message.reasoning_content
    assert said.usage.completion_tokens_details.reasoning_tokens > 0
    thought = [one.choices[0].delta for one in program.complete("reasoning", stream=True) if one.choices]
    assert any(getattr(delta, "reasoning_content", None) for delta in thought)


def test_cached_tokens_are_told(program: Program) -> None:
    assert program.complete("cached").usage.prompt_tokens_details.cached_tokens > 0


def test_every_parameter_reaches_the_model_as_it_is(program: Program) -> None:
    more = {
        "temperature": 0.5, "top_p": 0.9, "seed": 7, "stop": ["END"], "presence_penalty": 0.1,
        "frequency_penalty": 0.2, "max_completion_tokens": 50, "response_format": {"type": "json_object"},
        "logit_bias": {"50256": -100},
    }  # fmt: skip
    program.complete(messages=[{"role": "user", "content": f"all of them {program.key[-6:]}"}], **more)
    sent = program.call(program.key[-6:]).params
    assert sent["max_tokens"] == 50
    del more["max_completion_tokens"]
    assert {name: sent.get(name) for name in more} == more


def test_log_probabilities_stand_with_their_words(program: Program) -> None:
    said = program.complete(logprobs=True, stream=True)
    told = [one.choices[0] for one in said if one.choices and one.choices[0].logprobs]
    assert told
    assert "".join(entry.token for choice in told for entry in choice.logprobs.content) == "".join(
        choice.delta.content for choice in told
    )


# ---- tools


def test_a_call_of_a_tool_and_its_result(program: Program) -> None:
    asked = [{"role": "user", "content": f"the weather, please {program.key[-6:]}"}]
    said = program.complete("tools", asked, tools=[WEATHER], tool_choice="auto")
    assert said.choices[0].finish_reason == "tool_calls"
    (call,) = said.choices[0].message.tool_calls[:1]
    assert call.function.name == "weather"
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    again = program.complete(QUICK, [*asked, said.choices[0].message, result], tools=[WEATHER])
    assert again.choices[0].message.content
    sent = [one for one in program.provider.log if program.key[-6:] in str(one.messages)][-1]
    assert [one["role"] for one in sent.messages] == ["user", "assistant", "tool"]
    assert sent.messages[1]["tool_calls"][0]["id"] == sent.messages[2]["tool_call_id"] == call.id


def test_a_streamed_call_of_a_tool_is_put_together_by_the_client(program: Program) -> None:
    with program.client.chat.completions.stream(model="tools", messages=HELLO, tools=[WEATHER]) as stream:
        said = stream.get_final_completion()
    call = said.choices[0].message.tool_calls[0]
    assert call.function.name == "weather"
    assert said.choices[0].finish_reason == "tool_calls"


# ---- what goes wrong


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("500", 502, "provider_down"), ("401", 502, "bad_key"), ("429;after=7", 429, "rate_limited"),
        ("overflow", 400, "context_too_long"), ("refused", 400, "refused_content"), ("empty", 502, "provider_down"),
        ("hang", 504, "timeout"), ("nobody", 404, "model_unavailable"),
    ],
)  # fmt: skip
def test_a_failure_before_the_first_word_has_its_status(
    program: Program, model: str, status: int, code: str, stream: bool
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        for _ in program.complete(model, stream=stream):
            pass
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert caught.value.body["message"].endswith(".")  # type: ignore[index]
    assert caught.value.response.headers.get("retry-after") == ("7" if status == 429 else None)
    assert all(row.settled_at for row in program.rows())


def test_a_failure_in_mid_reply_is_told_in_the_stream(program: Program) -> None:
    words = []
    with pytest.raises(openai.APIError, match="ended in mid-reply"):
        words += list(program.complete("cut;n=30;at=6", stream=True))
    (row,) = program.rows()
    assert (row.outcome, row.completion_tokens > 0) == ("truncated", True)


def test_another_model_goes_on_in_the_same_stream(program: Program) -> None:
    chunks = list(program.complete(CUT, stream=True, stream_options={"include_usage": True}))
    said = numbers(text_of(chunks))
    assert said == [*range(12), *range(12)]  # the cut one, then the fallback, whole
    assert {one.model for one in chunks} == {CUT, QUICK}
    assert [row.outcome for row in program.rows()] == ["truncated", "ok"]
    assert chunks[-1].usage.completion_tokens == sum(row.completion_tokens for row in program.rows())


def test_half_an_object_is_not_gone_on_with(program: Program) -> None:
    with pytest.raises(openai.APIError):
        list(program.complete(CUT, stream=True, response_format={"type": "json_object"}))


def picture(url: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"messages": []}, "messages"), ({"n": 2}, "n"), ({"temperature": 9}, "temperature"),
        ({"api_base": "http://elsewhere.invalid"}, "api_base"), ({"extra_headers": {}}, "extra_headers"),
        ({"messages": [{"role": "user"}]}, "messages.0"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages.0.role"),
        ({"messages": picture("http://169.254.169.254/")}, "messages.0"),
        ({"tools": [{"type": "function", "function": {"name": "no spaces"}}]}, "tools.0.function.name"),
        ({"tools": [{"type": "mcp", "server_url": "litellm_proxy"}]}, "tools.0.type"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_named(program: Program, body: dict[str, Any], named: str) -> None:
    answer = program.post({"model": QUICK, "messages": HELLO} | body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == named
    assert program.rows() == []


def test_a_key_without_the_scope_or_none_at_all_gets_nothing(program: Program) -> None:
    nobody = openai.OpenAI(base_url=program.url, api_key="ck_nobody", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        nobody.chat.completions.create(model=QUICK, messages=HELLO)
    _, reads = program.core.accounts.create_key(program.who, "reads", scopes=["read"])
    with pytest.raises(openai.PermissionDeniedError):
        openai.OpenAI(base_url=program.url, api_key=reads, max_retries=0).chat.completions.create(
            model=QUICK, messages=HELLO
        )


# ---- leaving


@pytest.mark.parametrize("stream", [True, False])
def test_who_leaves_pays_what_was_said(program: Program, stream: bool) -> None:
    marker = f"leaving {program.key[-6:]}"
    asked = [{"role": "user", "content": marker}]
    if stream:
        said = program.complete(SLOW, asked, stream=True)
        for _ in zip(range(3), said, strict=False):
            pass
        said.close()
    else:
        with pytest.raises(openai.APITimeoutError):
            program.complete(SLOW, asked, timeout=0.7)
    until(lambda: [row.outcome for row in program.rows()] == ["stopped"])
    (row,) = program.rows()
    assert row.usage_source == "estimated"
    assert row.prompt_tokens > 0
    assert row.completion_tokens > 0
    until(lambda: program.call(marker).ended_how == "closed_by_client")
    assert program.call(marker).words < 40


def test_who_leaves_before_the_first_word_leaves_no_call_behind(program: Program) -> None:
    marker = f"early {program.key[-6:]}"
    with pytest.raises(openai.APITimeoutError):
        program.complete("hang", [{"role": "user", "content": marker}], stream=True, timeout=0.5)
    until(lambda: [row.outcome for row in program.rows()] == ["stopped"])
    until(lambda: program.call(marker).ended_how == "closed_by_client")


def test_a_revoked_key_ends_its_stream(program: Program) -> None:
    said = program.complete(SLOW, stream=True)
    next(iter(said))
    program.core.accounts.revoke_key(program.who, program.core.accounts.keys(program.who)[0].id)
    with pytest.raises(openai.APIError, match="revoked"):
        list(said)
    until(lambda: [row.outcome for row in program.rows()] == ["stopped"])


# ---- the cache, and conversations


def test_an_identical_request_is_served_from_the_cache(program: Program) -> None:
    asked = [{"role": "user", "content": f"again {program.key[-6:]}"}]
    first = program.client.chat.completions.with_raw_response.create(model=QUICK, messages=asked, temperature=0)  # type: ignore[arg-type]
    again = program.client.chat.completions.with_raw_response.create(model=QUICK, messages=asked, temperature=0)  # type: ignore[arg-type]
    assert (first.headers["x-gateway-cache"], again.headers["x-gateway-cache"]) == ("MISS", "HIT")
    assert again.parse().choices[0].message.content == first.parse().choices[0].message.content
    assert [row.outcome for row in program.rows()] == ["ok", "cached"]
    assert program.rows()[1].cost_nano_usd == 0
    assert program.rows()[1].saved_nano_usd == program.rows()[0].cost_nano_usd
    for more in ({"seed": 1}, {"extra_headers": {"Cache-Control": "no-cache"}}):
        program.complete(messages=asked, temperature=0, **more)
    assert [row.outcome for row in program.rows()] == ["ok", "cached", "ok", "ok"]


def test_with_a_conversation_it_is_stored_there(program: Program) -> None:
    said = program.complete(metadata={"conversation_id": "mine"})
    conversation_id = program.core.conversations.resolve(program.who, "mine")
    question, reply = program.messages(conversation_id)
    assert (question.content, reply.content) == ("hello", said.choices[0].message.content)
    assert said.id.endswith(reply.id)
    with pytest.raises(openai.BadRequestError, match="seed"):
        program.complete(metadata={"conversation_id": "mine"}, seed=1)
    with pytest.raises(openai.APIStatusError) as caught:
        program.complete("429;after=7", metadata={"conversation_id": "mine"})
    assert (caught.value.status_code, caught.value.response.headers["retry-after"]) == (429, "7")


def test_a_stored_one_whose_reader_leaves_is_stopped_with_its_words(program: Program) -> None:
    said = program.complete(SLOW, stream=True, metadata={"conversation_id": "left"})
    for _ in zip(range(3), said, strict=False):
        pass
    said.close()
    conversation_id = program.core.conversations.resolve(program.who, "left")
    until(lambda: program.messages(conversation_id)[-1].status == "stopped")
    assert program.messages(conversation_id)[-1].content


# ---- many at once


def test_forty_at_once_are_each_whole_and_billed(program: Program) -> None:
    found: list[list[int]] = []

    def ask() -> None:
        found.append(numbers(text_of(list(program.complete("ok;n=12", stream=True)))))

    threads = [threading.Thread(target=ask) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [list(range(12))] * 40
    assert [row.outcome for row in program.rows()] == ["ok"] * 40


# ---- vectors


def test_texts_become_vectors_in_their_order(program: Program) -> None:
    marker = program.key[-6:]
    found = program.client.embeddings.create(model="embed", input=["one", f"three {marker}", "x"])
    assert [one.embedding for one in found.data] == [[3.0, 0.0, 0.5], [12.0, 1.0, 0.5], [1.0, 2.0, 0.5]]
    assert [one.index for one in found.data] == [0, 1, 2]
    (row,) = program.rows()
    assert (row.outcome, row.completion_tokens) == ("ok", 0)
    assert found.usage.prompt_tokens == row.prompt_tokens > 0
    assert row.cost_nano_usd == round(row.prompt_tokens * PROMPT_PRICE * 1e9)
    plain = program.client.embeddings.create(model="embed", input="one", encoding_format="float")
    assert plain.data[0].embedding == [3.0, 0.0, 0.5]


def test_a_model_that_embeds_does_not_chat_and_the_other_way_round(program: Program) -> None:
    with pytest.raises(openai.NotFoundError, match="does not chat"):
        program.complete("embed")
    with pytest.raises(openai.NotFoundError, match="makes no vectors"):
        program.client.embeddings.create(model=QUICK, input="one")
    assert "embed" not in [one.id for one in program.client.models.list()]
    assert program.rows() == []


def test_vectors_that_cannot_be_had_say_why(program: Program) -> None:
    with pytest.raises(openai.NotFoundError, match="does not know"):
        program.client.embeddings.create(model="embed;n=1", input="one")
    with pytest.raises(openai.BadRequestError):
        program.client.embeddings.create(model="embed", input=[])
    assert all(row.settled_at for row in program.rows())


# ---- what reviewers found


def test_half_a_character_is_refused_before_any_model_sees_it(program: Program) -> None:
    sent = {"Authorization": f"Bearer {program.key}", "Content-Type": "application/json"}
    body = json.dumps({"model": QUICK, "messages": [{"role": "user", "content": "\ud800"}]})
    answer = httpx.post(f"{program.url}/chat/completions", content=body, headers=sent)
    assert answer.status_code == 400
    assert "half a character" in answer.json()["error"]["message"]
    whole = body.replace("\\ud800", "\\ud83d\\ude42")
    assert httpx.post(f"{program.url}/chat/completions", content=whole, headers=sent).status_code == 200


def test_a_database_that_is_away_at_the_end_loses_no_count(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failed = program.core.db.awrite, []

    async def awrite(work: Any) -> Any:
        if "Calls.store" in work.__qualname__ and len(failed) < 2:
            failed.append(1)
            raise DatabaseError("away")
        return await real(work)

    monkeypatch.setattr(program.core.db, "awrite", awrite)
    assert program.complete().usage.completion_tokens == 12
    assert failed == [1, 1]
    assert [(row.outcome, row.completion_tokens) for row in program.rows()] == [("ok", 12)]


def test_a_stored_one_that_fails_before_its_first_word_has_its_status_also_as_a_stream(program: Program) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        list(program.complete("429;after=7", stream=True, metadata={"conversation_id": "mine"}))
    assert caught.value.response.headers["retry-after"] == "7"


def test_a_stored_one_that_is_stopped_from_elsewhere_is_not_complete(program: Program) -> None:
    said = program.complete(SLOW, stream=True, metadata={"conversation_id": "mine"})
    next(iter(said))
    conversation_id = program.core.conversations.resolve(program.who, "mine")
    for turn in program.core.turns.active(program.who, conversation_id):
        program.core.turns.stop(program.who, turn.turn_id)
    with pytest.raises(openai.APIError, match="stopped from elsewhere"):
        list(said)


def test_settings_of_a_request_do_not_stay_with_the_conversation(program: Program) -> None:
    program.complete(metadata={"conversation_id": "mine"}, max_tokens=50, extra_headers={"Cache-Control": "no-cache"})
    conversation_id = program.core.conversations.resolve(program.who, "mine")
    assert program.core.conversations.get(program.who, conversation_id).settings == {}


def test_vectors_have_a_purpose_of_their_own(program: Program) -> None:
    program.client.embeddings.create(model="embed", input="one")
    assert [row.purpose for row in program.rows()] == ["embedding"]
