"""The variables of a system prompt, filled in when a turn begins."""

import re
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.agents.values import Agent
from chatcore.db.tables import Tenant, utcnow

VARIABLES: Final = {
    "date": "The day of the question, such as Thursday, 26 November 2026",
    "person": "The name of who asks",
    "team": "The name of the team",
}
"""The names that stand between `{{` and `}}`, each with what comes in their place."""
_VARIABLE: Final = re.compile(rf"\{{\{{ ?({'|'.join(VARIABLES)}) ?\}}\}}")
_TENANT: Final = select(Tenant.name, Tenant.timezone).where(Tenant.id == bindparam("tenant"))


def prompt_for(agent: Agent, person: str, team: str, now: datetime) -> str:
    """The system prompt with its variables filled in; what is none of them stays as it was written.

    `person`, `team`: names. `now`: in the time zone whose day is meant.
    """
    return filled(agent.system_prompt, person, team, now)


def filled(text: str, person: str, team: str, now: datetime) -> str:
    """As `prompt_for`, of any text. Braces in the values mean nothing."""
    values = {"date": f"{now:%A, %-d %B %Y}", "person": person, "team": team}
    return _VARIABLE.sub(lambda found: values[found[1]], text)


def prompt_of(session: Session, principal: Principal, agent: Agent) -> str:
    """`prompt_for` this person, now, by the clock of their tenant. Reads nothing where there is nothing to fill in."""
    if not _VARIABLE.search(agent.system_prompt):
        return agent.system_prompt
    return filled(agent.system_prompt, *facts(session, principal))


def facts(session: Session, principal: Principal) -> tuple[str, str, datetime]:
    """What the variables stand for: the person's name, the team's, and now by the team's clock."""
    team, timezone = session.execute(_TENANT, {"tenant": principal.tenant_id}).one()
    return principal.name or principal.username, team, utcnow().astimezone(ZoneInfo(timezone))
