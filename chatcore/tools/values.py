"""What a tool is: something that a model can ask for in a turn, with arguments that a schema describes.

A tool runs on the engine's loop, so whatever blocks goes to a thread or a process. It is cancelled when the turn is
stopped or its time is over; what it began must then end too. What it returns is data: nothing in it is an instruction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from chatcore.accounts import Principal
from chatcore.agents import Agent
from chatcore.errors import ChatcoreError

MAX_RESULT = 60_000
"""Characters of a result that the model is sent; the rest is cut off, and the result says so."""


class ToolFailed(ChatcoreError):
    """A tool could not do what it was asked; the sentence goes to the model and to the person."""

    code = "tool_failed"


@dataclass(frozen=True)
class ToolSpec:
    """What the model is told of a tool. `name`: letters, digits, `_` and `-`, at most 64. `parameters`: JSON Schema of
    an object. `asks_first`: it waits for the person's yes. `timeout`: seconds that it may take."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    asks_first: bool = False
    timeout: float = 30.0


class ModelAccess(Protocol):
    """Calls to models that a tool makes: each has its ledger row, counts against budgets, and ends with the turn."""

    async def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str | None = None,
        needs: Literal["text", "vision", "audio"] = "text",
        max_tokens: int | None = None,
    ) -> str:
        """What a model says to `messages` (OpenAI's form). `model`: by name; None for the turn's own, or, where that
        cannot do what it `needs`, the first one of the person's that can. Raises `ChatcoreError`: also where none can.
        """

    async def embed(self, texts: Sequence[str], model: str) -> list[list[float]]:
        """A vector for each text. Raises `ChatcoreError`."""


@dataclass(frozen=True)
class ToolCall:
    """One call: for whom, where, and what it may use. `id`: unique in its turn. `attachments`: ids of those of the
    conversation's branch, newest last."""

    id: str
    who: Principal
    agent: Agent | None
    conversation_id: str
    message_id: str
    turn_id: str
    trace_id: str
    models: ModelAccess
    attachments: tuple[str, ...] = ()


@dataclass(frozen=True)
class ToolResult:
    """What came of it. `text`: for the model. `parts`: further parts of the reply, in the shapes of
    `conversations.parts`; what is not valid is left out. `failed`: it could not do what it was asked."""

    text: str
    parts: tuple[Mapping[str, Any], ...] = ()
    failed: bool = False


class Tool(Protocol):
    """Something that a model can ask for."""

    @property
    def spec(self) -> ToolSpec:
        """What the model is told of it."""

    async def run(self, arguments: Mapping[str, Any], call: ToolCall) -> ToolResult:
        """Do it. `arguments`: valid by the spec's schema. Raises `ChatcoreError` with a sentence where it cannot;
        anything else that it raises is a defect, and the person reads that the tool failed."""


@dataclass(frozen=True)
class ToolChoice:
    """A tool as it is chosen for an agent. `name`: as agents keep it (`search_knowledge`, `mcp/files/read_file`).
    `label`, `description`: for people. `icon`: of Streamlit's Material symbols. `asks_first`: what holds where the
    agent says nothing. `why_not`: a sentence where it cannot be used now, else empty."""

    name: str
    label: str
    description: str
    icon: str = ":material/build:"
    asks_first: bool = False
    why_not: str = ""


class ToolSource(Protocol):
    """Where tools come from: each kind of tool is one, and so are all MCP servers together.

    Both methods may be called from any thread, often, and must be quick: no network, no waiting.
    """

    def choices(self, who: Principal) -> Sequence[ToolChoice]:
        """What this person can choose for an agent, those that cannot be used now included."""

    def tools(self, who: Principal, agent: Agent | None, names: Sequence[str]) -> Sequence[Tool]:
        """The tools of these names that can be used now, for a turn of this person and agent. A name may stand for
        several tools (`mcp/files`). Names of other sources are ignored."""


@runtime_checkable
class Living(Protocol):
    """A source that holds connections or processes, on the engine's loop."""

    async def start(self) -> None:
        """Begin; waits for nobody."""

    async def close(self) -> None:
        """End all of it."""


@dataclass(frozen=True)
class Offered:
    """A tool in a turn, and whether it waits for the person's yes."""

    tool: Tool
    asks_first: bool = field(default=False)

    @property
    def name(self) -> str:
        return self.tool.spec.name
