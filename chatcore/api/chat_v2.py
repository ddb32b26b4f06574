"""`POST /api/chat/v2`: a question with its settings and context in one body, for the AI SDK's stream."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from chatcore.accounts import Principal
from chatcore.api import asking
from chatcore.api.callers import Caller, needs
from chatcore.api.chat import earlier
from chatcore.api.parts import Parts
from chatcore.api.schemas import Id, Schema
from chatcore.errors import InvalidInput
from chatcore.turns import Brought, Submission, TurnSettings

_FIRST_WORDS: Final = 10.0  # seconds that the headers wait to say who answers


class MessageV2(BaseModel):
    """A message. Its words stand in `content`, or in the texts of `parts`. `dataParts`: JSON that belongs to it."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    id: Id | None = None
    role: Literal["user", "assistant", "system", "tool"]
    content: str | None = None
    parts: Annotated[list[dict[str, Any]], Field(max_length=1_000)] = []
    data_parts: Annotated[list[dict[str, Any]], Field(max_length=100, alias="dataParts")] = []

    def words(self) -> str:
        """The words of the message."""
        return asking.words(self.parts) if self.content is None else self.content


class ConfigV2(Schema):
    """Who answers, and how. `model`: a model's name or an alias. `tools`: names of those that the model is offered;
    left out: those of the conversation's agent."""

    model: Id = "balanced"
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    max_tokens: Annotated[int, Field(ge=1, le=4000)] = 1000
    tools: Annotated[list[Id] | None, Field(max_length=100)] = None


class ContextV2(Schema):
    """What the model knows.

    `useRAG`: the knowledge bases are searched for the question first. `includeHistory`: false sends it the messages of
    this request alone. `sessionData`: kept with the question, and told to the model.
    """

    use_rag: Annotated[bool, Field(alias="useRAG")] = False
    include_history: bool = True
    session_data: dict[str, Any] = {}


class ChatV2Body(Schema):
    """A question: the last of `messages`. `conversationId`: ours, or one that the program made."""

    messages: Annotated[list[MessageV2], Field(min_length=1, max_length=10_000)]
    conversation_id: Id | None = None
    config: ConfigV2 = ConfigV2()
    context: ContextV2 = ContextV2()


def router(core: Parts) -> APIRouter:
    """The route."""
    found = APIRouter(tags=["Asking"])
    chatter = Depends(needs(core, "chat"))

    @found.post("/api/chat/v2", summary="Ask with settings and context", responses=asking.STREAM, response_model=None)
    async def chat(body: ChatV2Body, caller: Annotated[Caller, chatter]) -> Response:
        """`X-Model-Used`, `X-Gateway-Cache` and `X-Trace-Id` come with the first words; tokens with the finish."""
        who = caller.principal
        return await asking.submitted(core, who, lambda: _submission(core, who, body), patience=_FIRST_WORDS)

    return found


def _submission(core: Parts, who: Principal, body: ChatV2Body) -> Submission:
    last, before, config, context = body.messages[-1], body.messages[:-1], body.config, body.context
    if last.role != "user":
        raise InvalidInput("`messages`: the last one has to be the user's.")
    _require_known(core, who, config.tools or [])
    system = "\n\n".join(one.words() for one in before if one.role == "system")
    brought = Brought(
        earlier([(one.role, one.words()) for one in before]), system, context.session_data, tuple(last.data_parts),
        alone=not context.include_history,
    )  # fmt: skip
    return Submission(
        last.words(), config.model, body.conversation_id, last.id, brought=brought,
        settings=TurnSettings(config.temperature, config.max_tokens),
        tools=None if config.tools is None else tuple(config.tools), search_first=context.use_rag,
    )  # fmt: skip


def _require_known(core: Parts, who: Principal, tools: list[str]) -> None:
    """Raises `InvalidInput` for a tool that there is not, or that cannot be used now."""
    choices = {one.name: one for one in core.toolbox.choices(who)}
    for name in tools:
        found = choices.get(name)
        if found is None:
            raise InvalidInput(f"`config.tools`: there is no tool {name}. There are: {', '.join(choices) or 'none'}.")
        if found.why_not:
            raise InvalidInput(f"`config.tools`: {name} cannot be used. {found.why_not}")
