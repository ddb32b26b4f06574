"""Errors in OpenAI's shape, for `/v1`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.responses import JSONResponse, Response

_TYPES: Final = {
    400: "invalid_request_error", 401: "authentication_error", 402: "insufficient_quota", 403: "permission_error",
    404: "not_found_error", 409: "conflict_error", 422: "invalid_request_error", 429: "rate_limit_error",
}  # fmt: skip


def body(status: int, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    """The JSON of an error."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def answer(
    status: int,
    code: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    *,
    errors: Sequence[Mapping[str, str]] = (),
) -> Response:
    """An error as an answer. What a schema refuses is 400 here, with the first field as `param`."""
    status = 400 if status == 422 else status
    return JSONResponse(body(status, code, detail, errors[0]["field"] if errors else None), status, headers)
