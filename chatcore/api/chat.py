"""`POST /api/chat` as the AI SDK's `useChat` sends it, and the messages that such a page begins with.

The server's history is the truth: of the messages that come along the last one is asked, and the one before it says
where it belongs. A conversation that is new begins with those before it.
"""

import base64
import mimetypes
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from chatcore.accounts import Principal
from chatcore.api import asking, ui_stream
from chatcore.api.callers import Caller, needs
from chatcore.api.etags import tagged
from chatcore.api.parts import Parts
from chatcore.api.schemas import Answer, Id, Schema
from chatcore.conversations import Message
from chatcore.errors import InvalidInput
from chatcore.turns import Brought, Submission, TurnSettings

_SHOWN: Final = 100  # messages that a page begins with
_BROUGHT: Final = 200  # messages of elsewhere that a new conversation begins with
_Id = Annotated[Id, Path(description="The id of a conversation, or the one that your program made.")]
_Step = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}$")]
_Again = Annotated[Id | None, Field(description="Of the question that is edited, or of what is answered again.")]


class UIMessage(BaseModel):
    """A message as the AI SDK has it. Of its parts texts and files count; what else a client keeps with it does not."""

    model_config = ConfigDict(extra="ignore")

    id: Id
    role: Literal["user", "assistant", "system"]
    parts: Annotated[list[dict[str, Any]], Field(max_length=1_000)] = []

    def files(self) -> list[tuple[str, bytes]]:
        """Name and content of its files. Raises `InvalidInput` for one that is no data URL."""
        return [_file(part) for part in self.parts if part.get("type") == "file"]

    def words(self) -> str:
        """The words of the message."""
        return asking.words(self.parts)


class ChatBody(Schema):
    """What `DefaultChatTransport` sends, and what may stand beside it. `id`: of the chat, as the program made it."""

    id: Id | None = None
    thread_id: Annotated[Id | None, Field(description="In place of `id`.")] = None
    messages: Annotated[list[UIMessage], Field(min_length=1, max_length=10_000)]
    trigger: Literal["submit-message", "regenerate-message"] = "submit-message"
    message_id: _Again = None
    model: Id | None = None
    agent_id: Annotated[Id | None, Field(description="An agent's id or slug.")] = None
    session_id: Annotated[Id | None, Field(description="A workshop's session; with `stepId`.")] = None
    step_id: Annotated[_Step | None, Field(description="Its step, such as `empathize`.")] = None
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    max_tokens: Annotated[int | None, Field(ge=1, le=1_000_000)] = None


class UIMessageAnswer(Answer):
    """A stored message as the AI SDK has it, with what is known of it as metadata."""

    id: str
    role: str
    parts: list[dict[str, Any]]
    metadata: dict[str, Any]


class UIMessages(Answer):
    """A conversation's visible branch, oldest first, at most 100 messages: for `useChat({ messages })`."""

    id: str
    messages: list[UIMessageAnswer]


def router(core: Parts) -> APIRouter:
    """The routes."""
    found = APIRouter(tags=["Asking"])
    reader, chatter = Depends(needs(core, "read")), Depends(needs(core, "chat"))

    @found.post("/api/chat", summary="Ask as useChat does", responses=asking.STREAM, response_model=None)
    async def chat(body: ChatBody, caller: Annotated[Caller, chatter]) -> Response:
        """A message whose id was seen before is stored once, and answered with the same turn."""
        who = caller.principal
        return await asking.submitted(core, who, lambda: _submission(core, who, body))

    @found.get("/api/chat", summary="Messages of a workshop's step", response_model=UIMessages)
    def of_step(
        request: Request,
        caller: Annotated[Caller, reader],
        session_id: Annotated[Id, Query(alias="sessionId")],
        step_id: Annotated[_Step, Query(alias="stepId")],
    ) -> Response:
        """My conversation of that session and step."""
        conversation_id = core.conversations.of_step(caller.principal, session_id, step_id)
        return tagged(request, _messages(core, caller.principal, conversation_id))

    @found.get("/api/chat/{id}", summary="Messages to begin a page with", response_model=UIMessages)
    def messages(request: Request, id: _Id, caller: Annotated[Caller, reader]) -> Response:
        """The visible branch as UI messages."""
        return tagged(request, _messages(core, caller.principal, core.conversations.resolve(caller.principal, id)))

    return found


def _submission(core: Parts, who: Principal, body: ChatBody) -> Submission:
    if (body.session_id is None) != (body.step_id is None):
        raise InvalidInput("`sessionId` and `stepId` go together.")
    last, before = body.messages[-1], body.messages[-2] if len(body.messages) > 1 else None
    again = body.trigger == "regenerate-message"
    if not again and last.role != "user":
        raise InvalidInput("`messages`: the last one has to be the user's.")
    chat_id, agent = body.id or body.thread_id, asking.agent(core, who, body.agent_id)
    return Submission(
        "" if again else last.words(),
        body.model or (agent.model if agent else None) or asking.last_model(core, who, chat_id),
        chat_id,
        message_id=None if again else last.id,
        parent_id=before.id if before else None,
        regenerates=(body.message_id or last.id) if again else None,
        agent_id=agent.id if agent else None,
        settings=TurnSettings(temperature=body.temperature, max_tokens=body.max_tokens),
        attachments=() if again else tuple(core.attachments.add(who, *one).id for one in last.files()),
        workshop_session_id=body.session_id,
        step_id=body.step_id,
        brought=Brought(earlier=earlier([(one.role, one.words()) for one in body.messages[:-1]])),
    )


def _file(part: Mapping[str, Any]) -> tuple[str, bytes]:
    kind, found, data = str(part.get("url", "")).partition(";base64,")
    if not found or not kind.startswith("data:"):
        raise InvalidInput("`messages`: a file comes as a data URL (`data:image/png;base64,…`).")
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError:
        raise InvalidInput("`messages`: the base64 of a file cannot be read.") from None
    suffix = mimetypes.guess_extension(kind.removeprefix("data:").partition(";")[0]) or ""
    return str(part.get("filename") or f"file{suffix}"), content


def earlier(said: Sequence[tuple[str, str]]) -> tuple[tuple[Literal["user", "assistant"], str], ...]:
    """What a new conversation begins with: the last of what was said elsewhere, without what has no words."""
    kept = [(role, text) for role, text in said if role in ("user", "assistant") and text.strip()]
    return tuple(kept[-_BROUGHT:])  # type: ignore[arg-type]


def _messages(core: Parts, who: Principal, conversation_id: str) -> UIMessages:
    _, window = core.conversations.window(who, conversation_id, _SHOWN)
    return UIMessages(id=conversation_id, messages=[_ui_message(one) for one in window.messages])


def _ui_message(one: Message) -> UIMessageAnswer:
    metadata = ui_stream.metadata_of(one) if one.role == "assistant" else {"messageId": one.id}
    return UIMessageAnswer(id=one.id, role=one.role, parts=ui_parts(one), metadata=metadata)


def ui_parts(one: Message) -> list[dict[str, Any]]:
    """The parts of a stored message as the AI SDK has them."""
    if not one.parts:
        return [{"type": "text", "text": one.content, "state": "done"}] if one.content else []
    return [found for number, part in enumerate(one.parts) if (found := _ui_part(one, number, part))]


def _tool_part(part: Mapping[str, Any], number: int) -> dict[str, Any]:
    call = {"toolCallId": part.get("id") or f"call-{number}", "toolName": part["name"], "input": part.get("arguments")}
    match part.get("state"):
        case "success":
            return {"type": "dynamic-tool", **call, "state": "output-available", "output": part.get("result") or ""}
        case "error":
            return {"type": "dynamic-tool", **call, "state": "output-error", "errorText": part.get("result") or ""}
    return {"type": "dynamic-tool", **call, "state": "input-available"}


def _ui_part(one: Message, number: int, part: Mapping[str, Any]) -> dict[str, Any] | None:
    match part.get("type"):
        case "text" | "markdown":
            return {"type": "text", "text": part["text"], "state": "done"}
        case "reasoning":
            return {"type": "reasoning", "text": part["text"], "state": "done"}
        case "tool_call":
            return _tool_part(part, number)
        case "error":
            return None
    return {"type": f"data-{part['type']}", "id": f"{one.id}-{number}", "data": dict(part)}
