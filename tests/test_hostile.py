"""The hostile provider itself: it does what the model's name says, and its log is true."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.hostile import BEHAVIOURS, HostileProvider

KEY = "sk-test-not-a-real-key-9876"
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "one two three"}]
PROMPT_TOKENS = 2 + 3 + 3 + 3


@pytest.fixture(scope="module")
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


@pytest.fixture
def client(provider: HostileProvider) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=provider.url, headers=headers, timeout=5, trust_env=False) as client:
        yield client


def body(model: str, *, stream: bool = True, **more: Any) -> dict[str, Any]:
    options = {"stream_options": {"include_usage": True}} if stream else {}
    return {"model": model, "messages": MESSAGES, "stream": stream, **options, **more}


def ask(client: httpx.Client, model: str, **more: Any) -> httpx.Response:
    return client.post("/chat/completions", json=body(model, **more))


def payloads(response: httpx.Response) -> list[dict[str, Any]]:
    lines = re.split(r"\r?\n", response.content.decode())
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def said(response: httpx.Response, key: str = "content") -> str:
    deltas = [choice["delta"] for payload in payloads(response) for choice in payload["choices"]]
    return "".join(delta.get(key) or "" for delta in deltas)


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\[(\d+)\]", text)]


@pytest.mark.parametrize(
    "model", ["ok", "words;n=20", "crlf", "comments", "dribble", "nousage", "usagecum", "cached", "slow;first=0.01"]
)
def test_each_word_stands_once_and_in_order(client: httpx.Client, model: str) -> None:
    response = ask(client, model)
    assert numbers(said(response)) == list(range(20))
    assert response.content.rstrip().endswith(b"data: [DONE]")


def test_usage_is_sent_as_the_log_says(client: httpx.Client, provider: HostileProvider) -> None:
    last = payloads(ask(client, "ok;n=7"))[-1]
    assert last["choices"] == []
    assert last["usage"] == provider.log[-1].usage
    assert last["usage"]["prompt_tokens"] == PROMPT_TOKENS
    assert last["usage"]["completion_tokens"] == provider.log[-1].words == 7


def test_usage_is_sent_only_where_it_is_asked_for(client: httpx.Client, provider: HostileProvider) -> None:
    assert not any(payload.get("usage") for payload in payloads(ask(client, "ok", stream_options=None)))
    assert provider.log[-1].usage is None
    assert not any(payload.get("usage") for payload in payloads(ask(client, "nousage")))
    assert provider.log[-1].usage is None


def test_without_a_stream_the_reply_is_one_body(client: httpx.Client) -> None:
    answer = ask(client, "ok;n=3", stream=False).json()
    assert numbers(answer["choices"][0]["message"]["content"]) == [0, 1, 2]
    assert answer["usage"]["total_tokens"] == PROMPT_TOKENS + 3


def test_the_log_keeps_parameters_and_four_characters_of_the_key(
    client: httpx.Client, provider: HostileProvider
) -> None:
    ask(client, "ok;n=1", temperature=0.3)
    call = provider.log[-1]
    assert call.params["temperature"] == 0.3
    assert call.messages == MESSAGES
    assert call.key_last4 == KEY[-4:]
    assert KEY not in repr(provider.log)


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 500, 502, 503])
@pytest.mark.parametrize("stream", [True, False])
def test_errors(client: httpx.Client, provider: HostileProvider, status: int, stream: bool) -> None:
    response = ask(client, str(status), stream=stream)
    assert response.status_code == provider.log[-1].status == status
    provider.wait_until(lambda log: log[-1].ended_how == "error")


def test_errors_say_what_providers_say(client: httpx.Client) -> None:
    assert KEY in ask(client, "401").text
    assert ask(client, "429;after=7").headers["retry-after"] == "7"
    assert "retry-after" not in ask(client, "429;after=0").headers
    assert ask(client, "502").headers["content-type"] == "text/html"
    assert ask(client, "overflow").json()["error"]["code"] == "context_length_exceeded"
    assert ask(client, "refused").json()["error"]["code"] == "content_policy_violation"
    assert ask(client, "no such model").json()["error"]["code"] == "model_not_found"
    assert ask(client, "ok;colour=red").status_code == 404


@pytest.mark.parametrize("model", ["cut;at=5", "cut;at=0", "cut;at=5;how=reset", "nothttp"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_cut_is_a_broken_connection(client: httpx.Client, model: str, stream: bool) -> None:
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        ask(client, model, stream=stream)


def test_an_end_has_neither_finish_nor_done(client: httpx.Client, provider: HostileProvider) -> None:
    response = ask(client, "end;at=5")
    assert numbers(said(response)) == [0, 1, 2, 3, 4]
    assert all(choice["finish_reason"] is None for payload in payloads(response) for choice in payload["choices"])
    assert b"[DONE]" not in response.content
    assert provider.log[-1].ended_how == "end"


@pytest.mark.parametrize(("model", "words"), [("hang", 0), ("stall;at=3", 3), ("stall;at=0", 0)])
def test_silence_lasts_until_the_client_leaves(
    client: httpx.Client, provider: HostileProvider, model: str, words: int
) -> None:
    with pytest.raises(httpx.ReadTimeout):
        client.post("/chat/completions", json=body(model), timeout=0.2)
    left = time.time()
    provider.wait_until(lambda log: log[-1].closed_by_client_at)
    call = provider.log[-1]
    assert call.words == words
    assert call.ended_how == "closed_by_client"
    assert abs((call.closed_by_client_at or 0) - left) < 0.05


def test_a_client_that_leaves_in_mid_stream_is_noticed_at_once(client: httpx.Client, provider: HostileProvider) -> None:
    with client.stream("POST", "/chat/completions", json=body("ok;n=1000;rate=50")) as response:
        for line in response.iter_lines():
            if "[3]" in line:
                break
    left = time.time()
    provider.wait_until(lambda log: log[-1].closed_by_client_at)
    call = provider.log[-1]
    assert abs((call.closed_by_client_at or 0) - left) < 0.05
    assert 4 <= call.words <= 7
    assert call.usage is None


def test_words_come_at_the_rate_asked_for(client: httpx.Client, provider: HostileProvider) -> None:
    times = []
    with client.stream("POST", "/chat/completions", json=body("ok;n=11;rate=50;first=0.1")) as response:
        times = [time.time() for line in response.iter_lines() if re.search(r"\[\d+\]", line)]
    assert 0.18 <= times[-1] - times[0] <= 0.4
    call = provider.log[-1]
    assert 0.09 <= (call.first_word_at or 0) - call.started <= 0.3


def test_a_late_head_waits_for_the_first_word(client: httpx.Client) -> None:
    start = time.time()
    with client.stream("POST", "/chat/completions", json=body("slow;first=0.2;head=late")):
        assert time.time() - start >= 0.19


def test_a_line_of_garbage_stands_in_the_middle(client: httpx.Client) -> None:
    lines = [line for line in ask(client, "garbage;at=2").text.split("\n\n") if line]
    assert "[1]" in lines[2]
    with pytest.raises(ValueError):
        json.loads(lines[3][6:])
    assert "[2]" in lines[4]


def test_an_error_in_mid_stream(client: httpx.Client) -> None:
    last = payloads_or_errors(ask(client, "miderror;at=2;status=503"))[-1]
    assert last["error"]["code"] == "503"


def payloads_or_errors(response: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]


def test_reasoning_comes_before_the_words_and_is_counted(client: httpx.Client) -> None:
    response = ask(client, "reasoning;thoughts=6;n=4")
    assert said(response, "reasoning_content") == "first weigh the facts, then look "
    assert numbers(said(response)) == [0, 1, 2, 3]
    usage = payloads(response)[-1]["usage"]
    assert usage["completion_tokens"] == 10
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 6


def test_tools_are_called_in_pieces_and_then_answered(client: httpx.Client, provider: HostileProvider) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": schema}}]
    response = ask(client, "tools;calls=2", tools=tools)
    arguments = {0: "", 1: ""}
    for payload in payloads(response):
        for choice in payload["choices"]:
            for call in choice["delta"].get("tool_calls", []):
                arguments[call["index"]] += call["function"]["arguments"]
    assert [json.loads(text) for text in arguments.values()] == [
        {"city": "word 0", "days": 1},
        {"city": "word 1", "days": 2},
    ]
    assert payloads(response)[-2]["choices"][0]["finish_reason"] == "tool_calls"
    whole = ask(client, "tools", tools=tools, stream=False).json()["choices"][0]["message"]["tool_calls"]
    assert whole[0]["function"]["name"] == "weather"
    answered = [*MESSAGES, {"role": "tool", "tool_call_id": "x", "content": "sunny"}]
    assert numbers(said(ask(client, "tools;n=3", tools=tools, messages=answered))) == [0, 1, 2]


def test_flaky_fails_first_and_then_answers(client: httpx.Client) -> None:
    model = "flaky;fails=2;status=503;tag=here"
    assert [ask(client, model).status_code for _ in range(3)] == [503, 503, 200]


@pytest.mark.parametrize(("model", "finish"), [("length", "length"), ("filtered", "content_filter"), ("empty", "stop")])
def test_finish_reasons(client: httpx.Client, model: str, finish: str) -> None:
    assert payloads(ask(client, model))[-2]["choices"][0]["finish_reason"] == finish


def test_control_characters_are_really_there(client: httpx.Client) -> None:
    text = said(ask(client, "control;n=2"))
    assert "\x00" in text
    assert "\ud800" in text
    assert "<script>" in text


def test_a_big_chunk_is_one_frame(client: httpx.Client) -> None:
    assert max(len(line) for line in ask(client, "bigchunk").text.splitlines()) > 1 << 20


def test_models_are_listed_and_the_log_can_be_fetched(client: httpx.Client, provider: HostileProvider) -> None:
    assert {model["id"] for model in client.get("/models").json()["data"]} == set(BEHAVIOURS)
    ask(client, "ok;n=1;tag=fetched")
    assert client.get(provider.url.removesuffix("/v1") + "/log").json()[-1]["model"] == "ok;n=1;tag=fetched"
    assert ask(client, "ok").status_code == 200
    assert client.post("/chat/completions", content=b"{not json").status_code == 400


def test_a_provider_that_went_away_can_come_back_on_its_port() -> None:
    with HostileProvider() as first:
        port = first.port
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/v1/models", trust_env=False)
    with HostileProvider(port) as again:
        assert httpx.get(f"{again.url}/models", trust_env=False).status_code == 200


def test_as_a_process_of_its_own(tmp_path: Any) -> None:
    log = tmp_path / "calls.jsonl"
    command = [sys.executable, "-m", "tests.hostile", "--log", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        httpx.post(f"{url}/chat/completions", json=body("ok;n=2"), trust_env=False)
        process.terminate()
        assert process.wait(5) == 0
    call = json.loads(log.read_text().splitlines()[0])
    assert (call["model"], call["words"], call["ended_how"]) == ("ok;n=2", 2, "done")
