"""Who is calling, worked out once for each request and each websocket, and handed on in two headers.

Streamlit turns `X-Chatcore-Session` and `X-Chatcore-Address` into `st.user` (`server.trustedUserHeaders`), so this
middleware takes away whatever a client sends under such names. It is plain ASGI, as it must see websockets too.
"""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatcore.api.addresses import client_address, forwarded_hops, is_trusted, peer
from chatcore.api.parts import Parts
from chatcore.errors import DatabaseError

COOKIE: Final = "chatcore_session"
SESSION_HEADER: Final = b"x-chatcore-session"
ADDRESS_HEADER: Final = b"x-chatcore-address"

_OUR_PREFIX: Final = b"x-chatcore-"
_OUR_PATHS: Final = ("/session/", "/api/", "/v1/")
# Streamlit answers these to anybody: strangers could fill the memory with uploads, and read metrics and downloads.
_SIGNED_IN_ONLY: Final = ("/_stcore/upload_file", "/_stcore/metrics", "/media/")
_PICTURES: Final = (".png", ".svg")  # the sign-in page's own, served from /media/ too
_MAX_COOKIES: Final = 3  # more of the same name than this is nobody's browser
_SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    # Images only from here: one that a reply names elsewhere would carry words of the conversation away in its address.
    (b"content-security-policy", b"frame-ancestors 'self'; img-src 'self' data: blob:"),
    (b"referrer-policy", b"same-origin"),
)


def middleware(core: Parts, base_path: str = "") -> list[Middleware]:
    """For `st.App(middleware=…)`."""
    return [Middleware(CallerMiddleware, core=core, base_path=base_path)]


class CallerMiddleware:
    """Sets the two headers, and security headers on each HTTP response."""

    def __init__(self, app: ASGIApp, core: Parts, base_path: str = "") -> None:
        """`base_path`: Streamlit's `server.baseUrlPath`, with or without slashes around it."""
        self._app = app
        self._core = core
        self._base = f"/{base_path.strip('/')}" if base_path.strip("/") else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._caller(scope)
        except (SQLAlchemyError, DatabaseError):
            await _unavailable(scope, receive, send)
            return
        if self._is_closed(scope, caller):
            await Response(status_code=403)(scope, receive, send)
            return
        forwarded = self._scheme(scope) | {"headers": [*_without_ours(scope["headers"]), *caller]}
        await self._app({**scope, **forwarded}, receive, _secured(send) if scope["type"] == "http" else send)

    async def _caller(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """Our headers. Only a websocket and our own routes cost a look into the database."""
        address = client_address(dict(scope), self._core.settings.trusted_proxies)
        headers = [(ADDRESS_HEADER, address.encode("latin-1"))]
        path = self._path(scope)
        if scope["type"] == "websocket" or path.startswith((*_OUR_PATHS, *_SIGNED_IN_ONLY)):
            for token in cookie_values(scope["headers"])[:_MAX_COOKIES]:
                session_id = await self._core.accounts.session_for_token(token)
                if session_id is not None:
                    return [*headers, (SESSION_HEADER, session_id.encode())]
        return headers

    def _path(self, scope: Scope) -> str:
        path: str = scope["path"]
        return path.removeprefix(self._base)

    def _is_closed(self, scope: Scope, caller: list[tuple[bytes, bytes]]) -> bool:
        """Whether nobody is signed in for what is there for signed-in people only."""
        path = self._path(scope)
        closed = path.startswith(_SIGNED_IN_ONLY) and not path.endswith(_PICTURES)
        return closed and all(name != SESSION_HEADER for name, _ in caller)

    def _scheme(self, scope: Scope) -> dict[str, Any]:
        """What a trusted proxy says about the scheme: it decides whether the cookie is for https only."""
        who = peer(dict(scope), forwarded_hops(dict(scope)))
        said = [value for name, value in scope["headers"] if name == b"x-forwarded-proto"]
        if who is None or not said or not is_trusted(who, self._core.settings.trusted_proxies):
            return {}
        secure = said[-1].strip().lower() in (b"https", b"wss")
        return {"scheme": {"http": ("http", "https"), "websocket": ("ws", "wss")}[scope["type"]][secure]}


def cookie_values(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """The values of our cookie, the most specific path first, as browsers send them."""
    found = []
    for name, value in headers:
        if name == b"cookie":
            pairs = (part.strip().partition("=") for part in value.decode("latin-1").split(";"))
            found += [text for key, _, text in pairs if key == COOKIE and text]
    return found


def _without_ours(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Some servers in front turn `_` into `-`, so both spellings go."""
    return [(name, value) for name, value in headers if not name.lower().replace(b"_", b"-").startswith(_OUR_PREFIX)]


def _secured(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message.get("headers", [])}
            added = [header for header in _SECURITY_HEADERS if header[0] not in present]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await send(message)

    return with_headers


async def _unavailable(scope: Scope, receive: Receive, send: Send) -> None:
    """The database does not answer: say so, rather than show a signed-in person the sign-in form."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1013})
        return
    response = JSONResponse({"error": {"code": "database", "message": "The database does not answer."}}, 503)
    await response(scope, receive, send)
