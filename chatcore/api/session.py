"""The two routes behind signing in and out: a page cannot set an HttpOnly cookie, a route can."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from chatcore.api.middleware import ADDRESS_HEADER, COOKIE, SESSION_HEADER
from chatcore.api.parts import Parts
from chatcore.db.tables import utcnow
from chatcore.errors import Unauthorized

Endpoint = Callable[[Request], Awaitable[Response]]


def enter(core: Parts, base: str) -> Endpoint:
    """`GET /session/enter?ticket=…&next=…`: the ticket becomes our cookie; a bad one leads to the sign-in form."""

    async def endpoint(request: Request) -> Response:
        ticket, agent = request.query_params.get("ticket", ""), request.headers.get("user-agent", "")
        response = _redirect(base + safe_path(request.query_params.get("next", "")))
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return response  # a link on someone else's page must not sign anybody in, least of all as its author
        try:
            token, expires_at = await core.accounts.exchange_ticket(ticket, agent, _header(request, ADDRESS_HEADER))
        except Unauthorized:
            return response
        set_cookie(response, token, expires_at, base, secure=request.url.scheme == "https")
        return response

    return endpoint


def set_cookie(response: Response, token: str, expires_at: datetime, base: str, *, secure: bool) -> None:
    """Put the session cookie on a response. `secure`: for https only."""
    seconds = int((expires_at - utcnow()).total_seconds())
    path = base or "/"
    response.set_cookie(COOKIE, token, max_age=seconds, path=path, secure=secure, httponly=True, samesite="lax")


def leave(core: Parts, base: str) -> Endpoint:
    """`POST /session/leave` ends the session and takes the cookie away. `GET` tidies away a cookie that is dead."""

    async def endpoint(request: Request) -> Response:
        session_id = _header(request, SESSION_HEADER)
        response = _redirect(base + "/")
        if request.method == "POST":
            if not is_same_origin(request, core.settings.public_url):
                message = "This request came from another site."
                return JSONResponse({"error": {"code": "forbidden", "message": message}}, 403)
            if session_id:
                await core.accounts.asign_out(session_id)
        elif session_id:
            return response
        response.delete_cookie(COOKIE, path=base or "/", httponly=True, samesite="lax")
        return response

    return endpoint


def safe_path(wanted: str) -> str:
    """`wanted` where it is a path of ours, with its query; else `/`. Nothing that leads to another host passes."""
    if not wanted.startswith("/") or wanted.startswith("//") or "\\" in wanted or not wanted.isprintable():
        return "/"
    if wanted.startswith("/session/"):
        return "/"
    return wanted


def is_same_origin(request: Request, public_url: str | None) -> bool:
    """Whether a browser sent this from a page of ours. What is no browser sends neither header and is no danger."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site in ("same-origin", "none")
    if origin is None:
        return True
    ours = {request.headers.get("host", "")} | ({urlsplit(public_url).netloc} if public_url else set())
    return urlsplit(origin).netloc in ours


def _header(request: Request, name: bytes) -> str:
    return request.headers.get(name.decode(), "")


def _redirect(url: str) -> RedirectResponse:
    return RedirectResponse(url, 303, headers={"Cache-Control": "no-store"})
