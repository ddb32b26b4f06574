"""What there is to choose from for an agent: models, tools, knowledge bases, colleagues."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chatcore.accounts import Principal
from chatcore.agents import Allowed
from chatcore.bootstrap import core
from chatcore.tools import ToolChoice


@dataclass(frozen=True)
class Choices:
    """Each by its name or id. `models`, `knowledge`, `people`: as people read them; `people` without oneself."""

    models: Mapping[str, str]
    tools: Mapping[str, ToolChoice]
    knowledge: Mapping[str, str]
    people: Mapping[str, str]

    @property
    def names(self) -> dict[str, str]:
        """All that a difference between versions names by id."""
        return {**{name: one.label for name, one in self.tools.items()}, **self.knowledge, **self.people}

    @property
    def allowed(self) -> Allowed:
        """What an import may bring along."""
        return Allowed(self.tools.keys(), self.knowledge, self.models.keys())


def find(principal: Principal) -> Choices:
    """All of it, for this person."""
    models = {one.name: one.display_name for one in core().gateway.choices(principal)}
    people = core().agents.colleagues(principal)
    return Choices(
        models, tools(principal), knowledge(principal),
        {one.id: one.name for one in people if one.active and one.id != principal.user_id},
    )  # fmt: skip


def tools(principal: Principal) -> dict[str, ToolChoice]:
    """Tools by name; none where this process has no toolbox."""
    toolbox: Any = getattr(core(), "toolbox", None)
    return {one.name: one for one in toolbox.choices(principal)} if toolbox else {}


def knowledge(principal: Principal) -> dict[str, str]:
    """Names of knowledge bases by id; none where this process has no knowledge."""
    found: Any = getattr(core(), "knowledge", None)
    return {one.id: one.name for one in found.bases(principal)} if found else {}
