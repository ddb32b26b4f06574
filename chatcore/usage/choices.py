"""What the asker may narrow their questions by."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import case, exists, or_, select, union
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.db.tables import NOT_ROLLED_UP, Agent, UsageDaily, UsageMetric, User
from chatcore.usage.scope import NONE, scope

_PRIVATE: Final = "A private agent"
_EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Person:
    """A choice in the person filter."""

    id: str
    name: str
    username: str
    is_demo: bool


@dataclass(frozen=True)
class Choices:
    """Names that calls have, also of models gone from the configuration; each list in order.

    `agents`: (id, name), with `none` for calls without; `teams`: with `none` where somebody is in none.
    """

    models: tuple[str, ...]
    providers: tuple[str, ...]
    agents: tuple[tuple[str, str], ...]
    tiers: tuple[str, ...]
    teams: tuple[str, ...]
    people: tuple[Person, ...]


def choices(session: Session, principal: Principal) -> Choices:
    """An admin's are those of the tenant, a member's those of their own calls; they can choose no people or teams."""
    found = _calls(session, principal)
    models, providers, tiers = ({row[place] for row in found} for place in range(3))
    everybody = people(session, principal)
    return Choices(
        models=tuple(sorted(models)),
        providers=tuple(sorted(providers)),
        agents=_agents(session, principal) if found else (),
        tiers=tuple(sorted(tiers)),
        teams=_teams(session, principal) if principal.is_admin else (),
        people=tuple(everybody) if principal.is_admin else (),
    )


def people(session: Session, principal: Principal) -> list[Person]:
    """Whom the asker may filter by, by name: everybody of the tenant for an admin, themselves for a member."""
    where = [User.tenant_id == principal.tenant_id]
    if not principal.is_admin:
        where.append(User.id == principal.user_id)
    rows = session.execute(select(User.id, User.name, User.username, User.is_demo).where(*where))
    return sorted((Person(*row) for row in rows), key=lambda person: (person.name.casefold(), person.username))


def models(session: Session, principal: Principal) -> list[str]:
    """Names of the models in the rows that the asker may count, also those gone from the configuration."""
    return sorted({row[0] for row in _calls(session, principal)})


def _calls(session: Session, principal: Principal) -> list[tuple[str, str, str]]:
    """Each model, provider and tier of calls. A tenant's come from the months, and from what these lack yet."""
    ledger = select(UsageMetric.model, UsageMetric.provider, UsageMetric.tier).where(*scope(principal)).distinct()
    if not principal.is_admin:
        return [(model, provider, tier) for model, provider, tier in session.execute(ledger)]
    of = UsageDaily
    months = select(of.model, of.provider, of.tier).where(
        of.tenant_id == principal.tenant_id, of.level == "month", of.kind == "model", of.calls > 0
    )
    rows = session.execute(union(months, ledger.where(NOT_ROLLED_UP)))
    return [(model, provider, tier) for model, provider, tier in rows]


def _agents(session: Session, principal: Principal) -> tuple[tuple[str, str], ...]:
    """A private agent of somebody else has no name here; a member sees those of their own calls besides the team's."""
    theirs = or_(Agent.visibility == "team", Agent.owner_id == principal.user_id)
    name = case((theirs, Agent.name), else_=_PRIVATE)
    called = exists().where(UsageMetric.agent_id == Agent.id, *scope(principal))
    where = [Agent.tenant_id == principal.tenant_id, *([] if principal.is_admin else [or_(theirs, called)])]
    rows = session.execute(select(Agent.id, name).where(*where, or_(Agent.visibility != "draft", called)))
    named = sorted(((agent_id, name) for agent_id, name in rows), key=lambda one: (one[1].casefold(), one[0]))
    return (*named, (NONE, "No agent"))


def _teams(session: Session, principal: Principal) -> tuple[str, ...]:
    found = set(session.scalars(select(User.team).where(User.tenant_id == principal.tenant_id).distinct()))
    return (*sorted(team for team in found if team), *((NONE,) if found - {*filter(None, found)} else ()))
