"""`POST /api/chat/{id}/tools/{call_id}`: the person's yes or no to a tool that asks first."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from chatcore.api import asking
from chatcore.api.callers import Caller, needs
from chatcore.api.parts import Parts
from chatcore.api.schemas import Answer, Id, Schema
from chatcore.errors import NotFound


class DecisionBody(Schema):
    """Whether the tool may run."""

    approved: bool


class Decided(Answer):
    """What was said."""

    approved: bool


def router(core: Parts) -> APIRouter:
    """The route."""
    found = APIRouter(tags=["Asking"])
    chatter = Depends(needs(core, "chat"))

    @found.post("/api/chat/{id}/tools/{call_id}", summary="Allow or refuse a tool")
    def decide(
        id: Annotated[Id, Path(description="The id of a conversation.")],
        call_id: Annotated[Id, Path(description="Of the call that asks: the stream's `approvalId`.")],
        body: DecisionBody,
        caller: Annotated[Caller, chatter],
    ) -> Decided:
        """By whoever asked the question; the first word counts. 404 where no reply is being written."""
        running = asking.active(core, caller.principal, id)
        if not running:
            raise NotFound("No reply is being written in this conversation.")
        for turn in running:
            core.turns.decide(caller.principal, turn.turn_id, call_id, approved=body.approved)
        return Decided(approved=body.approved)

    return found
