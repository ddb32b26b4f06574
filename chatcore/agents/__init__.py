"""Agents: a system prompt with parameters under a name. Every tenant starts with the built-in ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import bindparam, insert, select
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.agents.built_in import BUILT_IN
from chatcore.db import Database
from chatcore.db.tables import Agent as AgentRow
from chatcore.ids import new_id

__all__ = ["Agent", "AgentTool", "Agents", "seed"]


@dataclass(frozen=True)
class AgentTool:
    """A tool of an agent. `name`: as `tools.ToolChoice` has it. `asks_first`: None where the tool's own word holds."""

    name: str
    asks_first: bool | None = None


@dataclass(frozen=True)
class Agent:
    """`slug` stands in links (`/?agent=coder`); `parameters` may hold temperature and max_tokens. `knowledge`: ids of
    knowledge bases."""

    id: str
    slug: str
    name: str
    description: str
    system_prompt: str
    model: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    suggestions: tuple[str, ...] = ()
    tools: tuple[AgentTool, ...] = ()
    knowledge: tuple[str, ...] = ()


def seed(session: Session, tenant_id: str) -> None:
    """Give a new tenant the built-in agents."""
    for position, values in enumerate(BUILT_IN):
        session.execute(
            insert(AgentRow).values(id=new_id("agent"), tenant_id=tenant_id, built_in=True, position=position, **values)
        )


# Built once: pages run it for every click. Rows of columns, not entities: they cost a third.
_LIST: Final = (
    select(*AgentRow.__table__.columns)
    .where(AgentRow.tenant_id == bindparam("tenant"), AgentRow.archived_at.is_(None))
    .order_by(AgentRow.position, AgentRow.name)
)


class Agents:
    """The agents of the principal's tenant."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def list(self, principal: Principal) -> list[Agent]:
        """All that can be chosen, in their order."""

        def work(session: Session) -> list[Agent]:
            return [_value(row) for row in session.execute(_LIST, {"tenant": principal.tenant_id})]

        return self._db.read(work)


def find(session: Session, principal: Principal, agent_id: str | None) -> Agent | None:
    """The agent of the principal's tenant with that id, or None."""
    if agent_id is None:
        return None
    rows = session.execute(_LIST, {"tenant": principal.tenant_id})
    return next((_value(row) for row in rows if row.id == agent_id), None)


def _value(row: Any) -> Agent:
    return Agent(
        id=row.id,
        slug=row.slug,
        name=row.name,
        description=row.description,
        system_prompt=row.system_prompt,
        model=row.model,
        parameters=row.parameters or {},
        suggestions=tuple(row.suggestions or ()),
        tools=tuple(AgentTool(one["name"], one.get("asks_first")) for one in row.tools or ()),
        knowledge=tuple(row.knowledge or ()),
    )
