"""Joining the frames of an OpenAI-shaped stream before the client library sees them.

The openai SDK and litellm spend about 0.4 ms of CPU on every frame, and providers send a frame for every word. This
HTTP client collects what arrives and hands on the first words at once and then, every `interval` seconds, one frame
in which the plain text deltas are joined. Frames that carry anything else (a role, a finish reason, usage, a tool
call, garbage) pass untouched and in their place. ADR 003 has the measurements.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import httpx

_JOINABLE: Final = frozenset({"content", "reasoning_content", "role"})
_MAX_PENDING: Final = 8 * 2**20  # bytes read ahead of the consumer before the provider is made to wait


class JoiningClient(httpx.AsyncClient):
    """An `httpx.AsyncClient` whose event streams arrive joined. `interval`: a function that says how many seconds."""

    def __init__(self, interval: Callable[[], float], **options: Any) -> None:
        super().__init__(**options)
        self._join_interval = interval

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        response = await super().send(request, **options)
        kind = response.headers.get("content-type", "")
        plain = response.headers.get("content-encoding", "identity") == "identity"
        if options.get("stream") and response.is_success and kind.startswith("text/event-stream") and plain:
            assert isinstance(response.stream, httpx.AsyncByteStream)
            response.stream = JoinedStream(response.stream, self._join_interval)
        return response


class JoinedStream(httpx.AsyncByteStream):
    """The body of one streamed answer, joined."""

    def __init__(self, inner: httpx.AsyncByteStream, interval: Callable[[], float]) -> None:
        self._inner = inner
        self._interval = interval
        self._pending = bytearray()
        self._changed = asyncio.Event()  # something is pending, or the stream has ended
        self._drained = asyncio.Event()
        self._hurry = asyncio.Event()  # the stream is at its end: nothing waits for the next interval
        self._ended = False
        self._speaking = False  # more than an opening frame has come
        self._failure: Exception | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._reader = asyncio.create_task(self._read())
        loop = asyncio.get_running_loop()
        next_at = 0.0
        while True:
            await self._changed.wait()
            await self._pause(next_at - loop.time())
            if frames := self._take():
                yield frames
                # The opening frame of a reply holds a role and no word: the first word must not wait for an interval.
                self._speaking = self._speaking or _speaks(frames)
                next_at = loop.time() + self._interval() if self._speaking else 0.0
            if self._ended and not self._pending:
                break
        if self._failure is not None:
            raise self._failure

    async def aclose(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.cancel()
            await asyncio.wait([self._reader])
        await self._inner.aclose()

    async def _read(self) -> None:
        try:
            async for raw in self._inner:
                self._pending += raw
                self._changed.set()
                if b"[DONE]" in raw:
                    self._hurry.set()
                if len(self._pending) > _MAX_PENDING:
                    self._drained.clear()
                    await self._drained.wait()
        except Exception as error:  # noqa: BLE001 - raised again in the consumer, after the words that came before it
            self._failure = error
        finally:
            self._ended = True
            self._hurry.set()
            self._changed.set()

    async def _pause(self, seconds: float) -> None:
        if seconds <= 0 or self._hurry.is_set():
            return
        try:
            await asyncio.wait_for(self._hurry.wait(), seconds)
        except TimeoutError:
            pass  # the usual case: the interval is over

    def _take(self) -> bytes:
        """The complete frames that have arrived, joined; the rest stays. At the end of the stream, everything."""
        data = bytes(self._pending)
        end = len(data) if self._ended else _last_frame_end(data)
        del self._pending[:end]
        self._drained.set()
        if not self._ended:
            self._changed.clear()
        return join_frames(data[:end]) if end else b""


def join_frames(data: bytes) -> bytes:
    """`data`: whole SSE frames. Returns the same stream with neighbouring plain deltas of one kind joined."""
    frames = data.replace(b"\r\n", b"\n").split(b"\n\n")
    if len(frames) <= 2:
        return data
    out: list[bytes] = []
    held: dict[str, Any] | None = None
    held_kind = ""
    held_raw = b""
    texts: list[str] = []

    def release() -> None:
        nonlocal held
        if held is not None:
            if len(texts) > 1:
                held["choices"][0]["delta"][held_kind] = "".join(texts)
                out.append(b"data: " + json.dumps(held).encode())
            else:
                out.append(held_raw)
            held = None

    for frame in frames[:-1]:
        parsed, kind = _joinable(frame)
        if parsed is None:
            release()
            out.append(frame)
            continue
        text = parsed["choices"][0]["delta"][kind]
        if held is not None and kind == held_kind:
            texts.append(text)
            continue
        release()
        held, held_kind, held_raw, texts = parsed, kind, frame, [text]
    release()
    return b"\n\n".join([*out, frames[-1]])


def _joinable(frame: bytes) -> tuple[dict[str, Any] | None, str]:
    """The chunk and the kind of its text where the frame carries one plain delta and nothing else."""
    if not frame.startswith(b"data:"):
        return None, ""
    try:
        chunk = json.loads(frame[5:])
        if chunk.get("usage") is not None or chunk.get("error") is not None or len(chunk["choices"]) != 1:
            return None, ""
        choice = chunk["choices"][0]
        delta = {key: value for key, value in choice["delta"].items() if value is not None}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None, ""
    kinds = [key for key in delta if key != "role"]
    if choice.get("finish_reason") is not None or choice.get("logprobs") or len(kinds) != 1:
        return None, ""
    kind = kinds[0]
    if kind not in _JOINABLE or not isinstance(delta[kind], str):
        return None, ""
    return chunk, kind


def _speaks(frames: bytes) -> bool:
    """Whether whole frames hold a word, or anything else that is not an empty delta or a comment."""
    for frame in frames.replace(b"\r\n", b"\n").split(b"\n\n"):
        chunk, kind = _joinable(frame)
        if chunk["choices"][0]["delta"][kind] if chunk else frame.startswith(b"data:"):
            return True
    return False


def _last_frame_end(data: bytes) -> int:
    """Where the last complete frame ends."""
    return max(
        data.rfind(b"\n\n") + 2 if b"\n\n" in data else 0, data.rfind(b"\r\n\r\n") + 4 if b"\r\n\r\n" in data else 0
    )
