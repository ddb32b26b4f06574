"""One call to a model through litellm, from the request to its `CallEnd`. Imported by the worker only."""

import asyncio
import base64
import gc
import json
import time
from array import array
from collections.abc import Callable
from typing import Any, Final

import httpx
import litellm

from chatcore.config import process_environment
from chatcore.gateway import context, demo_provider, failures, reported
from chatcore.gateway.joining import JoiningClient
from chatcore.gateway.protocol import CallEnd, CallSpec, DeltaKind, Failure, Usage

Put = Callable[[DeltaKind, str], None]
Notice = Callable[[dict[str, Any]], None]

_QUIET_INTERVAL: Final = 0.08  # seconds between joined frames while few calls run
_BUSY_INTERVAL: Final = 0.2  # and while many do
_MANY_CALLS: Final = 24
# Failures of calls that the provider had taken on: it may count the prompt although no word came.
_ACCEPTED: Final = frozenset({"truncated", "bad_response", "empty_reply"})
# A whole reply comes in one frame to the page's process, and one that filled it would end every other call with it.
_MOST_CHARACTERS: Final = 4 * 2**20
_MOST_TOOL_CALLS: Final = 128

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


def _refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("warm-up", request=request)


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
            event_hooks={"response": [_once]},
        )
        demo_provider.register()
        self._running = 0

    async def warm_up(self) -> None:
        """Go the whole way of a call, of a refusal and of a refused connection once, all made up in this process.

        litellm imports and compiles a good deal at its first call and at its first failure, which would else be in the
        way of somebody's first word.
        """
        session = litellm.aclient_session
        for transport in (_made_up(), httpx.MockTransport(lambda _: httpx.Response(503)), httpx.MockTransport(_refuse)):
            litellm.aclient_session = httpx.AsyncClient(transport=transport)
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
        self._raw: reported.Raw | None = None  # a whole reply's body
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
            async with asyncio.timeout(self._patience()) as self._clock:
                await self._exchange()
            anything = bool(self.text or self.tool_calls or self.spec.embed)
            return failures.verdict(self.finish_reason, anything=anything)
        except TimeoutError:
            self._gave_up = True
            if not self.spec.stream:
                return "timeout", Failure(code="timeout", detail="whole reply")
            return "timeout", failures.silence(self.first_word is not None)
        except asyncio.CancelledError:
            self._gave_up = True
            return "stopped", None
        except Exception as error:  # noqa: BLE001 - litellm and its providers raise anything; all of it is classified
            return self._classified(error)

    def _patience(self) -> float:
        """Seconds until the first word, or until the whole reply."""
        spec = self.spec
        return spec.first_word_timeout if spec.stream else spec.first_word_timeout + spec.between_words_timeout

    def _classified(self, error: Exception) -> tuple[Any, Failure]:
        outcome, failure = failures.classify(error, self._secrets())
        if failure.code == "provider_down" and not self.spec.stream and reported.is_nonsense(error, self._raw):
            return "error", failure.model_copy(update={"code": "bad_response"})
        return outcome, failure

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
        if spec.embed:
            await self._embedded()
            return
        self.messages, trimmed = await context.fit(
            spec.messages, spec.target, spec.context_window, spec.arguments.get("max_tokens"), spec.keep_last
        )
        if trimmed:
            self._notice({"trimmed": trimmed})
        self.sent = True
        self._notice({"started": True})
        await (self._streamed() if spec.stream else self._whole())

    async def _streamed(self) -> None:
        self._stream = await litellm.acompletion(
            model=self.spec.target,
            messages=self.messages,
            stream=True,
            stream_options={"include_usage": True},
            max_retries=0,
            num_retries=0,
            **self._arguments(),
        )
        _spare_the_accounting(self._stream)
        async for chunk in self._stream:
            self._take(chunk)
        said = self._stream.received_finish_reason
        self.finish_reason = None if said is None or said in reported.BROKEN else self.finish_reason or "stop"

    async def _whole(self) -> None:
        """One answer with everything in it: nothing of it is known before its end."""
        reply = await litellm.acompletion(
            model=self.spec.target,
            messages=self.messages,
            stream=False,
            max_retries=0,
            num_retries=0,
            logger_fn=self._keep_raw,
            **self._arguments(),
        )
        self.usage = reported.whole_usage(reply, self._raw)
        choice = reply.choices[0]
        said, reasoning = choice.message, getattr(choice.message, "reasoning_content", None) or ""
        if len(said.content or "") + len(reasoning) > _MOST_CHARACTERS:
            raise ValueError("the reply is longer than any model's")
        self.finish_reason = choice.finish_reason if reported.finished(self._raw) else None
        if reasoning:
            self._word("reasoning", self.reasoning, reasoning)
        self._logprobs(choice)
        if said.content:
            self._word("text", self.text, said.content)
        for index, call in enumerate(said.tool_calls or ()):
            self._tick()
            self._tool_piece(index, call)

    async def _embedded(self) -> None:
        self.sent = True
        self._notice({"started": True})
        inputs = [message["content"] for message in self.messages]
        reply = await litellm.aembedding(
            model=self.spec.target, input=inputs, encoding_format="float", max_retries=0, num_retries=0,
            **self.spec.arguments,
        )  # fmt: skip
        vectors = [one["embedding"] for one in sorted(reply.data, key=lambda one: one["index"])]
        if len(vectors) != len(inputs):
            raise ValueError("there are not as many vectors as texts")
        if reply.usage is not None and reply.usage.prompt_tokens:
            self.usage = Usage(source="provider", prompt=reply.usage.prompt_tokens)
        for vector in vectors:
            self._tick()
            self._put("vector", base64.b64encode(array("f", vector).tobytes()).decode("ascii"))
        self.finish_reason = "stop"

    def _arguments(self) -> dict[str, Any]:
        """The call's own. Tools go to the model: litellm would look for MCP servers of its proxy among them."""
        tools = {"_skip_mcp_handler": True} if self.spec.arguments.get("tools") else {}
        return {**self.spec.arguments, **tools}

    def _keep_raw(self, details: dict[str, Any]) -> None:
        """litellm's `logger_fn`: called before the request, and again with the provider's own body."""
        self._raw = reported.raw(details.get("original_response"))

    def _take(self, chunk: Any) -> None:
        if not chunk.choices:
            return
        choice = chunk.choices[0]
        self.finish_reason = choice.finish_reason or self.finish_reason
        delta = choice.delta
        if reasoning := getattr(delta, "reasoning_content", None):
            self._word("reasoning", self.reasoning, reasoning)
        self._logprobs(choice)
        if delta.content:
            self._word("text", self.text, delta.content)
        for piece in delta.tool_calls or ():
            self._tick()
            self._tool_piece(piece.index or 0, piece)

    def _logprobs(self, choice: Any) -> None:
        """How likely the tokens of the text were that comes with them, where it was asked for."""
        found = getattr(choice, "logprobs", None)
        content = found.get("content") if isinstance(found, dict) else getattr(found, "content", None)
        if content:
            plain = [one if isinstance(one, dict) else one.model_dump() for one in content]
            self._put("logprobs", json.dumps(plain))

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

    def _tool_piece(self, index: int, piece: Any) -> None:
        call = self.tool_calls.get(index)
        if call is None or (piece.id and call["id"] and piece.id != call["id"] and piece.function is not None):
            index = index if call is None else len(self.tool_calls)  # some providers give every call the first place
            call = self.tool_calls[index] = {"id": "", "name": "", "arguments": ""}
        call["id"] = piece.id or call["id"]
        if piece.function is not None:
            call["name"] += piece.function.name or ""
            call["arguments"] += piece.function.arguments or ""
        if len(call["arguments"]) > _MOST_CHARACTERS or len(self.tool_calls) > _MOST_TOOL_CALLS:
            raise ValueError("the calls of tools are more than any model's")

    def _finish_tool_calls(self) -> None:
        for call in self.tool_calls.values():
            self._put("tool_call", json.dumps(call))

    async def _usage(self, outcome: str, failure: Failure | None) -> Usage:
        """The provider's count; else none where it refused the call; else our estimate of what was sent and said."""
        if self._stream is not None:
            self.usage = reported.stream_usage(self._stream)
        if self.usage is not None and outcome in ("ok", "error", "truncated"):
            return self.usage
        refused = failure is not None and failure.code not in _ACCEPTED
        if not self.sent or (refused and self.first_word is None and not self._gave_up):
            return Usage()
        said = "".join([*self.text, *(call["name"] + call["arguments"] for call in self.tool_calls.values())])
        return await context.estimate(self.spec.target, self.messages, said, "".join(self.reasoning))

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


async def _once(response: httpx.Response) -> None:
    """litellm sends a request again that was refused with 422, and forgets the refusal when it is refused again: a
    second call that no ledger would hold. A refusal with 400 it hands on."""
    if response.status_code == 422:
        response.status_code = 400
