"""`/api/v1/chat`: one's own conversations, their messages, and what is done to them."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from chatcore.api import conversation_schemas as schemas
from chatcore.api import paging
from chatcore.api.callers import Caller, needs
from chatcore.api.etags import tagged
from chatcore.api.parts import Parts
from chatcore.api.schemas import Id

TAG = "Conversations"
_Id = Annotated[Id, Path(description="The id of a conversation.")]
_Limit = Annotated[int, Query(ge=1, le=100, description="How many at most.")]
_Cursor = Annotated[Id | None, Query(description="`nextCursor` of the page before.")]


def router(core: Parts) -> APIRouter:
    """The routes."""
    found = APIRouter(tags=[TAG])
    reader, writer = Depends(needs(core, "read")), Depends(needs(core, "chat"))

    @found.get("/api/v1/chat", summary="List my conversations", response_model=schemas.ConversationPage)
    def listed(
        request: Request,
        caller: Annotated[Caller, reader],
        archived: Annotated[Literal["true", "false", "all"], Query(description="Archived ones?")] = "false",
        limit: _Limit = 30,
        offset: Annotated[int, Query(ge=0, le=100_000, description="How many to leave out; rather use a cursor.")] = 0,
        cursor: _Cursor = None,
    ) -> Response:
        """The newest activity first, without temporary chats."""
        wanted = None if archived == "all" else archived == "true"
        before = paging.unpack(cursor) if cursor else None
        rows = core.history.newest(caller.principal, archived=wanted, before=before, offset=offset, limit=limit + 1)
        last = rows[limit - 1] if len(rows) > limit else None
        return tagged(request, schemas.ConversationPage(
            conversations=[schemas.row(one) for one in rows[:limit]],
            next_cursor=paging.pack(last.last_message_at, last.id) if last else None,
        ))  # fmt: skip

    @found.get("/api/v1/chat/{id}", summary="Read a conversation", response_model=schemas.MessagePage)
    def read(
        request: Request, id: _Id, caller: Annotated[Caller, reader], limit: _Limit = 30, cursor: _Cursor = None
    ) -> Response:
        """The conversation and messages of its visible branch, the newest first."""
        conversation, window = core.conversations.before(caller.principal, id, cursor, limit)
        mine = core.ratings.mine(caller.principal, [one.id for one in window.messages])
        return tagged(request, schemas.MessagePage(
            conversation=schemas.conversation(conversation),
            messages=schemas.messages(window.messages, mine),
            next_cursor=window.messages[0].id if window.earlier else None,
        ))  # fmt: skip

    @found.patch("/api/v1/chat/{id}", summary="Rename, file or pin a conversation")
    def change(
        id: _Id, body: schemas.ConversationChange, caller: Annotated[Caller, writer]
    ) -> schemas.ConversationAnswer:
        """What is not given stays as it is."""
        who, given = caller.principal, body.model_fields_set
        if body.title is not None:
            core.conversations.rename(who, id, body.title)
        if "folder" in given:
            core.history.move(who, [id], body.folder)
        if body.pinned is not None:
            (core.history.pin if body.pinned else core.history.unpin)(who, [id])
        return schemas.conversation(core.conversations.get(who, id))

    @found.delete("/api/v1/chat/{id}", summary="Delete a conversation", status_code=204)
    def delete(
        id: _Id,
        caller: Annotated[Caller, writer],
        permanent: Annotated[bool, Query(description="At once and for good.")] = False,
    ) -> None:
        """It is in no list any more and cannot be read; `restore` brings it back for thirty days, then it is erased."""
        (core.history.delete if permanent else core.history.discard)(caller.principal, [id])

    @found.post("/api/v1/chat/{id}/restore", summary="Bring a deleted conversation back", status_code=204)
    def restore(id: _Id, caller: Annotated[Caller, writer]) -> None:
        """Within thirty days."""
        core.history.recover(caller.principal, id)

    @found.post("/api/v1/chat/{id}/archive", summary="Archive a conversation", status_code=204)
    def archive(id: _Id, caller: Annotated[Caller, writer]) -> None:
        """It leaves the lists and stays to be read and found."""
        core.history.archive(caller.principal, [id])

    @found.post("/api/v1/chat/{id}/unarchive", summary="Bring a conversation back", status_code=204)
    def unarchive(id: _Id, caller: Annotated[Caller, writer]) -> None:
        """Into the lists again."""
        core.history.restore(caller.principal, [id])

    return found
