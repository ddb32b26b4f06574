"""Tools: what a model can ask for in a turn. Each kind is a source; the toolbox knows them all."""

from collections.abc import Mapping, Sequence

from chatcore.accounts import Principal
from chatcore.agents import Agent
from chatcore.tools.values import (
    MAX_RESULT,
    Living,
    ModelAccess,
    Offered,
    Tool,
    ToolCall,
    ToolChoice,
    ToolFailed,
    ToolResult,
    ToolSource,
    ToolSpec,
)

__all__ = [
    "MAX_RESULT",
    "Living",
    "ModelAccess",
    "Offered",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "ToolFailed",
    "ToolResult",
    "ToolSource",
    "ToolSpec",
    "Toolbox",
]


class Toolbox:
    """All sources of tools of this process."""

    def __init__(self, sources: Sequence[ToolSource] = ()) -> None:
        self._sources = tuple(sources)

    def add(self, source: ToolSource) -> None:
        """One more source, behind the others."""
        self._sources = (*self._sources, source)

    async def start(self) -> None:
        """What sources need that live on the engine's loop; waits for nobody else's server."""
        for source in self._sources:
            if isinstance(source, Living):
                await source.start()

    async def close(self) -> None:
        """The end of it."""
        for source in self._sources:
            if isinstance(source, Living):
                await source.close()

    def choices(self, who: Principal) -> list[ToolChoice]:
        """What this person can choose for an agent, in the order of the sources."""
        return [choice for source in self._sources for choice in source.choices(who)]

    def offered(self, who: Principal, agent: Agent | None, wanted: Mapping[str, bool | None]) -> list[Offered]:
        """The tools of a turn. `wanted`: names as agents keep them, each with whether it asks first; None where the
        tool's own word holds. Of two tools with one name the first is offered."""
        found: dict[str, Offered] = {}
        for source in self._sources:
            for name, asks_first in wanted.items():
                for tool in source.tools(who, agent, [name]):
                    asks = tool.spec.asks_first if asks_first is None else asks_first
                    found.setdefault(tool.spec.name, Offered(tool, asks))
        return list(found.values())
