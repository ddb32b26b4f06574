"""The guard in front of the API: what it lets through, and with which words it refuses the rest."""

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.responses import StreamingResponse

from chatcore.api import bodies
from chatcore.api.app import guarded
from chatcore.api.bodies import MAX_DEPTH, SMALL, BodyGuard, Refused, check
from chatcore.api.problems import problem

JSON = {"content-type": "application/json"}
TWO_BYTES = [(b"content-length", b"2"), (b"content-type", b"application/json")]


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


def guard(large: bool = False) -> httpx.Client:
    app = BodyGuard(_echo, lambda _: large, lambda _request, *said: problem(*said))
    return _client(app)


def _client(app: Any) -> Any:
    class Client:
        def post(self, path: str = "/", **more: Any) -> httpx.Response:
            async def ask() -> httpx.Response:
                transport = httpx.ASGITransport(app, raise_app_exceptions=False)
                async with httpx.AsyncClient(transport=transport, base_url="http://chat") as http:
                    return await http.request(more.pop("method", "POST"), path, **more)

            return asyncio.run(ask())

    return Client()


@pytest.fixture
def app() -> Any:
    return _client(guarded(SimpleNamespace(settings=SimpleNamespace(public_url=None)), "/chat"))  # type: ignore[arg-type]


def test_what_is_json_comes_through_as_it_was_sent() -> None:
    body = json.dumps({"a": [1, 2.5, None, True, {"b": "ä\ud83d\ude00"}]}).encode()
    answer = guard().post(content=body, headers={"content-type": "application/json; charset=utf-8"})
    assert (answer.status_code, answer.content) == (200, body)


def test_nothing_is_a_body_too() -> None:
    assert guard().post().status_code == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "no JSON"),
        (b'{"a": 1} x', "no JSON"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        ("\ufeff{}".encode(), "no JSON"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": ' + b"1" * 5_000 + b"}", "too long"),
        (b'{"x": {"role": 1, "role": 2}}', "`role` stands twice"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "64 levels"),
        (b"[" * 10_000 + b"]" * 10_000, "64 levels"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "64 levels"),
    ],
    ids=range(12),
)
def test_what_readers_would_read_differently_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(Refused, match=said) as refused:
        check(body)
    assert refused.value.status == 400


def test_as_deep_as_is_allowed_passes() -> None:
    check(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


@pytest.mark.parametrize(
    "headers",
    [{}, {"content-type": "text/plain"}, {"content-type": "application/json; charset=latin-1"},
     {**JSON, "content-encoding": "gzip"}],
)  # fmt: skip
def test_anything_but_plain_json_is_415(headers: dict[str, str]) -> None:
    assert guard().post(content=b"{}", headers=headers).status_code == 415


def test_a_body_that_is_too_large_is_refused_by_what_it_says_of_itself() -> None:
    answer = guard().post(content=b" " * (SMALL + 1), headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert guard(large=True).post(content=b"1" + b" " * SMALL, headers=JSON).status_code == 200


def test_one_that_does_not_say_its_size_is_cut_off_where_it_is_too_large() -> None:
    read = 0

    async def endless() -> Any:
        nonlocal read
        while True:
            read += 65_536
            yield b" " * 65_536

    assert guard().post(content=endless(), headers=JSON).status_code == 413
    assert read <= SMALL + 2 * 65_536


def test_one_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_WITHIN", 0.05)

    async def silent() -> dict[str, Any]:
        await asyncio.sleep(30)
        return {}

    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    app = BodyGuard(_echo, lambda _: False, lambda _request, *said: problem(*said))
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(b"content-length", b"2"), (b"content-type", b"application/json")],
    }
    asyncio.run(app(scope, silent, send))
    assert sent[0]["status"] == 408


def test_a_client_that_leaves_in_the_middle_is_answered_nothing() -> None:
    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    app = BodyGuard(_echo, lambda _: False, lambda _request, *said: problem(*said))
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(b"content-length", b"2"), (b"content-type", b"application/json")],
    }
    asyncio.run(app(scope, gone, send))


def test_a_length_that_is_no_number_is_400() -> None:
    assert guard().post(content=b"{}", headers={**JSON, "content-length": "two"}).status_code == 400


def test_an_address_that_is_not_there_is_a_problem_or_openais_error(app: Any) -> None:
    ours = app.post("/chat/api/nothing", content=b"{}", headers=JSON)
    assert (ours.status_code, ours.headers["content-type"]) == (404, "application/problem+json")
    assert ours.json()["code"] == "not_found"
    theirs = app.post("/chat/v1/nothing", content=b"{}", headers=JSON)
    assert (theirs.status_code, theirs.json()["error"]["type"]) == (404, "not_found_error")


def test_a_method_that_is_not_taken_says_which_are(app: Any) -> None:
    answer = app.post("/chat/api/openapi.json")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


def test_the_description_is_openapi_and_reads_as_a_page_without_scripts(app: Any) -> None:
    assert app.post("/chat/api/openapi.json", method="GET").json()["openapi"] == "3.1.0"
    page = app.post("/chat/api/docs", method="GET")
    assert page.headers["content-type"].startswith("text/html")
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_a_reader_that_takes_nothing_is_left_and_what_answers_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_TAKEN_WITHIN", 0.05)
    seen: list[str] = []

    async def pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            seen.append("closed")

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await StreamingResponse(pieces())(scope, receive, send)

    async def never() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        seen.append(message["type"])
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def ask() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "asgi": {"spec_version": "2.4"}}
        async with asyncio.timeout(20):
            await BodyGuard(endless, lambda _: False, lambda _request, *said: problem(*said))(scope, never, send)

    asyncio.run(ask())
    assert seen == ["http.response.start", "http.response.body", "closed"]
