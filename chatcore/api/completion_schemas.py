"""Requests and answers of `/v1` in OpenAI's form. What the model gets as it is has OpenAI's own names."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from chatcore.api.schemas import Id

_Model = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
_Object = dict[str, Any]
_PARTS: Final = {"text": "text", "image_url": "image_url", "input_audio": "input_audio", "refusal": "refusal"}
_PICTURE: Final = "`messages`: send a picture as a data URL (`data:image/png;base64,…`); addresses are not fetched."


class _Body(BaseModel):
    """A body: a field that is not in it is refused by its name."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StreamOptions(_Body):
    """`include_usage`: a last chunk says the tokens."""

    include_usage: bool = False
    include_obfuscation: bool = False


class ToolFunction(_Body):
    """A function that the model may call. `parameters`: its arguments' JSON Schema."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: _Object | None = None
    strict: bool | None = None


class Tool(_Body):
    """A tool in OpenAI's form."""

    type: Literal["function"]
    function: ToolFunction


class CalledFunction(BaseModel):
    """A function as a model called it. `arguments`: JSON, as the model wrote it."""

    model_config = ConfigDict(extra="allow")

    name: str
    arguments: str


class CalledTool(BaseModel):
    """A call of a tool."""

    model_config = ConfigDict(extra="allow")

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class CompletionMessage(BaseModel):
    """A message in OpenAI's form. What else a client keeps with it is left out."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Object] | None = None
    name: str | None = None
    tool_calls: list[CalledTool] | None = None
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.content is None and not self.tool_calls:
            raise ValueError("a message needs `content`, or `tool_calls`")
        if self.role == "tool" and not self.tool_call_id:
            raise ValueError("a tool's result needs `tool_call_id`")
        for part in self.content if isinstance(self.content, list) else []:
            _check_part(part)
        return self

    def sent(self) -> dict[str, Any]:
        """As a model gets it."""
        found = self.model_dump(exclude_none=True)
        return found | ({"role": "system"} if self.role == "developer" else {})


def _check_part(part: _Object) -> None:
    field = _PARTS.get(str(part.get("type")))
    if field is None or field not in part:
        raise ValueError(f"a part of a message is one of {', '.join(_PARTS)}, with a field of that name")
    if field in ("text", "refusal") and not isinstance(part[field], str):
        raise ValueError(f"`{field}` is a text")
    if field == "image_url":
        url = part[field].get("url") if isinstance(part[field], dict) else None
        if not isinstance(url, str) or not url.startswith("data:image/"):
            raise ValueError(_PICTURE)
    if field == "input_audio" and not isinstance(part[field], dict):
        raise ValueError("`input_audio` has `data` and `format`")


class CompletionMetadata(BaseModel):
    """`conversation_id`: question and reply are stored in this conversation, and its history is what is answered."""

    model_config = ConfigDict(extra="ignore")

    conversation_id: Id | None = None


class CompletionBody(_Body):
    """A request in OpenAI's form. `user`, `store` and the like are taken, and mean nothing here."""

    model: _Model
    messages: Annotated[list[CompletionMessage], Field(min_length=1, max_length=10_000)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    max_tokens: Annotated[int | None, Field(ge=1, le=10_000_000)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1, le=10_000_000)] = None
    n: Annotated[int | None, Field(ge=1, le=1, description="One is all there is.")] = None
    metadata: CompletionMetadata | None = None
    top_p: Annotated[float | None, Field(ge=0, le=1)] = None
    frequency_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    presence_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int | None, Field(ge=0, le=20)] = None
    seed: int | None = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    tools: Annotated[list[Tool] | None, Field(max_length=128)] = None
    tool_choice: str | _Object | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Object | None = None
    reasoning_effort: _Effort | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    user: str | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None


class TokenDetails(BaseModel):
    """Of the prompt's tokens, those that the provider had cached."""

    cached_tokens: int = 0


class CompletionTokenDetails(BaseModel):
    """Of the reply's tokens, those of thinking."""

    reasoning_tokens: int = 0


class CompletionUsage(BaseModel):
    """Tokens of all calls that this request took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: TokenDetails = TokenDetails()
    completion_tokens_details: CompletionTokenDetails = CompletionTokenDetails()


class AnsweredMessage(BaseModel):
    """A reply in OpenAI's form. `reasoning_content`: what the model thought, where it says."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    reasoning_content: str | None = None
    tool_calls: list[CalledTool] | None = None
    refusal: None = None


class CompletionChoice(BaseModel):
    """The one choice."""

    index: int = 0
    message: AnsweredMessage
    logprobs: _Object | None = None
    finish_reason: str


class Completion(BaseModel):
    """A whole completion."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage
