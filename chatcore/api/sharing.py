"""Shares over HTTP: with the team, or by a link that everybody of the team can open."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import Field

from chatcore.api.callers import Caller, needs
from chatcore.api.conversation_schemas import stamp
from chatcore.api.parts import Parts
from chatcore.api.schemas import Answer, Id, Schema
from chatcore.conversations.sharing import Share

_Id = Annotated[Id, Path(description="The id of a conversation.")]


class ShareBody(Schema):
    """`upToMessageId`: the branch that ends there and nothing else; else the visible branch as it grows."""

    kind: Literal["team", "link"] = "team"
    can_reply: bool = False
    up_to_message_id: Id | None = None
    days: Annotated[int | None, Field(ge=1, le=365, description="Until it ends; none for never.")] = None


class ShareAnswer(Answer):
    """A share. `path`: of the page that shows it, behind the address of this instance."""

    id: str
    kind: Literal["team", "link"]
    can_reply: bool
    up_to_message_id: str | None
    created_at: str
    expires_at: str | None
    path: str


class Shares(Answer):
    """What is shared of a conversation now, the newest first."""

    shares: list[ShareAnswer]


def router(core: Parts) -> APIRouter:
    """The routes."""
    found = APIRouter(tags=["Conversations"])
    reader, writer = Depends(needs(core, "read")), Depends(needs(core, "chat"))

    @found.get("/api/v1/chat/{id}/shares", summary="List the shares of a conversation")
    def shares(id: _Id, caller: Annotated[Caller, reader]) -> Shares:
        """Those that work."""
        return Shares(shares=[_share(one) for one in core.shares.of(caller.principal, id)])

    @found.post("/api/v1/chat/{id}/shares", summary="Share a conversation", status_code=201)
    def share(id: _Id, body: ShareBody, caller: Annotated[Caller, writer]) -> ShareAnswer:
        """Within the tenant."""
        return _share(core.shares.create(
            caller.principal, id, kind=body.kind, can_reply=body.can_reply, up_to_message_id=body.up_to_message_id,
            days=body.days,
        ))  # fmt: skip

    @found.delete("/api/v1/shares/{id}", summary="End a share", status_code=204)
    def revoke(id: Annotated[Id, Path(description="The id of a share.")], caller: Annotated[Caller, writer]) -> None:
        """At once, also for those who are reading it."""
        core.shares.revoke(caller.principal, id)

    return found


def _share(one: Share) -> ShareAnswer:
    return ShareAnswer(
        id=one.id, kind=one.kind, can_reply=one.can_reply, up_to_message_id=one.up_to_message_id,
        created_at=stamp(one.created_at), expires_at=None if one.expires_at is None else stamp(one.expires_at),
        path=f"/shared?s={one.handle}",
    )  # fmt: skip
