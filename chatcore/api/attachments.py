"""`GET /api/attachments/{id}`: the bytes of an attachment, for whoever may read its message."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from chatcore.api.middleware import SESSION_HEADER
from chatcore.api.parts import Parts
from chatcore.conversations.attachments import Attachment
from chatcore.errors import NotFound

# What a browser may draw or play by itself: nothing in these can run.
_INERT: Final = frozenset(
    {"image/png", "image/jpeg", "image/gif", "image/webp"}
    | {"audio/wav", "audio/mpeg", "audio/mp4", "audio/ogg", "audio/flac", "audio/webm"}
    | {"video/mp4", "video/webm", "video/quicktime", "video/x-matroska"}
)


def attachment(core: Parts) -> Callable[[Request], Awaitable[Response]]:
    """Pictures, sound and videos to look at, all else as a download. `?s=`: a share's token. 404 for nobody, for
    another's and for what does not exist."""

    async def endpoint(request: Request) -> Response:
        session_id = request.headers.get(SESSION_HEADER.decode(), "")
        wanted, token = request.path_params["id"], request.query_params.get("s")
        try:
            found, path = await asyncio.to_thread(_found, core, session_id, wanted, token)
        except NotFound as error:
            return JSONResponse({"error": {"code": error.code, "message": str(error)}}, 404)
        headers = _headers(found)
        if headers["ETag"] in [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
        return FileResponse(path, headers=headers, media_type=_served_as(found))

    return endpoint


def _found(core: Parts, session_id: str, attachment_id: str, token: str | None) -> tuple[Attachment, Path]:
    principal = core.accounts.principal(session_id) if session_id else None
    if principal is None:
        raise NotFound("This file does not exist, or it is not yours.")
    return core.attachments.get(principal, attachment_id, share_token=token)


def _served_as(found: Attachment) -> str:
    if found.media_type in _INERT:
        return found.media_type
    return "text/plain; charset=utf-8" if found.kind == "text" else "application/octet-stream"


def _headers(found: Attachment) -> dict[str, str]:
    """`no-cache`: the browser keeps a copy and asks each time, so that a revoked share shows nothing any more."""
    how = "inline" if found.media_type in _INERT else "attachment"
    return {
        "Content-Disposition": f"{how}; filename*=UTF-8''{quote(found.name, safe='')}",
        "Cache-Control": "private, no-cache",
        "ETag": f'"{found.sha256}"',
        "Content-Security-Policy": "sandbox; default-src 'none'; media-src 'self'; img-src 'self'",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
