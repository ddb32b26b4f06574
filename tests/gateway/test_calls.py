"""Calls through the real worker and real sockets, streamed and whole: what comes back, equal to the provider's log."""

import asyncio
import json
import secrets
import threading
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from chatcore.config import load_settings, worker_environment
from chatcore.gateway.process import Delta, RemoteCall, WorkerProcess
from chatcore.gateway.protocol import CallEnd, CallSpec, Usage
from tests.chat import KEY, until
from tests.hostile import Call, HostileProvider

WORDS: Final = "one two three four five six seven eight"


@dataclass(frozen=True)
class Said:
    """A call that has ended, and the provider's own account of it."""

    deltas: tuple[Delta, ...]
    end: CallEnd
    call: Call | None

    def text(self, kind: str = "text") -> str:
        return "".join(delta.text for delta in self.deltas if delta.kind == kind)

    @property
    def summary(self) -> tuple[str, str | None, str | None, str]:
        """Outcome, failure code, finish reason and who counted the tokens."""
        failure = self.end.failure
        return self.end.outcome, failure.code if failure else None, self.end.finish_reason, self.end.usage.source


class Caller:
    """A worker of its own, on a loop in a thread."""

    def __init__(self, provider: HostileProvider) -> None:
        self.provider = provider
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.worker = WorkerProcess(worker_environment(load_settings({"CHATCORE_SECRET_KEY": "x"})))
        self.run(self.worker.start())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def spec(self, model: str, text: str, **more: Any) -> CallSpec:
        target = {"target": model} if "/" in model else {"target": f"openai/{model}"}
        arguments = {} if "/" in model else {"api_base": self.provider.url, "api_key": KEY}
        times = {"first_word_timeout": 1.0, "between_words_timeout": 0.7}
        messages = [{"role": "user", "content": text}]
        return CallSpec.model_validate({**target, "messages": messages, "arguments": arguments, **times, **more})

    def begin(self, spec: CallSpec) -> RemoteCall:
        async def begin() -> RemoteCall:
            return self.worker.call(spec)

        return self.run(begin())  # type: ignore[no-any-return]

    def cancel(self, call: RemoteCall) -> None:
        self.loop.call_soon_threadsafe(call.cancel)

    def finish(self, call: RemoteCall, marker: str) -> Said:
        async def collect() -> list[Delta]:
            return [delta async for batch in call for delta in batch]

        deltas = self.run(collect())
        assert call.end is not None
        calls = [one for one in list(self.provider.log) if marker in str(one.messages)]
        assert len(calls) <= 1, "one call to the provider for each of ours"
        return Said(tuple(deltas), call.end, calls[0] if calls else None)

    def ask(self, model: str, *, stream: bool, **more: Any) -> Said:
        marker = secrets.token_hex(6)
        return self.finish(self.begin(self.spec(model, f"{WORDS} {marker}", stream=stream, **more)), marker)


@pytest.fixture(scope="module")
def provider() -> Iterator[HostileProvider]:
    with HostileProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def caller(provider: HostileProvider) -> Iterator[Caller]:
    caller = Caller(provider)
    until(lambda: caller.worker.ready, 60)
    yield caller
    caller.run(caller.worker.close())
    caller.loop.call_soon_threadsafe(caller.loop.stop)
    caller._thread.join(10)
    caller.loop.close()


# model: (outcome, failure, finish reason, who counted) of a stream, and of a whole reply where that differs
Summary = tuple[str, str | None, str | None, str]
EXPECTED: Final[dict[str, tuple[Summary, Summary | None]]] = {
    "ok;n=20": (("ok", None, "stop", "provider"), None),
    "bigchunk": (("ok", None, "stop", "provider"), None),
    "reasoning": (("ok", None, "stop", "provider"), None),
    "tools;calls=2": (("ok", None, "tool_calls", "provider"), None),
    "control": (("ok", None, "stop", "provider"), None),
    "length": (("ok", None, "length", "provider"), None),
    "cached": (("ok", None, "stop", "provider"), None),
    "cachewrite": (("ok", None, "stop", "provider"), None),
    "usagecum;n=10": (("ok", None, "stop", "provider"), None),
    "usagecum;n=10;how=cached": (("ok", None, "stop", "provider"), None),
    "nousage;n=20": (("ok", None, "stop", "estimated"), None),
    "wrongusage;how=huge": (("ok", None, "stop", "estimated"), None),
    "wrongusage;how=endless": (("ok", None, "stop", "estimated"), None),
    "wrongusage;how=negative": (("ok", None, "stop", "estimated"), None),
    "wrongusage;how=cached": (("ok", None, "stop", "estimated"), None),
    "wrongusage;how=reasoning": (("ok", None, "stop", "estimated"), None),
    "oddfinish": (("ok", None, "stop", "provider"), None),
    "oddfinish;how=network_error": (("truncated", "truncated", None, "provider"), None),
    "oddfinish;how=error": (
        ("error", "provider_down", None, "estimated"),
        ("truncated", "truncated", None, "provider"),
    ),
    "nofinish": (("truncated", "truncated", None, "provider"), None),
    "nofinish;n=0": (("error", "bad_response", None, "provider"), None),
    "oddfinish;n=0": (("error", "empty_reply", "stop", "provider"), None),
    "empty": (("error", "empty_reply", "stop", "provider"), None),
    "filtered": (("error", "refused_content", "content_filter", "provider"), None),
    "cut;at=5": (("truncated", "truncated", None, "estimated"), None),
    "cut;at=0": (("truncated", "truncated", None, "estimated"), None),
    "cut;at=5;how=reset": (("truncated", "truncated", None, "estimated"), None),
    "end": (("truncated", "truncated", None, "estimated"), None),
    "stall;at=5": (("timeout", "timeout", None, "estimated"), None),
    "hang": (("timeout", "timeout", None, "estimated"), None),
    "garbage": (("error", "bad_response", None, "estimated"), None),
    "notjson": (("error", "bad_response", None, "estimated"), None),
    "miderror;at=0": (("error", "provider_down", None, "none"), None),
    "401": (("error", "bad_key", None, "none"), None),
    "404": (("error", "model_unavailable", None, "none"), None),
    "408": (("timeout", "timeout", None, "none"), None),
    "422": (("error", "bad_request", None, "none"), None),
    "429;after=7": (("rate_limited", "rate_limited", None, "none"), None),
    "500": (("error", "provider_down", None, "none"), None),
    "502": (("error", "provider_down", None, "none"), None),
    "overflow": (("error", "context_too_long", None, "none"), None),
    "refused": (("error", "refused_content", None, "none"), None),
}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("model", EXPECTED)
def test_how_it_ends(caller: Caller, model: str, stream: bool) -> None:
    said = caller.ask(model, stream=stream)
    streamed, whole = EXPECTED[model]
    assert said.summary == (streamed if stream else whole or streamed)
    assert (said.end.ttft_ms is None) == (not said.deltas)
    assert KEY not in said.end.model_dump_json()
    if said.end.usage.source == "provider":
        assert said.call is not None
        assert said.call.usage is not None
        assert said.end.usage.prompt == said.call.usage["prompt_tokens"]
        assert said.end.usage.completion == said.call.usage["completion_tokens"]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    ("model", "cached", "written"),
    [("cached", 2, 0), ("usagecum;n=10;how=cached", 2, 0), ("cachewrite", 4, 2), ("ok", 0, 0)],
)
def test_cached_and_written_tokens_are_counted(
    caller: Caller, model: str, cached: int, written: int, stream: bool
) -> None:
    usage = caller.ask(model, stream=stream).end.usage
    assert usage.prompt
    assert usage.cached == (usage.prompt // cached if cached else 0)
    assert usage.cache_write == (usage.prompt // written if written else 0)


# --- whole replies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["ok;n=300", "bigchunk", "md", "length", "oddfinish", "nousage"])
def test_a_whole_reply_has_the_words_of_the_stream(caller: Caller, model: str) -> None:
    whole, streamed = caller.ask(model, stream=False), caller.ask(model, stream=True)
    assert whole.text() == streamed.text() != ""
    assert whole.call
    assert whole.call.params.get("stream", False) is False
    assert [delta.kind for delta in whole.deltas] == ["text"], "in one piece"


def test_reasoning_and_tool_calls_come_whole(caller: Caller) -> None:
    thought = caller.ask("reasoning", stream=False)
    assert [delta.kind for delta in thought.deltas] == ["reasoning", "text"]
    assert thought.text("reasoning") == caller.ask("reasoning", stream=True).text("reasoning")
    assert thought.end.usage.reasoning == 20
    called = caller.ask("tools;calls=2", stream=False)
    calls = [json.loads(delta.text) for delta in called.deltas]
    assert [(call["name"], call["arguments"]) for call in calls] == [("lookup", "{}")] * 2
    assert len({call["id"] for call in calls}) == 2


@pytest.mark.parametrize("model", ["cut;n=300;at=200", "end", "garbage", "stall", "nofinish;n=0"])
def test_words_of_half_a_body_are_not_kept(caller: Caller, model: str) -> None:
    said = caller.ask(model, stream=False)
    assert said.deltas == ()
    assert said.end.ttft_ms is None


def test_an_estimate_is_of_what_was_sent_and_said(caller: Caller) -> None:
    said = caller.ask("nousage;n=40", stream=False)
    assert said.end.usage == caller.ask("nousage;n=40", stream=True).end.usage.model_copy(
        update={"prompt": said.end.usage.prompt}  # another marker, another count
    )
    assert said.end.usage.prompt > 8
    assert said.end.usage.completion > 40
    cut = caller.ask("cut;at=5", stream=False).end.usage
    assert (cut.source, cut.completion) == ("estimated", 0)
    assert cut.prompt > 8


def test_a_whole_reply_may_take_both_times_together(caller: Caller, provider: HostileProvider) -> None:
    """1 s for the first word and 0.7 s between words."""
    assert caller.ask("slow;first=1.3;n=3", stream=False).summary == ("ok", None, "stop", "provider")
    late = caller.ask("slow;first=2.5;n=3", stream=False)
    assert late.end.outcome == "timeout"
    assert late.end.failure
    assert late.end.failure.detail not in ("first word", "between words"), "the sentence names no seconds"
    assert 1600 <= late.end.latency_ms < 2400
    call = late.call
    assert call
    provider.wait_until(lambda _: call.ended_how == "closed_by_client")


@pytest.mark.parametrize("model", ["hang", "slow;first=30;n=5", "ok;n=5;rate=1", "stall"])
def test_cancelling_closes_the_connection_at_once(caller: Caller, provider: HostileProvider, model: str) -> None:
    marker = secrets.token_hex(6)
    spec = caller.spec(model, marker, stream=False, first_word_timeout=30, between_words_timeout=30)
    running = caller.begin(spec)
    provider.wait_until(lambda log: any(marker in str(call.messages) for call in log))
    stopped = time.time()
    caller.cancel(running)
    said = caller.finish(running, marker)
    assert said.summary == ("stopped", None, None, "estimated")
    assert said.end.usage.prompt > 0
    assert said.deltas == ()
    call = said.call
    assert call
    until(lambda: call.closed_by_client_at is not None)
    assert call.closed_by_client_at
    assert call.closed_by_client_at - stopped < 0.2


def test_a_reply_too_long_for_a_frame_ends_no_other_call(caller: Caller) -> None:
    other = secrets.token_hex(6)
    running = caller.begin(caller.spec("ok;n=20;rate=10", other, between_words_timeout=20))
    assert caller.ask("words;n=600000", stream=False, first_word_timeout=30).summary == (
        "error", "bad_response", None, "provider",
    )  # fmt: skip
    assert caller.finish(running, other).summary == ("ok", None, "stop", "provider")


# --- the demo models ------------------------------------------------------------------------------------------------


def test_a_demo_model_says_the_same_whole(caller: Caller) -> None:
    spec = {"first_word_timeout": 30, "between_words_timeout": 30, "messages": [{"role": "user", "content": "hello"}]}
    whole = caller.ask("chatcore-demo/assistant", stream=False, **spec)
    streamed = caller.ask("chatcore-demo/assistant", stream=True, **spec)
    assert whole.text() == streamed.text() != ""
    assert whole.summary == streamed.summary == ("ok", None, "stop", "provider")
    assert whole.end.usage == streamed.end.usage != Usage()


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    ("asked", "outcome", "code"),
    [
        ("fail 500", "error", "provider_down"),
        ("fail 429", "rate_limited", "rate_limited"),
        ("fail 401", "error", "bad_key"),
    ],
)
def test_a_demo_failure_is_the_same_whole(caller: Caller, asked: str, outcome: str, code: str, stream: bool) -> None:
    said = caller.ask("chatcore-demo/assistant", stream=stream, messages=[{"role": "user", "content": asked}])
    assert (said.end.outcome, said.end.failure and said.end.failure.code) == (outcome, code)
    assert said.end.usage.source == "none"


@pytest.mark.parametrize(("asked", "code"), [("cut", "truncated"), ("fail midway", "provider_down")])
def test_of_a_demo_reply_that_breaks_off_nothing_comes_whole(caller: Caller, asked: str, code: str) -> None:
    spec = {"first_word_timeout": 30, "between_words_timeout": 30, "messages": [{"role": "user", "content": asked}]}
    whole = caller.ask("chatcore-demo/assistant", stream=False, **spec)
    streamed = caller.ask("chatcore-demo/assistant", stream=True, **spec)
    assert whole.end.failure
    assert streamed.end.failure
    assert whole.end.failure.code == streamed.end.failure.code == code
    assert whole.text() == ""
    assert streamed.text() != ""
