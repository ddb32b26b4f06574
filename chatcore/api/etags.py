"""Reads that a client need not have again: a strong tag of the body, and 304 where it has that already."""

import hashlib

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response


def tagged(request: Request, answer: BaseModel) -> Response:
    """The answer as JSON with its tag; nothing but the tag where `If-None-Match` names it."""
    body = answer.model_dump_json(by_alias=True).encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}
    known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")
