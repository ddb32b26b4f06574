"""Branches of a conversation over HTTP: versions beside each other, and which of them is visible."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from chatcore.api import conversation_schemas as schemas
from chatcore.api.callers import Caller, needs
from chatcore.api.etags import tagged
from chatcore.api.parts import Parts
from chatcore.api.schemas import Answer, Id, Schema

_MOST = 100
_Id = Annotated[Id, Path(description="The id of a conversation.")]


class Children(Answer):
    """Messages that follow the same one, oldest first, at most 100."""

    messages: list[schemas.MessageAnswer]


class BranchChange(Schema):
    """The branch that is to be visible: the newest below this message."""

    message_id: Id


def router(core: Parts) -> APIRouter:
    """The routes."""
    found = APIRouter(tags=["Conversations"])
    reader, writer = Depends(needs(core, "read")), Depends(needs(core, "chat"))

    @found.get("/api/v1/chat/{id}/messages", summary="Read messages by their parent", response_model=Children)
    def children(
        request: Request,
        id: _Id,
        caller: Annotated[Caller, reader],
        parent_id: Annotated[Id | None, Query(alias="parentId", description="None for the first questions.")] = None,
    ) -> Response:
        """A question's versions, or a question's replies."""
        messages = core.conversations.children(caller.principal, id, parent_id, _MOST)
        mine = core.ratings.mine(caller.principal, [one.id for one in messages])
        answers = [schemas.message(one, mine.get(one.id)) for one in messages]
        return tagged(request, Children(messages=answers))

    @found.get("/api/v1/chat/{id}/branch/{message_id}", summary="Read any branch", response_model=schemas.BranchPage)
    def branch(
        request: Request,
        id: _Id,
        message_id: Annotated[Id, Path(description="Of the branch's last message.")],
        caller: Annotated[Caller, reader],
        limit: Annotated[int, Query(ge=1, le=100)] = 30,
    ) -> Response:
        """The messages that end with this one, the newest first. `nextMessageId` is where earlier ones begin."""
        window = core.conversations.branch(caller.principal, id, message_id, limit)
        mine = core.ratings.mine(caller.principal, [one.id for one in window.messages])
        return tagged(request, schemas.BranchPage(
            messages=schemas.messages(window.messages, mine),
            next_message_id=window.messages[0].parent_id if window.earlier else None,
        ))  # fmt: skip

    @found.put("/api/v1/chat/{id}/branch", summary="Show another branch", status_code=204)
    def switch(id: _Id, body: BranchChange, caller: Annotated[Caller, writer]) -> None:
        """For everybody who reads the conversation."""
        core.conversations.switch(caller.principal, id, body.message_id)

    return found
