"""`GET /api/v1/chat/{id}/export`: a conversation as a file."""

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from chatcore.api.callers import Caller, needs
from chatcore.api.parts import Parts
from chatcore.api.schemas import Id

_FILES = {
    200: {
        "description": "The file.",
        "content": {
            "text/markdown": {"schema": {"type": "string"}},
            "application/json": {"schema": {"type": "object"}},
            "application/pdf": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


def router(core: Parts) -> APIRouter:
    """The route."""
    found = APIRouter(tags=["Conversations"])
    reader = Depends(needs(core, "read"))

    @found.get("/api/v1/chat/{id}/export", summary="Export a conversation", responses=_FILES, response_class=Response)  # type: ignore[arg-type]
    def export(
        id: Annotated[Id, Path(description="The id of a conversation of mine.")],
        caller: Annotated[Caller, reader],
        format: Annotated[Literal["markdown", "json", "pdf"], Query()] = "markdown",
    ) -> Response:
        """The visible branch as Markdown or PDF, which takes seconds; all of it as JSON, as the import takes it."""
        make = {"markdown": core.exports.markdown, "json": core.exports.json, "pdf": core.exports.pdf}[format]
        file = make(caller.principal, id)
        name = f"attachment; filename*=UTF-8''{quote(file.name)}"
        headers = {"Content-Disposition": name, "Cache-Control": "private, no-store"}
        return Response(file.data, headers=headers, media_type=file.media_type)

    return found
