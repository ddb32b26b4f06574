"""`GET /api/v1/search`: where words stand in one's own conversations."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from chatcore.api.callers import Caller, needs
from chatcore.api.conversation_schemas import stamp
from chatcore.api.etags import tagged
from chatcore.api.parts import Parts
from chatcore.api.schemas import Answer, Id
from chatcore.conversations.history import Filters, Hit


class Piece(Answer):
    """A piece of the text around a hit."""

    text: str
    hit: bool


class HitAnswer(Answer):
    """A place where the words stand. `messageId`, `role`: null for a title."""

    conversation_id: str
    title: str
    message_id: str | None
    role: str | None
    created_at: str
    archived: bool
    snippet: list[Piece]


class FoundAnswer(Answer):
    """The hits, titles first, then the best messages. `capped`: there are more, and of the messages these are new."""

    hits: list[HitAnswer]
    capped: bool


def router(core: Parts) -> APIRouter:
    """The route."""
    found = APIRouter(tags=["Conversations"])
    reader = Depends(needs(core, "read"))

    @found.get("/api/v1/search", summary="Search my conversations", response_model=FoundAnswer)
    def search(
        request: Request,
        caller: Annotated[Caller, reader],
        q: Annotated[str, Query(min_length=1, max_length=500, description="Words; a phrase in quotation marks.")],
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        model: Annotated[Id | None, Query(description="Only conversations last asked of this model.")] = None,
    ) -> Response:
        """Titles and messages, in any script; see the history page."""
        answer = core.history.find(caller.principal, q, Filters(model=model), limit)
        return tagged(request, FoundAnswer(hits=[_hit(one) for one in answer.hits], capped=answer.capped))

    return found


def _hit(one: Hit) -> HitAnswer:
    return HitAnswer(
        conversation_id=one.conversation_id, title=one.title, message_id=one.message_id, role=one.role,
        created_at=stamp(one.created_at), archived=one.archived,
        snippet=[Piece(text=text, hit=hit) for text, hit in one.snippet],
    )  # fmt: skip
