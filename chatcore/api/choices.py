"""Who I am, and what I may choose from: `/api/v1/me`, `/api/v1/agents`, `/api/v1/models` and OpenAI's `/v1/models`."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from fastapi import Path as PathParameter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from chatcore.agents import ListedAgent
from chatcore.api.callers import Caller, needs
from chatcore.api.etags import tagged
from chatcore.api.parts import Parts
from chatcore.api.schemas import Answer, Id
from chatcore.errors import ModelUnavailable, NotFound
from chatcore.gateway import Model


class Me(Answer):
    """Whose key or session it is, and what it may be used for."""

    user_id: str
    tenant_id: str
    username: str
    name: str
    role: str
    tier: str
    scopes: list[str]


class AgentAnswer(Answer):
    """An agent that I may use. `slug` stands in links (`/?agent=coder`). `icon`: an emoji or ''. `visibility`: `own`,
    `people` or `team`, by what its owner chose. `tools`: what it may ask for."""

    id: str
    slug: str
    name: str
    description: str
    icon: str
    model: str | None
    suggestions: list[str]
    tools: list[str]
    visibility: Literal["own", "people", "team"]
    is_own: bool


class Agents(Answer):
    """All agents that I may use, in their order."""

    agents: list[AgentAnswer]


class ModelAnswer(Answer):
    """A model or alias. `missing`: why it cannot be used, null where it can. Windows are tokens."""

    name: str
    display_name: str
    description: str
    provider: str
    alias: bool
    context_window: int | None
    max_output_tokens: int | None
    vision: bool
    audio: bool
    tools: bool
    reasoning: bool
    missing: str | None


class Models(Answer):
    """Aliases first, then models in the order of the configuration."""

    models: list[ModelAnswer]


class OpenAIModel(BaseModel):
    """A model in OpenAI's form."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = ""


class OpenAIModels(BaseModel):
    """Models in OpenAI's form."""

    object: Literal["list"] = "list"
    data: list[OpenAIModel]


def router(core: Parts) -> APIRouter:
    """The routes."""
    found = APIRouter()
    reader, chatter = Depends(needs(core, "read")), Depends(needs(core, "chat"))

    @found.get("/api/v1/me", summary="Who am I", tags=["Account"], response_model=Me)
    def me(request: Request, caller: Annotated[Caller, reader]) -> Response:
        """Whose key or session this is."""
        who = caller.principal
        return tagged(request, Me(
            user_id=who.user_id, tenant_id=who.tenant_id, username=who.username, name=who.name, role=who.role,
            tier=who.tier, scopes=sorted(caller.scopes),
        ))  # fmt: skip

    @found.get("/api/v1/agents", summary="List agents", tags=["Agents and models"], response_model=Agents)
    def agents(request: Request, caller: Annotated[Caller, reader]) -> Response:
        """All that can be chosen."""
        return tagged(request, Agents(agents=[_agent(one) for one in core.agents.list(caller.principal)]))

    @found.get("/api/v1/agents/{id}", summary="Read an agent", tags=["Agents and models"], response_model=AgentAnswer)
    def agent(
        request: Request,
        id: Annotated[Id, PathParameter(description="Its id or slug.")],
        caller: Annotated[Caller, reader],
    ) -> Response:
        """By its id, or by its slug."""
        one = next((one for one in core.agents.list(caller.principal) if id in (one.id, one.slug)), None)
        if one is None:
            raise NotFound("There is no such agent.")
        return tagged(request, _agent(one))

    @found.get("/api/v1/models", summary="List models", tags=["Agents and models"], response_model=Models)
    def models(request: Request, caller: Annotated[Caller, reader]) -> Response:
        """All that I may choose from, those that lack a key included."""
        return tagged(request, Models(models=[_model(one) for one in core.gateway.choices(caller.principal)]))

    @found.get("/v1/models", summary="List models in OpenAI's form", tags=["OpenAI"], response_model=OpenAIModels)
    def openai_models(request: Request, caller: Annotated[Caller, chatter]) -> Response:
        """Those that can be called now, aliases too."""
        usable = [one for one in core.gateway.choices(caller.principal) if one.available]
        return tagged(request, OpenAIModels(data=[OpenAIModel(id=one.name, owned_by=one.provider) for one in usable]))

    @found.get("/v1/models/{name:path}", summary="Read a model", tags=["OpenAI"], response_model=OpenAIModel)
    def openai_model(request: Request, name: str, caller: Annotated[Caller, chatter]) -> Response:
        """By its name, which may have slashes."""
        for one in core.gateway.choices(caller.principal):
            if one.name == name and one.available:
                return tagged(request, OpenAIModel(id=one.name, owned_by=one.provider))
        raise ModelUnavailable("There is no such model, or it is not yours to use.")

    return found


def _agent(one: ListedAgent) -> AgentAnswer:
    return AgentAnswer(
        id=one.id, slug=one.slug, name=one.name, description=one.description, icon=one.icon, model=one.model,
        suggestions=list(one.suggestions), tools=[tool.name for tool in one.tools], visibility=one.visibility,
        is_own=one.is_own,
    )  # fmt: skip


def _model(one: Model) -> ModelAnswer:
    return ModelAnswer(
        name=one.name, display_name=one.display_name, description=one.description, provider=one.provider,
        alias=bool(one.alias_of), context_window=one.context_window, max_output_tokens=one.max_output_tokens,
        vision=one.vision, audio=one.audio, tools=one.tools, reasoning=one.reasoning,
        missing=None if one.available else one.why_not,
    )  # fmt: skip
