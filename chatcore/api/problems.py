"""Every error as an answer: RFC 9457 problems under `/api`, OpenAI's shape under `/v1`."""

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from chatcore import errors
from chatcore.api.bodies import Stalled
from chatcore.errors import ChatcoreError

log = logging.getLogger(__name__)

_METHODS: Final = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_SAID: Final = 5  # faults that stand in the sentence
_LISTED: Final = 100  # and in the list
_OTHER: Final = {
    404: "There is nothing at this address.", 405: "This address does not take that method.",
    400: "The request makes no sense.",
}  # fmt: skip
Answer = Callable[..., Response]
Shape = Callable[[str], Answer]
"""From a path to what makes an error's answer there."""

_STATUS: Final[tuple[tuple[type[ChatcoreError], int], ...]] = (  # the first that fits
    (errors.TooManyAttempts, 429), (errors.Unauthorized, 401), (errors.Forbidden, 403), (errors.NotFound, 404),
    (errors.Conflict, 409), (errors.InvalidInput, 422), (errors.LimitExceeded, 429), (errors.BudgetExceeded, 402),
    (errors.Draining, 503), (errors.DatabaseError, 503), (errors.ContextTooLong, 400), (errors.RefusedContent, 400),
    (errors.ModelUnavailable, 404), (errors.RateLimited, 429), (errors.BreakerOpen, 503), (errors.ProviderTimeout, 504),
    (errors.ProviderError, 502),
)  # fmt: skip


def status_of(error: ChatcoreError) -> int:
    """The HTTP status of an error of ours."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def headers_of(error: ChatcoreError) -> dict[str, str]:
    """`Retry-After`, in whole seconds, where the error knows it."""
    seconds = getattr(error, "retry_after", None)
    found = {} if seconds is None else {"Retry-After": str(max(1, round(seconds)))}
    return found | ({"WWW-Authenticate": "Bearer"} if status_of(error) == 401 else {})


def problem(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """An RFC 9457 problem. `code`: a word that stays; `detail`: a sentence for a person."""
    body = {"type": f"urn:chatcore:{code}", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse({**body, "code": code, **more}, status, headers, media_type="application/problem+json")


def install(app: FastAPI, shape: Shape) -> None:
    """Answer every error of the app in the shape of its path."""

    @app.exception_handler(ChatcoreError)
    async def ours(request: Request, error: ChatcoreError) -> Response:
        return shape(request.url.path)(status_of(error), error.code, str(error), headers_of(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        found = [{"field": _field(one["loc"]), "message": one["msg"]} for one in error.errors()]
        detail = "; ".join(f"`{one['field']}`: {one['message']}" for one in found[:_SAID])
        return shape(request.url.path)(422, "invalid_input", detail, {}, errors=found[:_LISTED])

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        status, headers = HTTPStatus(error.status_code), dict(error.headers or {})
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_methods(app, request))
        detail = _OTHER.get(status, f"{status.phrase}.")
        return shape(request.url.path)(status, status.phrase.lower().replace(" ", "_"), detail, headers)

    @app.exception_handler(Exception)
    async def defect(request: Request, error: Exception) -> Response:
        if isinstance(error, Stalled):  # nobody reads this either
            return Response(status_code=HTTPStatus.REQUEST_TIMEOUT)
        log.error("a request failed in our own code", exc_info=error)
        return shape(request.url.path)(500, "internal", "Something went wrong on our side. Try again.", {})


def _methods(app: FastAPI, request: Request) -> list[str]:
    """All methods that a path takes: each route knows its own alone."""
    return [
        method for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in app.routes)
    ]  # fmt: skip


def _field(where: tuple[int | str, ...]) -> str:
    """`body.messages.0.id` as `messages.0.id`."""
    parts = [str(part) for part in where]
    return ".".join(parts[1:] if len(parts) > 1 and parts[0] in ("body", "query", "path", "header") else parts)
