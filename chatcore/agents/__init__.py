"""Agents: a system prompt with a model, parameters, tools and knowledge under a name.

Every tenant starts with the built-in ones; people make more, for themselves, for some colleagues or for the team. Who
may use an agent may read, copy and export it; its owner, and for the team's the admins, change it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import insert
from sqlalchemy.orm import Session

from chatcore.accounts import audit
from chatcore.accounts.active import require_active
from chatcore.accounts.principal import Principal
from chatcore.agents import contents, drafts, erasing, exchange, figures, history, prompting, store
from chatcore.agents.built_in import BUILT_IN
from chatcore.agents.contents import (
    MAX_DESCRIPTION,
    MAX_HEADING,
    MAX_KNOWLEDGE,
    MAX_NAME,
    MAX_NOTE,
    MAX_PEOPLE,
    MAX_PROMPT,
    MAX_QUESTION,
    MAX_SUGGESTIONS,
    MAX_TOKENS,
    MAX_TOOLS,
)
from chatcore.agents.erasing import erase_person
from chatcore.agents.exchange import Allowed, Imported
from chatcore.agents.history import Change, changes
from chatcore.agents.pictures import MAX_UPLOAD, square
from chatcore.agents.prompting import VARIABLES, filled, prompt_for, prompt_of
from chatcore.agents.store import find
from chatcore.agents.values import (
    VISIBILITIES,
    Agent,
    AgentTool,
    Colleague,
    Content,
    Draft,
    Figures,
    ListedAgent,
    OpenedAgent,
    Unsaved,
    Version,
    Visibility,
)
from chatcore.db import Database
from chatcore.db.tables import Agent as AgentRow
from chatcore.db.tables import utcnow
from chatcore.errors import Conflict, NotFound
from chatcore.ids import new_id

__all__ = [
    "MAX_DESCRIPTION", "MAX_HEADING", "MAX_KNOWLEDGE", "MAX_NAME", "MAX_NOTE", "MAX_PEOPLE", "MAX_PROMPT",
    "MAX_QUESTION", "MAX_SUGGESTIONS", "MAX_TOKENS", "MAX_TOOLS", "MAX_UPLOAD", "VARIABLES", "VISIBILITIES", "Agent",
    "AgentTool", "Agents", "Allowed", "Change", "Colleague", "Content", "Draft", "Figures", "Imported", "ListedAgent",
    "OpenedAgent", "Unsaved", "Version", "Visibility", "changes", "erase_person", "filled", "find", "prompt_for",
    "prompt_of", "seed", "square",
]  # fmt: skip


def seed(session: Session, tenant_id: str) -> None:
    """Give a new tenant the built-in agents."""
    for position, values in enumerate(BUILT_IN):
        session.execute(
            insert(AgentRow).values(id=new_id("agent"), tenant_id=tenant_id, built_in=True, position=position, **values)
        )


class Agents:
    """The agents of the principal's tenant, as far as they are theirs to use.

    Everything that takes an id raises `NotFound`, the same for absent and for what is not theirs; changing what they
    may only use raises `Forbidden`, and every change `Unauthorized` for who was signed out meanwhile.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def list(self, principal: Principal) -> list[ListedAgent]:
        """All that can be chosen, in their order: those of every tenant first."""
        return self._db.read(lambda session: store.listed(session, principal))

    def archived(self, principal: Principal) -> Sequence[ListedAgent]:
        """The archived ones that the principal may bring back."""
        return self._db.read(lambda session: store.listed(session, principal, archived=True))

    def get(self, principal: Principal, agent_id: str) -> OpenedAgent:
        """All of an agent."""
        return self._db.read(lambda session: store.opened(session, principal, agent_id))

    def names(self, principal: Principal, ids: Sequence[str]) -> dict[str, str]:
        """Names by id, also of agents that are archived or deleted, or no longer shared, where they stand in a
        conversation of the principal's."""
        return self._db.read(lambda session: store.names(session, principal, ids)) if ids else {}

    def pictures(self, principal: Principal, ids: Sequence[str]) -> dict[str, bytes]:
        """Small PNGs by id, of those that have one."""
        return self._db.read(lambda session: store.pictures(session, principal, ids)) if ids else {}

    def colleagues(self, principal: Principal) -> Sequence[Colleague]:
        """The people of the tenant, by name, the principal among them."""
        return self._db.read(lambda session: store.colleagues(session, principal))

    def create(self, principal: Principal, content: Content, note: str = "") -> str:
        """Save a new agent of the principal's; returns its id. Raises `InvalidInput`, `Conflict` when one has 200."""
        values, said = contents.checked(content), contents.note(note)

        def work(session: Session) -> str:
            agent_id = store.create(session, principal, values, said)
            store.note_sharing(session, principal, agent_id, "own", contents.content_of(values))
            drafts.drop(session, principal, None)
            return agent_id

        return self._db.write(work)

    def copy(self, principal: Principal, agent_id: str) -> str:
        """A private copy, with nobody but the principal in it; returns its id. Raises `Conflict` when one has 200."""

        def work(session: Session) -> str:
            found = store.opened(session, principal, agent_id)
            name = f"Copy of {found.content.name}"[:MAX_NAME].strip()
            own = {**vars(found.content), "name": name, "visibility": "own", "shared_with": ()}
            return store.create(session, principal, contents.checked(Content(**own)), "")

        return self._db.write(work)

    def save(self, principal: Principal, agent_id: str, content: Content, version: int, note: str = "") -> int:
        """Save a new version over `version`, the one that was changed; returns its number.

        Nothing is written where nothing was changed. Raises `InvalidInput`, and `Conflict`, which names who, where
        another version was saved since.
        """
        values, said = contents.checked(content), contents.note(note)

        def work(session: Session) -> int:
            number = history.save(session, principal, agent_id, values, version, said)
            drafts.drop(session, principal, agent_id)
            return number

        return self._db.write(work)

    def versions(self, principal: Principal, agent_id: str, before: int | None = None) -> Sequence[Version]:
        """The saves of an agent, newest first, at most 50; `before`: below that number. For who may change it."""
        return self._db.read(
            lambda session: history.versions(session, store.editable(session, principal, agent_id), before)
        )

    def version(self, principal: Principal, agent_id: str, number: int) -> Content:
        """What a version says, for who may change the agent."""
        return self._db.read(
            lambda session: history.content(session, store.editable(session, principal, agent_id), number)
        )

    def roll_back(self, principal: Principal, agent_id: str, number: int, version: int) -> int:
        """Save what version `number` said as a new version over `version`. Who may use the agent stays as it is.

        Raises `Conflict` as `save` does.
        """
        return self._db.write(lambda session: history.roll_back(session, principal, agent_id, number, version))

    def reset(self, principal: Principal, agent_id: str, version: int) -> int:
        """Take a built-in agent back to what was shipped, as a new version. Raises `Conflict` as `save` does."""
        return self._db.write(lambda session: history.reset(session, principal, agent_id, version))

    def archive(self, principal: Principal, agent_id: str) -> None:
        """Take it from all lists. Conversations that have it go on without it and still name it."""
        self._put_away(principal, agent_id, archived=True)

    def restore(self, principal: Principal, agent_id: str) -> None:
        """Bring an archived one back."""
        self._put_away(principal, agent_id, archived=False)

    def delete(self, principal: Principal, agent_id: str) -> None:
        """Delete an archived agent for good, with its versions; conversations still name it. Raises `Conflict` for one
        that is not archived."""

        def work(session: Session) -> None:
            found = store.editable(session, principal, agent_id)
            if found.archived_at is None:
                raise Conflict("Archive this agent before you delete it.")
            if found.content.visibility == "team":
                audit.record(session, principal, "agent.delete", agent_id, name=found.content.name)
            drafts.drop(session, principal, agent_id)
            erasing.empty(session, [agent_id])

        self._db.write(work)

    def draft(self, principal: Principal, of: str | None) -> Draft | None:
        """What the principal wrote of the agent `of`, of a new one for None, and did not save."""
        return self._db.read(lambda session: drafts.get(session, principal, of))

    def drafts(self, principal: Principal) -> Sequence[Unsaved]:
        """All that the principal did not save yet, newest first."""
        return self._db.read(lambda session: drafts.listed(session, principal))

    def keep_draft(self, principal: Principal, of: str | None, content: Content, version: int = 0) -> str:
        """Keep what is not saved yet; returns the id of an agent that answers so, for the principal alone.

        `version`: of the agent that was changed. Raises `InvalidInput`; it needs no name yet.
        """
        values = contents.checked(content, unfinished=True)
        return self._db.write(lambda session: drafts.keep(session, principal, of, values, version))

    def drop_draft(self, principal: Principal, of: str | None) -> None:
        """Forget it."""
        self._db.write(lambda session: drafts.drop(session, principal, of))

    def preview(self, principal: Principal, text: str) -> str:
        """A system prompt as a model would get it, asked by the principal now."""
        return prompting.filled(text, *self._db.read(lambda session: prompting.facts(session, principal)))

    def export(self, principal: Principal, agent_id: str, knowledge: Mapping[str, str]) -> bytes:
        """An agent as JSON. `knowledge`: names of the knowledge bases that the principal may use, by id."""
        return exchange.written(self.get(principal, agent_id).content, knowledge)

    def import_(self, principal: Principal, data: bytes, allowed: Allowed) -> Imported:
        """A new private agent from JSON, without what the principal may not use. Raises `InvalidInput`, `Conflict`."""
        content, left_out = exchange.read(data, allowed)
        values = contents.checked(content)
        agent_id = self._db.write(lambda session: store.create(session, principal, values, "Imported"))
        return Imported(agent_id, values["name"], left_out)

    def figures(self, principal: Principal, ids: Sequence[str], now: datetime | None = None) -> dict[str, Figures]:
        """The last 30 days of these agents, of those they own for a member; all but `people`."""
        moment = now or utcnow()
        return self._db.read(lambda session: figures.of(session, principal, ids, moment)) if ids else {}

    def people(self, principal: Principal, agent_id: str, now: datetime | None = None) -> int | None:
        """How many people called an agent in the last 30 days; None where there are too many calls to look through.

        Raises `NotFound` where its figures are not the principal's to see.
        """
        moment = now or utcnow()

        def work(session: Session) -> int | None:
            if agent_id not in figures.of(session, principal, [agent_id], moment):
                raise NotFound("This agent does not exist, or its figures are not yours to see.")
            return figures.people(session, principal, agent_id, moment)

        return self._db.read(work)

    def _put_away(self, principal: Principal, agent_id: str, *, archived: bool) -> None:
        def work(session: Session) -> None:
            require_active(session, principal)
            found = store.editable(session, principal, agent_id)
            if (found.archived_at is not None) == archived:
                return
            store.set_archived(session, agent_id, archived=archived)
            if found.content.visibility == "team":
                act = "agent.archive" if archived else "agent.restore"
                audit.record(session, principal, act, agent_id, name=found.content.name)

        self._db.write(work)
