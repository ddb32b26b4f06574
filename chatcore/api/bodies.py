"""A guard in front of the API that reads each body: its size, its time, its encoding, its depth, its names.

FastAPI bounds none of these. What passes is whole, in memory once, and valid JSON; nothing else reaches a schema.
"""

import asyncio
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SMALL: Final = 2**20  # bytes
LARGE: Final = 32 * 2**20  # where pictures and sound come along in base64
MAX_DEPTH: Final = 64
_WITHIN: Final = 30.0  # seconds for the whole body
_TAKEN_WITHIN: Final = 120.0  # seconds until a reader takes the next piece
_MANY: Final = 64  # bodies above `SMALL` that are read at once
_PARSED_HERE: Final = 64 * 1024  # bytes; a longer body is parsed in a thread
_ESCAPED_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS", "DELETE", "TRACE"})

log = logging.getLogger(__name__)

Refuse = Callable[[Request, int, str, str, dict[str, str]], Response]


class Refused(Exception):
    """A body that is not read, or not taken."""

    def __init__(self, status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.headers = status, code, detail, headers or {}


class Stalled(Exception):
    """The client takes nothing of its answer any more."""


class BodyGuard:
    """ASGI. `large`: says of a path whether its bodies may be `LARGE`. `refuse`: makes the answer."""

    def __init__(self, app: ASGIApp, large: Callable[[str], bool], refuse: Refuse) -> None:
        self._app = app
        self._large = large
        self._refuse = refuse
        self._reading = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _BODILESS:
            await self._answered(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
            if body:
                await _check(body)
        except Refused as error:
            answer = self._refuse(Request(scope), error.status, error.code, error.detail, error.headers)
            await answer(scope, receive, send)
            return
        except ConnectionResetError:  # the client left in the middle of its own words
            return
        await self._answered(scope, _again(body, receive), send)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer whoever reads: one that takes nothing for minutes would hold what waits to be sent, and is left."""

        async def bounded(message: Message) -> None:
            try:
                async with asyncio.timeout(_TAKEN_WITHIN):
                    await send(message)
            except TimeoutError:
                raise Stalled from None

        try:
            await self._app(scope, receive, bounded)
        except Stalled:
            log.info("a reader took nothing for %d seconds and was left", _TAKEN_WITHIN)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        headers, most = Headers(scope=scope), LARGE if self._large(scope["path"]) else SMALL
        length = _length(headers)
        if length > most:
            raise _too_large(most)
        if length or "transfer-encoding" in headers:
            _require_json(headers)
        if length <= SMALL and "transfer-encoding" not in headers:
            return await _whole(receive, most)
        if self._reading >= _MANY:
            raise Refused(503, "busy", "Too many large requests at once. Try again in a moment.", {"Retry-After": "1"})
        self._reading += 1
        try:
            return await _whole(receive, most)
        finally:
            self._reading -= 1


def _length(headers: Headers) -> int:
    said = headers.get("content-length", "0")
    if not said.isascii() or not said.isdigit():
        raise Refused(400, "bad_request", "The header Content-Length is no number.")
    return int(said[:20])


def _require_json(headers: Headers) -> None:
    kind, _, more = headers.get("content-type", "").partition(";")
    charset = more.strip().lower().replace('"', "").removeprefix("charset=")
    if kind.strip().lower() != "application/json" or charset not in ("", "utf-8", "utf8"):
        raise Refused(415, "unsupported_media_type", "Send JSON in UTF-8, with `Content-Type: application/json`.")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "unsupported_media_type", "Send the body as it is, without Content-Encoding.")


async def _whole(receive: Receive, most: int) -> bytes:
    pieces, size = [], 0
    try:
        async with asyncio.timeout(_WITHIN):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionResetError
                piece = message.get("body", b"")
                size += len(piece)
                if size > most:
                    raise _too_large(most)
                pieces.append(piece)
                if not message.get("more_body"):
                    return b"".join(pieces)
    except TimeoutError:
        raise Refused(
            408, "request_timeout", f"The body did not come within {_WITHIN:.0f} seconds. Send it again.",
            {"Connection": "close"},
        ) from None  # fmt: skip


def _too_large(most: int) -> Refused:
    return Refused(413, "too_large", f"The body is larger than {most // 2**20} MB.", {"Connection": "close"})


async def _check(body: bytes) -> None:
    if len(body) > _PARSED_HERE:
        await asyncio.to_thread(check, body)
    else:
        check(body)


def check(body: bytes) -> None:
    """Raises `Refused` unless `body` is JSON that every reader understands alike."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(400, "bad_json", "The body is not UTF-8.") from None
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as error:
        raise Refused(400, "bad_json", f"The body is no JSON: {error.msg} at character {error.pos}.") from None
    except ValueError:
        raise Refused(400, "bad_json", "The body has a number that is too long.") from None
    _require_shallow(value)
    if _ESCAPED_SURROGATE.search(text):
        _require_whole_characters(value)


def _require_whole_characters(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Refused(400, "bad_json", "The body has half a character: a surrogate without its other half.") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise Refused(400, "bad_json", f"The name `{twice[:100]}` stands twice in one object.")
    return found


def _no_constant(name: str) -> float:
    raise Refused(400, "bad_json", f"{name} is no number in JSON.")


def _finite(said: str) -> float:
    number = float(said)
    if not math.isfinite(number):
        raise Refused(400, "bad_json", "The body has a number that is too large.")
    return number


def _require_shallow(value: Any) -> None:
    level: Iterable[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return
    raise _too_deep()


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _too_deep() -> Refused:
    return Refused(400, "bad_json", f"The body is nested more than {MAX_DEPTH} levels deep.")


def _again(body: bytes, receive: Receive) -> Receive:
    """The body that was read, then whatever comes after it: the client's leaving."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
