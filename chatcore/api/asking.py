"""Asking over HTTP: a turn like one of the page, streamed in the AI SDK's form, followed, resumed and stopped.

The stream is a viewer of the turn: when it is cut, the turn goes on.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path
from pydantic import Field, StringConstraints
from starlette.responses import JSONResponse, Response, StreamingResponse

from chatcore.accounts import Principal
from chatcore.agents import ListedAgent
from chatcore.api import ui_stream
from chatcore.api.callers import Caller, needs
from chatcore.api.conversation_schemas import MessageAnswer, message
from chatcore.api.headers import header
from chatcore.api.parts import Parts
from chatcore.api.schemas import Answer, Id, Schema
from chatcore.conversations import Message
from chatcore.errors import ChatcoreError, ModelUnavailable, NotFound
from chatcore.turns import ActiveTurn, Asked, Submission, TurnSettings, words_of

log = logging.getLogger(__name__)

_GONE: Final = "This conversation can no longer be read."
_Id = Annotated[Id, Path(description="The id of a conversation.")]
STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Server-sent events in the AI SDK's UI message stream, version 1; JSON where `stream` is false.",
        "content": {"text/event-stream": {}},
    }
}


_RESUMED: Final[dict[int | str, dict[str, Any]]] = STREAM | {204: {"description": "Nothing is being written."}}


class AskBody(Schema):
    """A question. Without a conversation a new one begins; without a model the agent's, the conversation's last one, or
    the default answers."""

    message: Annotated[str, StringConstraints(min_length=1)]
    conversation_id: Id | None = None
    model: Id | None = None
    agent_id: Annotated[Id | None, Field(description="An agent's id or slug.")] = None
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    max_tokens: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    stream: bool = True


class Reply(Answer):
    """A whole reply, where it is not streamed."""

    conversation_id: str
    message: MessageAnswer


class Stopped(Answer):
    """How many replies were being written."""

    stopped: int


def router(core: Parts) -> APIRouter:
    """The routes."""
    found = APIRouter(tags=["Asking"])
    reader, chatter = Depends(needs(core, "read")), Depends(needs(core, "chat"))

    @found.post("/api/v1/chat", summary="Ask", responses=STREAM, response_model=Reply)
    async def ask(body: AskBody, caller: Annotated[Caller, chatter]) -> Response:
        """Stored like a question on the page, in the same conversations, limits, budgets and ledger."""
        asked = await asyncio.to_thread(_asked, core, caller.principal, body)
        if body.stream:
            return await stream(core, caller.principal, asked)
        return await _whole(core, caller.principal, asked)

    @found.get("/api/chat/{id}/stream", summary="Resume a stream", responses=_RESUMED)
    async def resume(id: _Id, caller: Annotated[Caller, reader]) -> Response:
        """The reply that is being written, from its first word; 204 where none is."""
        running = await asyncio.to_thread(active, core, caller.principal, id)
        if not running:
            return Response(status_code=204)
        turn = running[0]
        return await stream(core, caller.principal, Asked(turn.conversation_id, turn.turn_id, turn.message_id))

    @found.post("/api/chat/{id}/stop", summary="Stop a reply")
    def stop(id: _Id, caller: Annotated[Caller, chatter]) -> Stopped:
        """Whoever began it, and wherever it runs; its words stay."""
        running = active(core, caller.principal, id)
        for turn in running:
            core.turns.stop(caller.principal, turn.turn_id)
        return Stopped(stopped=len(running))

    return found


def active(core: Parts, who: Principal, any_id: str) -> list[ActiveTurn]:
    """The turns that run in a conversation, by its id or alias. Raises `NotFound`."""
    return core.turns.active(who, core.conversations.resolve(who, any_id))


def _asked(core: Parts, who: Principal, body: AskBody) -> Asked:
    """Ask. Raises `NotFound`, and what `Turns.submit` raises."""
    conversation = core.conversations.get(who, body.conversation_id) if body.conversation_id else None
    chosen = agent(core, who, body.agent_id)
    last = (chosen.model if chosen else None) or (conversation.model if conversation else None)
    return core.turns.submit(who, Submission(
        body.message, body.model or _model(core, who, last), conversation.id if conversation else None,
        agent_id=chosen.id if chosen else None,
        settings=TurnSettings(body.temperature, body.max_tokens),
    ))  # fmt: skip


def agent(core: Parts, who: Principal, wanted: str | None) -> ListedAgent | None:
    """The agent that is wanted by its id or slug. Raises `NotFound`."""
    if wanted is None:
        return None
    for one in core.agents.list(who):
        if wanted in (one.id, one.slug):
            return one
    raise NotFound("There is no such agent.")


def words(parts: Sequence[Mapping[str, Any]]) -> str:
    """The texts of a message's parts."""
    texts = [part.get("text") for part in parts if part.get("type") == "text"]
    return "\n\n".join(text for text in texts if isinstance(text, str))


def last_model(core: Parts, who: Principal, any_id: str | None) -> str:
    """The model that a conversation was last asked of, or the default. Raises `ModelUnavailable` without one."""
    try:
        conversation = core.conversations.get(who, core.conversations.resolve(who, any_id)) if any_id else None
    except NotFound:
        conversation = None
    return _model(core, who, conversation.model if conversation else None)


def _ended(core: Parts, who: Principal, asked: Asked) -> Message | None:
    """The reply of a turn, where it has ended."""
    found = core.conversations.replies(who, asked.conversation_id, [str(asked.message_id)])
    return found[0] if found and found[0].status != "streaming" else None


def _replayed(asked: Asked, reply: Message) -> Response:
    """A reply that has ended, as a stream that says it again."""
    message_id = str(asked.message_id)
    encoder = ui_stream.Encoder(message_id, {"conversationId": asked.conversation_id, "messageId": message_id})
    sent = [ui_stream.frames([*encoder.start(), *encoder.words(words_of(reply)), *encoder.end(reply)])]
    headers = ui_stream.HEADERS | _ids(asked) | _used(reply)
    return Response(b"".join([*sent, ui_stream.DONE]), headers=headers, media_type="text/event-stream")


def _model(core: Parts, who: Principal, last: str | None) -> str:
    if last:
        return last
    default = core.gateway.default(who)
    if default is None:
        raise ModelUnavailable("No model can be used. Ask an administrator to configure one.")
    return default.name


async def submitted(
    core: Parts, who: Principal, submission: Callable[[], Submission], *, patience: float = 0.0
) -> Response:
    """Ask what a program sends, made in a thread; what it sent before is answered with what that became."""
    asked = await asyncio.to_thread(lambda: core.turns.submit(who, submission()))
    if asked.repeated and (reply := await asyncio.to_thread(_ended, core, who, asked)):
        return _replayed(asked, reply)
    return await stream(core, who, asked, patience=patience)


async def stream(core: Parts, who: Principal, asked: Asked, *, patience: float = 0.0) -> Response:
    """The turn as it is said. `patience`: seconds that the answer waits for the first words, to say who says them."""
    opened = await core.turns.opened(who, str(asked.turn_id), patience)
    headers = ui_stream.HEADERS | _ids(asked) | {"X-Trace-Id": opened.trace_id}
    if patience:
        headers |= {"X-Model-Used": header(opened.model_used), "X-Gateway-Cache": "HIT" if opened.cached else "MISS"}
    return StreamingResponse(_events(core, who, asked), headers=headers, media_type="text/event-stream")


def _ids(asked: Asked) -> dict[str, str]:
    return {
        "X-Conversation-Id": asked.conversation_id, "X-Message-Id": asked.message_id or "",
        "X-Turn-Id": asked.turn_id or "",
    }  # fmt: skip


async def _events(core: Parts, who: Principal, asked: Asked) -> AsyncIterator[bytes]:
    message_id, turn_id = str(asked.message_id), str(asked.turn_id)
    known = {"conversationId": asked.conversation_id, "messageId": message_id, "turnId": turn_id}
    encoder = ui_stream.Encoder(message_id, known)
    yield ui_stream.frames(encoder.start())
    try:
        async for batch in core.turns.afollow(who, turn_id, pace=lambda _: 0.0, patience=ui_stream.SILENCE):
            yield ui_stream.frames(encoder.words(batch)) or ui_stream.PING
        read = partial(core.conversations.replies, who, asked.conversation_id, [message_id])
        (reply,) = await asyncio.to_thread(read)
        yield ui_stream.frames(encoder.end(reply))
    except (ChatcoreError, ValueError) as error:  # it was deleted, or a share has ended, while it was read
        log.info("a stream could not be read to its end", exc_info=error)
        yield ui_stream.frames(encoder.broken(str(error) if isinstance(error, ChatcoreError) else _GONE))
    yield ui_stream.DONE


async def _whole(core: Parts, who: Principal, asked: Asked) -> Response:
    async for _ in core.turns.afollow(who, str(asked.turn_id), patience=ui_stream.SILENCE):
        pass
    found = await asyncio.to_thread(core.conversations.replies, who, asked.conversation_id, [str(asked.message_id)])
    if not found:
        raise NotFound(_GONE)
    reply = found[0]
    answer = Reply(conversation_id=asked.conversation_id, message=message(reply, None))
    return JSONResponse(answer.model_dump(mode="json", by_alias=True), headers=_ids(asked) | _used(reply))


def _used(reply: Message) -> dict[str, str]:
    """Who answered and what it took, of a reply that has ended."""
    used = ui_stream.metadata_of(reply)
    headers = {"X-Model-Used": header(used["modelUsed"]), "X-Trace-Id": used.get("traceId", "")}
    headers |= {"X-Gateway-Cache": "HIT" if used["cacheHit"] else "MISS"}
    return headers | ({"X-Token-Count": str(used["totalTokens"])} if "totalTokens" in used else {})
