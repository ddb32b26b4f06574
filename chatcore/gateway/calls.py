"""One call to a model through litellm, from the request to its `CallEnd`. Imported by the worker only."""

import asyncio
import gc
import json
import time
from collections.abc import Callable
from typing import Any, Final

import httpx
import litellm

from chatcore.config import process_environment
from chatcore.gateway import context, demo_provider, failures
from chatcore.gateway.joining import JoiningClient
from chatcore.gateway.protocol import CallEnd, CallSpec, DeltaKind, Failure, Usage

Put = Callable[[DeltaKind, str], None]
Notice = Callable[[dict[str, Any]], None]

_QUIET_INTERVAL: Final = 0.08  # seconds between joined frames while few calls run
_BUSY_INTERVAL: Final = 0.2  # and while many do
_MANY_CALLS: Final = 24
# Failures of calls that the provider had taken on: it may count the prompt although no word came.
_ACCEPTED: Final = frozenset({"truncated", "bad_response", "empty_reply"})


# litellm reads the providers' own variables by itself, so their values are in no call's arguments.
_ENVIRONMENT_SECRETS: Final = failures.secrets_in(process_environment())
_WARM_UP: Final = CallSpec(
    target="openai/warm-up",
    messages=[{"role": "user", "content": "hello"}],
    arguments={"api_key": "none", "api_base": "http://warm-up.invalid/v1"},
    first_word_timeout=30,
    between_words_timeout=30,
)


def _made_up() -> httpx.MockTransport:
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "warm-up"}
    word = chunk | {
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": "hello"}, "finish_reason": None}]
    }
    end = chunk | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    body = "".join(f"data: {json.dumps(frame)}\n\n" for frame in (word, end)) + "data: [DONE]\n\n"
    return httpx.MockTransport(lambda _: httpx.Response(200, text=body, headers={"content-type": "text/event-stream"}))


class Runner:
    """Sets litellm up once and runs calls."""

    def __init__(self) -> None:
        litellm.suppress_debug_info = True
        litellm.disable_streaming_logging = True
        litellm.drop_params = True
        litellm.disable_hf_tokenizer_download = True
        litellm.disable_aiohttp_transport = True
        litellm.telemetry = False
        litellm.aclient_session = JoiningClient(
            self._interval,
            timeout=httpx.Timeout(600, connect=15),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=50),
            follow_redirects=True,
        )
        demo_provider.register()
        self._running = 0

    async def warm_up(self) -> None:
        """Go the whole way of a call once, against an answer made up in this process.

        litellm imports and compiles a good deal at its first call, which would else be somebody's first word.
        """
        session, litellm.aclient_session = litellm.aclient_session, httpx.AsyncClient(transport=_made_up())
        try:
            await self.run(_WARM_UP, lambda _kind, _text: None, lambda _notice: None)
        finally:
            await litellm.aclient_session.aclose()
            litellm.aclient_session = session
            litellm.in_memory_llm_clients_cache.flush_cache()
        gc.collect()
        gc.freeze()

    async def run(self, spec: CallSpec, put: Put, notice: Notice) -> CallEnd:
        """Make the call. Every way it can end is in the `CallEnd`; cancelling ends it as `stopped`."""
        call = _Call(spec, put, notice)
        self._running += 1
        try:
            return await call.run()
        finally:
            self._running -= 1

    def _interval(self) -> float:
        return _BUSY_INTERVAL if self._running > _MANY_CALLS else _QUIET_INTERVAL


class _Call:
    def __init__(self, spec: CallSpec, put: Put, notice: Notice) -> None:
        self.spec, self._put, self._notice = spec, put, notice
        self.messages = spec.messages
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.tool_calls: dict[int, dict[str, str]] = {}
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.sent = False
        self._gave_up = False  # we ended it; the provider may have begun to work, and to count
        self.first_word: float | None = None
        self.started = time.monotonic()
        self._stream: Any = None
        self._clock: asyncio.Timeout | None = None

    async def run(self) -> CallEnd:
        outcome, failure = await self._ended()
        settling = asyncio.ensure_future(self._settled(outcome, failure))
        while True:
            try:
                return await asyncio.shield(settling)
            except asyncio.CancelledError:
                continue  # a stop that comes after the end: too late to change it, and the tokens must still be counted

    async def _ended(self) -> tuple[Any, Failure | None]:
        try:
            async with asyncio.timeout(self.spec.first_word_timeout) as self._clock:
                await self._exchange()
            return failures.verdict(self.finish_reason, anything=bool(self.text or self.tool_calls))
        except TimeoutError:
            self._gave_up = True
            return "timeout", failures.silence(self.first_word is not None)
        except asyncio.CancelledError:
            self._gave_up = True
            return "stopped", None
        except Exception as error:  # noqa: BLE001 - litellm and its providers raise anything; all of it is classified
            return failures.classify(error, self._secrets())

    async def _settled(self, outcome: Any, failure: Failure | None) -> CallEnd:
        await self._close()
        self._finish_tool_calls()
        latency = time.monotonic() - self.started
        return CallEnd(
            outcome=outcome,
            failure=failure,
            finish_reason=self.finish_reason,
            usage=await self._usage(outcome, failure),
            ttft_ms=None if self.first_word is None else round((self.first_word - self.started) * 1000),
            latency_ms=round(latency * 1000),
        )

    async def _exchange(self) -> None:
        spec = self.spec
        self.messages, trimmed = await context.fit(
            spec.messages, spec.target, spec.context_window, spec.arguments.get("max_tokens"), spec.keep_last
        )
        if trimmed:
            self._notice({"trimmed": trimmed})
        self.sent = True
        self._notice({"started": True})
        self._stream = await litellm.acompletion(
            model=spec.target,
            messages=self.messages,
            stream=True,
            stream_options={"include_usage": True},
            max_retries=0,
            num_retries=0,
            **spec.arguments,
        )
        _spare_the_accounting(self._stream)
        async for chunk in self._stream:
            self._take(chunk)
        self._read_usage()
        self.finish_reason = self._stream.received_finish_reason and (self.finish_reason or "stop")

    def _take(self, chunk: Any) -> None:
        if not chunk.choices:
            return
        choice = chunk.choices[0]
        self.finish_reason = choice.finish_reason or self.finish_reason
        delta = choice.delta
        if reasoning := getattr(delta, "reasoning_content", None):
            self._word("reasoning", self.reasoning, reasoning)
        if delta.content:
            self._word("text", self.text, delta.content)
        for piece in delta.tool_calls or ():
            self._tick()
            self._tool_piece(piece)

    def _word(self, kind: DeltaKind, store: list[str], text: str) -> None:
        self._tick()
        store.append(text)
        self._put(kind, text)

    def _tick(self) -> None:
        """A word has come: the clock now allows the time between words."""
        if self.first_word is None:
            self.first_word = time.monotonic()
        assert self._clock is not None
        self._clock.reschedule(asyncio.get_running_loop().time() + self.spec.between_words_timeout)

    def _tool_piece(self, piece: Any) -> None:
        call = self.tool_calls.setdefault(piece.index or 0, {"id": "", "name": "", "arguments": ""})
        call["id"] = piece.id or call["id"]
        if piece.function is not None:
            call["name"] += piece.function.name or ""
            call["arguments"] += piece.function.arguments or ""

    def _finish_tool_calls(self) -> None:
        for call in self.tool_calls.values():
            self._put("tool_call", json.dumps(call))

    def _read_usage(self) -> None:
        """Believe only a usage that came from the provider: litellm makes one up where there is none.

        The last one counts: some providers send a running total with every chunk.
        """
        for chunk in getattr(self._stream, "chunks", ()):
            found = getattr(chunk, "usage", None)
            if found is not None and (found.prompt_tokens or found.completion_tokens):
                self.usage = _usage(found)

    async def _usage(self, outcome: str, failure: Failure | None) -> Usage:
        """The provider's count; else none where it refused the call; else our estimate of what was sent and said."""
        if self._stream is not None:
            self._read_usage()
        if self.usage is not None and outcome in ("ok", "error", "truncated"):
            return self.usage
        refused = failure is not None and failure.code not in _ACCEPTED
        if not self.sent or (refused and self.first_word is None and not self._gave_up):
            return Usage()
        return await context.estimate(self.spec.target, self.messages, "".join(self.text), "".join(self.reasoning))

    async def _close(self) -> None:
        if self._stream is not None and hasattr(self._stream, "aclose"):
            await asyncio.shield(asyncio.ensure_future(self._stream.aclose()))

    def _secrets(self) -> list[str]:
        return failures.secrets_in(self.spec.arguments) + _ENVIRONMENT_SECRETS


def _spare_the_accounting(stream: Any) -> None:
    """Let a finished stream end where it ends.

    litellm would put the reply together again, price it and log it in several threads, for nobody: 10 ms of CPU for
    each call, so that of a hundred replies that end together the last would be stored a second late. A test fails
    when a new version of litellm no longer has the method.
    """
    finalize = stream._finalize_completed_stream

    async def at_end(cache_hit: bool) -> Any:
        if stream.sent_last_chunk:
            raise StopAsyncIteration
        return await finalize(cache_hit=cache_hit)

    stream._finalize_completed_stream = at_end


def _usage(found: Any) -> Usage:
    prompt_details = getattr(found, "prompt_tokens_details", None)
    completion_details = getattr(found, "completion_tokens_details", None)
    cache_write = getattr(found, "cache_creation_input_tokens", None) or getattr(
        prompt_details, "cache_creation_tokens", None
    )
    return Usage(
        source="provider",
        prompt=found.prompt_tokens or 0,
        cached=getattr(prompt_details, "cached_tokens", None) or 0,
        cache_write=cache_write or 0,
        completion=found.completion_tokens or 0,
        reasoning=getattr(completion_details, "reasoning_tokens", None) or 0,
    )
