"""Who calls the HTTP API, and what they may do: by an API key, or by the browser session of a page of ours."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from starlette.requests import Request

from chatcore.accounts import Principal
from chatcore.accounts.keys import SCOPES, Scope
from chatcore.api.middleware import SESSION_HEADER
from chatcore.api.parts import Parts
from chatcore.api.session import is_same_origin
from chatcore.errors import Forbidden, Unauthorized

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_NOBODY: Final = "Send an API key as `Authorization: Bearer <key>`, or sign in."


@dataclass(frozen=True)
class Caller:
    """Who asks, and the scopes of their key; a browser session has them all.

    Without the scope `admin` an admin's key sees what a member sees: `principal.role` is lowered accordingly.
    """

    principal: Principal
    scopes: frozenset[Scope]

    def require(self, scope: Scope) -> None:
        """Raises `Forbidden` where the key has not this scope."""
        if scope not in self.scopes:
            raise Forbidden(f"This API key has not the scope `{scope}`. Make one that has, on the account page.")


def needs(core: Parts, scope: Scope) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency: the caller, who has this scope. Raises `Unauthorized`, `Forbidden`."""

    async def caller(request: Request) -> Caller:
        found = await asyncio.to_thread(_found, core, request)
        found.require(scope)
        return found

    return caller


def _found(core: Parts, request: Request) -> Caller:
    said = request.headers.get("authorization", "")
    if said:
        kind, _, key = said.partition(" ")
        if kind.lower() != "bearer" or not key.strip():
            raise Unauthorized(_NOBODY)
        principal, scopes = core.accounts.caller_for_key(key.strip())
        return Caller(_lowered(principal, scopes), scopes)
    session_id = request.headers.get(SESSION_HEADER.decode(), "")
    signed_in = core.accounts.principal(session_id) if session_id else None
    if signed_in is None:
        raise Unauthorized(_NOBODY)
    if request.method not in _SAFE and not is_same_origin(request, core.settings.public_url):
        raise Forbidden("This request came from another site. A program that is no page of ours needs an API key.")
    return Caller(signed_in, frozenset(SCOPES))


def _lowered(principal: Principal, scopes: frozenset[Scope]) -> Principal:
    return principal if "admin" in scopes else replace(principal, role="member")
