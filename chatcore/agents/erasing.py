"""Taking away for good what somebody wrote of agents, while old conversations still name them."""

from sqlalchemy import Text, cast, delete, select, update
from sqlalchemy.orm import Session

from chatcore.agents import access
from chatcore.agents.drafts import EMPTY
from chatcore.db.tables import Agent as AgentRow
from chatcore.db.tables import AgentVersion as VersionRow
from chatcore.db.tables import utcnow

FORMER = "Former agent"


def empty(session: Session, agent_ids: list[str], *, name: str | None = None) -> None:
    """Nothing is left of these agents but a row with their name, or with this one."""
    session.execute(delete(VersionRow).where(VersionRow.agent_id.in_(agent_ids)))
    values = {**EMPTY, "owner_id": None, "visibility": access.GONE, "archived_at": utcnow()}
    if name is not None:
        values["name"] = name
    session.execute(update(AgentRow).where(AgentRow.id.in_(agent_ids)).values(**values))


def erase_person(session: Session, user_id: str) -> None:
    """A person's own agents go, those that they gave to the team are its own, and nothing names them any more."""
    own = select(AgentRow.id).where(AgentRow.owner_id == user_id, AgentRow.visibility != "team")
    empty(session, list(session.scalars(own)), name=FORMER)
    session.execute(update(AgentRow).where(AgentRow.owner_id == user_id).values(owner_id=None))
    session.execute(update(VersionRow).where(VersionRow.user_id == user_id).values(user_id=None))
    named = cast(AgentRow.shared_with, Text).contains(f'"{user_id}"', autoescape=True)
    for agent_id, people in session.execute(select(AgentRow.id, AgentRow.shared_with).where(named)).all():
        left = [one for one in people if one != user_id]
        session.execute(update(AgentRow).where(AgentRow.id == agent_id).values(shared_with=left))
