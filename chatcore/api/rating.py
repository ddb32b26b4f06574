"""`/api/v1/messages/{id}/rating`: one's own stars for a reply."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import Field, StringConstraints

from chatcore.api.callers import Caller, needs
from chatcore.api.parts import Parts
from chatcore.api.schemas import Id, Schema
from chatcore.conversations.ratings import MAX_COMMENT


class RatingBody(Schema):
    """One to five stars. `sendText`: admins may read the question and the reply."""

    stars: Annotated[int, Field(ge=1, le=5, strict=True)]
    comment: Annotated[str, StringConstraints(max_length=MAX_COMMENT)] = ""
    send_text: bool = False


_Reply = Annotated[Id, Path(description="The id of a reply.")]


def router(core: Parts) -> APIRouter:
    """The routes."""
    found = APIRouter(tags=["Conversations"])
    writer = Depends(needs(core, "chat"))

    @found.put("/api/v1/messages/{id}/rating", summary="Rate a reply", status_code=204)
    def rate(id: _Reply, body: RatingBody, caller: Annotated[Caller, writer]) -> None:
        """Again changes it."""
        core.ratings.rate(caller.principal, id, body.stars, body.comment, body.send_text)

    @found.delete("/api/v1/messages/{id}/rating", summary="Take a rating back", status_code=204)
    def unrate(id: _Reply, caller: Annotated[Caller, writer]) -> None:
        """With all that was sent with it."""
        core.ratings.remove(caller.principal, id)

    return found
