"""`POST /v1/chat/completions`: any client of OpenAI's, over the gateway.

Stateless: what is sent is what is answered. When the connection is closed the completion is cancelled, and billed is
what was said. With `metadata.conversation_id` it is a turn of that conversation instead, like one of the page.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from chatcore.api import openai_errors, openai_stream
from chatcore.api.callers import Caller, needs
from chatcore.api.completion_schemas import Completion, CompletionBody
from chatcore.api.parts import Parts
from chatcore.api.problems import status_of
from chatcore.api.said import Said, Stateless, Stored
from chatcore.api.ui_stream import DONE, PING, SILENCE, frames
from chatcore.errors import ChatcoreError
from chatcore.gateway import Delta
from chatcore.turns import PARAMETERS, CompletionAsk

_HEADERS: Final = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_ALLOWED_FOR: Final = 2.0  # seconds until a long reply asks again whether its key still lives
_LEFT: Final = 499  # nginx's, for a client that closed the connection: nobody reads it but a log
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "A completion; with `stream`, server-sent events of chunks in OpenAI's form.",
        "content": {"text/event-stream": {}},
    }
}


def router(core: Parts) -> APIRouter:
    """The routes."""
    found = APIRouter(tags=["OpenAI"])
    chatter = Depends(needs(core, "chat"))

    @found.post(
        "/v1/chat/completions", summary="Complete a chat in OpenAI's form", responses=_ANSWERS,
        response_model=Completion,
    )  # fmt: skip
    async def completions(request: Request, body: CompletionBody, caller: Annotated[Caller, chatter]) -> Response:
        """Failover, cache, limits, budgets and ledger as on the page; settled before `[DONE]`."""
        said = await asyncio.to_thread(_begun, core, caller, body, request.headers.get("cache-control", ""))
        allowed = partial(core.accounts.require_active, caller.principal)
        return await while_connected(request, said, _answer(said, body, allowed))

    return found


def _begun(core: Parts, caller: Caller, body: CompletionBody, cache_control: str) -> Said:
    """Begin it. Raises what `Turns.complete` and `Turns.submit` raise."""
    parameters = body.model_dump(include=set(PARAMETERS), exclude_none=True)
    max_tokens = body.max_completion_tokens or body.max_tokens
    messages = [one.sent() for one in body.messages]
    ask = CompletionAsk(
        body.model, messages, parameters, body.temperature, max_tokens,
        cache=not any(word in cache_control for word in ("no-cache", "no-store")),
    )  # fmt: skip
    conversation_id = body.metadata.conversation_id if body.metadata else None
    if conversation_id is not None:
        return Stored.asked(core, caller.principal, conversation_id, ask)
    return Stateless(core.turns.complete(caller.principal, ask), body.model)


async def _answer(said: Said, body: CompletionBody, still_allowed: Callable[[], None]) -> Response:
    first = await _first(said)
    if not body.stream:
        return _whole(said, first + await rest(said))
    usage = bool(body.stream_options and body.stream_options.include_usage)
    events = _events(said, first, still_allowed, usage=usage)
    return StreamingResponse(events, headers=_HEADERS | said.headers(), media_type="text/event-stream")


async def _first(said: Said) -> list[Delta]:
    """The first words, so that a failure before them has its own status; none where they take their time."""
    began = time.monotonic()
    async for batch in said.batches:
        if batch or time.monotonic() - began > SILENCE - 1:
            return batch
    if error := await said.failed():
        raise error
    return []


async def rest(said: Said) -> list[Delta]:
    """All that is said from here on. Raises why it failed."""
    found = [delta async for batch in said.batches for delta in batch]
    if error := await said.failed():
        raise error
    return found


def _whole(said: Said, deltas: list[Delta]) -> Response:
    end = said.end
    assert end is not None, "it was heard to its end"
    usage = openai_stream.usage_of(end.spent, end.usage)
    answer = openai_stream.whole(said.id, end.model, deltas, end.finish_reason, usage)
    headers = said.headers() | {"X-Token-Count": str(usage.total_tokens)}
    return JSONResponse(answer.model_dump(mode="json"), headers=headers)


async def _events(
    said: Said, first: list[Delta], still_allowed: Callable[[], None], *, usage: bool
) -> AsyncIterator[bytes]:
    encoder, ask_at = openai_stream.ChunkEncoder(said.id, said.model), time.monotonic() + _ALLOWED_FOR
    try:
        yield frames([encoder.start(), *encoder.words(first)])
        async for batch in said.batches:
            if time.monotonic() > ask_at:
                await asyncio.to_thread(still_allowed)
                ask_at = time.monotonic() + _ALLOWED_FOR
            encoder.model = said.model
            yield frames(encoder.words(batch)) or PING
        if error := await said.failed():
            yield frames([_error(error)])
            return
        assert said.end is not None, "it was heard to its end"
        encoder.model = said.end.model
        last = [encoder.end(said.end.finish_reason)]
        if usage:
            last.append(encoder.usage(openai_stream.usage_of(said.end.spent, said.end.usage)))
        yield frames(last) + DONE
    except ChatcoreError as error:  # it was deleted, or a share has ended, while it was read
        yield frames([_error(error)])
    finally:
        said.cancel()


def _error(error: ChatcoreError) -> dict[str, Any]:
    return openai_errors.body(status_of(error), error.code, str(error))


async def while_connected(request: Request, said: Said, answering: Coroutine[Any, Any, Response]) -> Response:
    """The answer. Where the client leaves before it begins, or it fails, nothing more is said."""
    task, gone = asyncio.ensure_future(answering), asyncio.ensure_future(_gone(request))
    answer: Response | None = None
    try:
        await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return Response(status_code=_LEFT)
        answer = task.result()
        return answer
    finally:
        gone.cancel()
        task.cancel()
        if answer is None:
            said.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
