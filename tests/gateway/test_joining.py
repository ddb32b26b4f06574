"""Joining the frames of a stream: no word lost, changed or out of order, nothing but plain words touched."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatcore.gateway import joining
from chatcore.gateway.joining import JoinedStream, JoiningClient, join_frames

DONE = b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any], **choice: Any) -> dict[str, Any]:
    return {"id": "c1", "choices": [{"index": 0, "delta": delta, "finish_reason": None, **choice}]}


def frame(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def word(text: str, kind: str = "content") -> bytes:
    return frame(chunk({kind: text}))


# Frames that carry more than one plain delta, or something else: they must pass byte for byte.
SPECIAL = [
    frame(chunk({"role": "assistant"})),
    frame(chunk({"content": "a", "reasoning_content": "b"})),
    frame(chunk({}, finish_reason="stop")),
    frame(chunk({"content": "last"}, finish_reason="stop")),
    frame(chunk({"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": "{}"}}]})),
    frame(chunk({"content": "x"}, logprobs={"content": [{"token": "x"}]})),
    frame(chunk({"content": None})),
    frame(chunk({"content": ["a", "list"]})),
    frame(chunk({"content": "counted"}) | {"usage": {"prompt_tokens": 1}}),
    frame({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}),
    frame({"choices": [*chunk({"content": "two"})["choices"], *chunk({"content": "two"})["choices"]]}),
    frame({"error": {"message": "overloaded"}}),
    frame(chunk({"content": "x"}) | {"error": {"message": "overloaded"}}),
    frame([1, 2]), frame(None), frame("text"), frame({"choices": [5]}), frame({"choices": [{"delta": "x"}]}),
    b": keep-alive\n\n", b"event: ping\ndata: {}\n\n", b"data: {not json\n\n", b"data: \xff\xfe\n\n", b"\n\n",
]  # fmt: skip

words = st.tuples(st.sampled_from(["content", "reasoning_content"]), st.text(max_size=8)).map(
    lambda pair: word(pair[1], pair[0])
)
frames = st.lists(st.one_of(words, words, words, st.sampled_from(SPECIAL)), max_size=25)


def read(data: bytes) -> list[tuple[str, object]]:
    """What a reader of the stream is told: neighbouring words of one kind as one, everything else as its bytes."""
    told: list[tuple[str, object]] = []
    for one in data.split(b"\n\n"):
        kind, text = "raw", None
        if (one + b"\n\n") not in SPECIAL and one.startswith(b"data: {"):
            delta = json.loads(one[6:])["choices"][0]["delta"]
            [(kind, text)] = delta.items()
        if kind == "raw":
            told.append((kind, one))
        elif told and told[-1][0] == kind:
            told[-1] = (kind, str(told[-1][1]) + text)
        else:
            told.append((kind, text))
    return told


@given(frames)
def test_joined_frames_tell_the_same(stream: list[bytes]) -> None:
    data = b"".join(stream)
    assert read(join_frames(data)) == read(data)


@given(frames)
def test_no_two_neighbours_of_one_kind_remain(stream: list[bytes]) -> None:
    joined = join_frames(b"".join(stream))
    if len(stream) > 1:
        kinds = [one for one in joined.split(b"\n\n") if one]
        assert len(kinds) <= len([one for one in read(joined) if one != ("raw", b"")])


@given(frames)
def test_joining_twice_is_joining_once(stream: list[bytes]) -> None:
    once = join_frames(b"".join(stream))
    assert join_frames(once) == once


@given(st.binary(max_size=80))
def test_any_bytes_keep_their_bytes_where_there_is_nothing_to_join(data: bytes) -> None:
    assert join_frames(data).replace(b"\r\n", b"\n") == data.replace(b"\r\n", b"\n")


@given(st.lists(st.text(max_size=5), min_size=2, max_size=10))
def test_crlf_is_the_same_stream(texts: list[str]) -> None:
    data = b"".join(word(text) for text in texts)
    assert read(join_frames(data.replace(b"\n", b"\r\n"))) == read(join_frames(data))


@pytest.mark.parametrize("special", [one for one in SPECIAL if one != b"\n\n"])
def test_a_frame_with_more_than_a_word_passes_in_its_place(special: bytes) -> None:
    joined = join_frames(word("a") + word("b") + special + word("c") + word("d"))
    before, after = joined.split(special)
    assert (read(before)[0], read(after)[0]) == (("content", "ab"), ("content", "cd"))


def test_surrogates_and_other_scripts_survive() -> None:
    joined = join_frames(word("\ud83d") + word("\ude00") + word("日本\u2028"))
    [line] = [one for one in joined.split(b"\n\n") if one]
    assert json.loads(line[6:])["choices"][0]["delta"]["content"] == "😀日本\u2028", "a pair cut in two is whole again"


def test_the_joined_frame_keeps_the_first_ones_facts() -> None:
    joined = json.loads(join_frames(word("a") + word("b"))[6:])
    assert joined == chunk({"content": "ab"})


# --- the stream -----------------------------------------------------------------------------------------------------


class Pieces(httpx.AsyncByteStream):
    """An answer's body: the given pieces, then an error where there is one. Waits at every `None` until told on."""

    def __init__(self, pieces: Iterable[bytes | None], error: Exception | None = None) -> None:
        self._pieces, self._error = list(pieces), error
        self.go_on = asyncio.Event()
        self.taken = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if piece is None:
                await self.go_on.wait()
                continue
            self.taken += len(piece)
            yield piece
            await asyncio.sleep(0)
        if self._error:
            raise self._error

    async def aclose(self) -> None:
        self.closed = True


class Endless(Pieces):
    """An answer's body that goes on without another piece."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in super().__aiter__():
            yield piece
        await asyncio.Event().wait()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if end > start]


async def collect(inner: Pieces, interval: float = 0.0) -> list[bytes]:
    stream = JoinedStream(inner, lambda: interval)
    try:
        return [piece async for piece in stream]
    finally:
        await stream.aclose()


@settings(max_examples=60, deadline=None)
@given(frames, st.lists(st.integers(0, 5000), max_size=12), st.sampled_from([0.0, 0.001]), st.booleans())
def test_however_the_bytes_are_split_the_stream_tells_the_same(
    stream: list[bytes], places: list[int], interval: float, crlf: bool
) -> None:
    data = b"".join([*stream, DONE])
    sent = data.replace(b"\n", b"\r\n") if crlf else data
    got = b"".join(asyncio.run(collect(Pieces(cut(sent, places)), interval))).replace(b"\r\n", b"\n")
    assert read(got) == read(data)


@settings(max_examples=40, deadline=None)
@given(frames, st.binary(max_size=20), st.lists(st.integers(0, 5000), max_size=8))
def test_a_stream_that_ends_anywhere_loses_nothing(stream: list[bytes], tail: bytes, places: list[int]) -> None:
    tail = tail.replace(b"\n", b"").replace(b"\r", b"")
    data = b"".join(stream) + tail
    got = b"".join(asyncio.run(collect(Pieces(cut(data, places)))))
    whole, _, rest = got.rpartition(b"\n\n")
    assert rest == data.rpartition(b"\n\n")[2]
    assert read(whole) == read(data.rpartition(b"\n\n")[0])


def run(test: Callable[[], Any]) -> None:
    asyncio.run(asyncio.wait_for(test(), 10))


@pytest.mark.parametrize("opening", [frame(chunk({"role": "assistant", "content": ""})), b": ping\n\n"])
def test_an_opening_without_a_word_does_not_hold_up_the_first_one(opening: bytes) -> None:
    async def test() -> None:
        inner = Endless([opening, None, word("one ")])
        stream = JoinedStream(inner, lambda: 3600.0)
        found = aiter(stream)
        async with asyncio.timeout(5):
            assert await anext(found) == opening
            inner.go_on.set()
            assert await anext(found) == word("one ")
        await stream.aclose()

    run(test)


def test_the_first_words_come_at_once_and_the_next_together() -> None:
    async def test() -> None:
        inner = Pieces([word("first"), None, word("a"), word("b"), DONE])
        stream = JoinedStream(inner, lambda: 3600.0)
        iterator = aiter(stream)
        assert await anext(iterator) == word("first"), "before anything else has come, and without waiting"
        inner.go_on.set()
        assert read(await anext(iterator))[0] == ("content", "ab"), "the end does not wait for the interval"
        await stream.aclose()

    run(test)


def test_words_before_a_failure_come_before_it() -> None:
    async def test() -> None:
        stream = JoinedStream(Pieces([word("a"), word("b"), b'data: {"cho'], httpx.ReadError("cut")), lambda: 3600.0)
        got, failure = b"", ""
        try:
            async for piece in stream:
                got += piece
        except httpx.ReadError as error:
            failure = str(error)
        assert failure == "cut"
        assert got.endswith(b'\n\ndata: {"cho')
        assert read(got.rpartition(b"\n\n")[0]) == [("content", "ab")]
        await stream.aclose()

    run(test)


def test_an_empty_body_ends_at_once() -> None:
    assert asyncio.run(collect(Pieces([]))) == []


def test_closing_ends_the_reader_and_the_connection() -> None:
    async def test() -> None:
        inner = Pieces([word("a"), None])
        stream = JoinedStream(inner, lambda: 0.0)
        await anext(aiter(stream))
        await stream.aclose()
        assert inner.closed
        assert stream._reader is not None
        assert stream._reader.cancelled()

    run(test)


def test_closing_before_the_first_byte_is_asked_for() -> None:
    async def test() -> None:
        inner = Pieces([word("a")])
        await JoinedStream(inner, lambda: 0.0).aclose()
        assert inner.closed

    run(test)


def test_a_provider_that_is_too_fast_waits_for_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr(joining, "_MAX_PENDING", 1000)
        piece = word("x" * 100)
        inner = Pieces([piece] * 200)
        stream = JoinedStream(inner, lambda: 0.0)
        iterator = aiter(stream)
        got = await anext(iterator)
        for _ in range(50):
            await asyncio.sleep(0)
        assert inner.taken <= len(got) + 1000 + 3 * len(piece), "it was made to wait"
        async for more in iterator:
            got += more
        assert b"".join(str(text).encode() for kind, text in read(got) if kind == "content") == b"x" * 20_000
        await stream.aclose()

    run(test)


def test_one_frame_larger_than_the_bound_does_not_stop_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "_MAX_PENDING", 1000)
    data = word("y" * 10_000) + word("z") + DONE
    pieces = [data[start : start + 300] for start in range(0, len(data), 300)]

    async def test() -> None:
        got = b"".join(await collect(Pieces(pieces)))
        assert read(got)[0] == ("content", "y" * 10_000 + "z")

    run(test)


# --- the client -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "joined"),
    [
        (200, {"content-type": "text/event-stream; charset=utf-8"}, True),
        (200, {"content-type": "application/json"}, False),
        (500, {"content-type": "text/event-stream"}, False),
        (200, {"content-type": "text/event-stream", "content-encoding": "x-unknown"}, False),
    ],
)
def test_only_plain_event_streams_are_joined(status: int, headers: dict[str, str], joined: bool) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=headers, stream=Pieces([word("a") + word("b") + DONE]))

    async def test() -> None:
        async with (
            JoiningClient(lambda: 0.0, transport=httpx.MockTransport(answer)) as client,
            client.stream("POST", "http://provider.invalid/v1") as response,
        ):
            body = b"".join([piece async for piece in response.aiter_raw()])
        assert (b'"ab"' in body) == joined

    run(test)
