"""What the routes that stream a file have in common: who asks, from where, and that they still may while it is written.

Handing a file out is noted in the audit log, so these requests change something, although they are GET.
"""

from collections.abc import Iterator
from typing import Final, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse

from chatcore.accounts import Principal
from chatcore.api.middleware import SESSION_HEADER
from chatcore.api.parts import Parts
from chatcore.api.session import is_same_origin
from chatcore.errors import ChatcoreError, DatabaseError, Forbidden, InvalidInput, Unauthorized

Piece = TypeVar("Piece")
_STATUS: Final[dict[type[ChatcoreError], int]] = {
    Unauthorized: 401, Forbidden: 403, InvalidInput: 422, DatabaseError: 503,
}  # fmt: skip


def require_ours(core: Parts, request: Request) -> None:
    """Raises `Forbidden` where another site made a browser ask."""
    if not is_same_origin(request, core.settings.public_url):
        raise Forbidden("This request came from another site. Open Chatcore, then ask for the file there.")


def asker(core: Parts, request: Request) -> Principal:
    """Who asks. Raises `Unauthorized`."""
    session_id = request.headers.get(SESSION_HEADER.decode(), "")
    principal = core.accounts.principal(session_id) if session_id else None
    if principal is None:
        raise Unauthorized("You are not signed in. Sign in, then ask for the file again.")
    return principal


def while_allowed(core: Parts, principal: Principal, pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The pieces, until the asker has signed out, was shut out, or has another role.

    Raises `Unauthorized` then: the connection breaks off, so that nobody takes a part of the file for the whole.
    """
    while True:
        now = core.accounts.principal(principal.session_id or "")
        if now is None or (now.tenant_id, now.role) != (principal.tenant_id, principal.role):
            raise Unauthorized("You were signed out, or your role has changed. Sign in, then ask for the file again.")
        try:
            piece = next(pieces)
        except StopIteration:
            return
        yield piece


def refusal(error: ChatcoreError) -> JSONResponse:
    """The error as an answer, with its sentence."""
    return JSONResponse({"error": {"code": error.code, "message": str(error)}}, _STATUS.get(type(error), 500))
