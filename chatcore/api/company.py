"""Signing in with a company's account: what stands around the two routes that Streamlit answers for `st.login`.

Streamlit would put what the identity provider says about somebody into cookies of its own, which stay for 30 days and,
with many groups, grow beyond what a browser sends. Here its answer is taken on its way out: the claims become our own
session cookie, once, and none of Streamlit's is set. What fails leads to the sign-in page with a word that says why.
"""

import logging
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from sqlalchemy.exc import SQLAlchemyError
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatcore.api.middleware import ADDRESS_HEADER
from chatcore.api.parts import Parts
from chatcore.api.session import safe_path, set_cookie
from chatcore.errors import DatabaseError, SignInRefused, Unauthorized

log = logging.getLogger(__name__)

ReadClaims = Callable[[Mapping[str, str]], Mapping[str, Any] | None]
"""From Streamlit's cookies, by name, to the claims inside; None where there are none."""

NEXT: Final = "chatcore_next"
_LOGIN: Final = "/auth/login"
_CALLBACK: Final = "/oauth2callback"
_THEIRS: Final = "_streamlit_user"  # and `_streamlit_user_1`, `_streamlit_user_tokens`, ...
_NOT_KEPT: Final = frozenset({"setup", "invite", "reset", "sign_in", "password"})
_LONGEST_NEXT: Final = 1500  # characters; a browser keeps 4096 bytes of a cookie
_NEXT_SECONDS: Final = 600
_BY_THEM: Final = ("access_denied", "consent_required", "login_required", "interaction_required")


def company_middleware(core: Parts, base_path: str, read_claims: ReadClaims) -> list[Middleware]:
    """For `st.App(middleware=…)`, behind our own; nothing where no identity provider is configured."""
    if core.settings.own.oidc is None:
        return []
    return [Middleware(CompanyMiddleware, core=core, base_path=base_path, read_claims=read_claims)]


class CompanyMiddleware:
    """Stands around `/auth/login` and `/oauth2callback`; everything else passes."""

    def __init__(self, app: ASGIApp, core: Parts, base_path: str, read_claims: ReadClaims) -> None:
        """`base_path`: Streamlit's `server.baseUrlPath`, with or without slashes around it."""
        self._app = app
        self._core = core
        self._base = f"/{base_path.strip('/')}" if base_path.strip("/") else ""
        self._read_claims = read_claims

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(self._base) if scope["type"] == "http" else ""
        if path not in (_LOGIN, _CALLBACK):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        answered = await self._answered(scope, receive)
        response = self._login(request, answered) if path == _LOGIN else await self._callback(request, answered)
        for cookie in answered.kept_cookies:
            response.raw_headers.append((b"set-cookie", cookie))
        await response(scope, receive, send)

    async def _answered(self, scope: Scope, receive: Receive) -> "_Answered":
        """What Streamlit would have sent. Its answers here are redirects or a sentence: no body is used."""
        answered = _Answered()
        try:
            await self._app(scope, receive, answered.take)
        except Exception as error:  # noqa: BLE001 - a wrong setting or a strange provider; the person reads a sentence
            log.warning("signing in with the identity provider failed", extra={"error": type(error).__name__})
        return answered

    def _login(self, request: Request, answered: "_Answered") -> RedirectResponse:
        """On to the identity provider, with where the person wanted to go in a cookie."""
        if not answered.location.startswith(("https://", "http://")):
            # Streamlit sends back to the start who comes with an old address, and says 400 where no provider answers.
            return self._refused("stale" if answered.location else "unavailable")
        response = _redirect(answered.location)
        wanted = quote(self._wanted(request), safe="")
        if len(wanted) <= _LONGEST_NEXT:
            response.set_cookie(
                NEXT, wanted, max_age=_NEXT_SECONDS, path=self._base or "/", httponly=True, samesite="lax"
            )
        return response

    def _wanted(self, request: Request) -> str:
        """The page of ours whose button was pressed."""
        came_from = urlsplit(request.headers.get("referer", ""))
        public = urlsplit(self._core.settings.public_url or "").netloc
        if came_from.netloc not in (request.headers.get("host", ""), public) or not came_from.netloc:
            return "/"
        kept = [(name, value) for name, value in parse_qsl(came_from.query) if name not in _NOT_KEPT]
        path = came_from.path.removeprefix(self._base) or "/"
        return safe_path(f"{path}?{urlencode(kept)}" if kept else path)

    async def _callback(self, request: Request, answered: "_Answered") -> RedirectResponse:
        error = request.query_params.get("error")
        if error:
            return self._refused("cancelled" if error in _BY_THEM else "provider")
        said = self._read_claims(answered.their_cookies)
        if said is None:  # Streamlit takes its cookies away where the provider refused the code or signed wrongly
            return self._refused("provider" if answered.has_theirs or not answered.location else "stale")
        agent, address = request.headers.get("user-agent", ""), request.headers.get(ADDRESS_HEADER.decode(), "")
        try:
            token, expires_at = await self._core.accounts.enter_by_company(said, agent, address)
        except SignInRefused as refusal:
            return self._refused(refusal.reason)
        except (SQLAlchemyError, DatabaseError, Unauthorized):
            log.warning("a company's sign-in could not be stored", exc_info=True)
            return self._refused("again")
        response = _redirect(self._base + safe_path(unquote(request.cookies.get(NEXT, ""))))
        response.delete_cookie(NEXT, path=self._base or "/", httponly=True, samesite="lax")
        set_cookie(response, token, expires_at, self._base, secure=request.url.scheme == "https")
        return response

    def _refused(self, reason: str) -> RedirectResponse:
        log.info("a company's sign-in was refused", extra={"reason": reason})
        return _redirect(f"{self._base}/?{urlencode({'sign_in': reason})}")


class _Answered:
    """An answer that is looked at in place of being sent."""

    def __init__(self) -> None:
        self.location = ""
        self.their_cookies: dict[str, str] = {}
        self.has_theirs = False
        self.kept_cookies: list[bytes] = []

    async def take(self, message: Message) -> None:
        if message["type"] != "http.response.start":
            return
        for name, value in message.get("headers", []):
            if name.lower() == b"location":
                self.location = value.decode("latin-1")
            elif name.lower() == b"set-cookie":
                self._take_cookie(value)

    def _take_cookie(self, value: bytes) -> None:
        """Theirs for us to read, and what keeps the state between their two routes for the browser."""
        if not value.startswith(_THEIRS.encode()):
            self.kept_cookies.append(value)
            return
        self.has_theirs = True
        try:
            cookies: SimpleCookie = SimpleCookie(value.decode("latin-1"))
        except CookieError:
            return
        self.their_cookies |= {name: morsel.value for name, morsel in cookies.items() if morsel.value}


def _redirect(url: str) -> RedirectResponse:
    return RedirectResponse(url, 303, headers={"Cache-Control": "no-store"})
