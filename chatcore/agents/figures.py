"""What agents were used for in the last 30 days, and what people thought of their replies.

Calls come from the rollups by agent and from the ledger rows that these lack, in one statement, so that each is counted
once. A member's are those of the agents they own, an admin's those of the tenant.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, cast

from sqlalchemy import BigInteger, ColumnElement, Select, case, func, select, union_all
from sqlalchemy import cast as cast_to
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.agents.values import Figures
from chatcore.db.tables import NOT_ROLLED_UP, Rating, UsageDaily, UsageMetric
from chatcore.db.tables import Agent as AgentRow

SPAN: Final = timedelta(days=30)
GOOD: Final = 4  # stars, and more
MOST_READ: Final = 300_000
"""So many of the tenant's calls are looked through for who made them."""


def of(session: Session, principal: Principal, ids: Sequence[str], now: datetime) -> dict[str, Figures]:
    """The figures of these agents, of those that are the principal's to count; without `people`, who take longer."""
    counted = _counted(principal, ids)
    since = now - SPAN
    found = {agent_id: Figures() for agent_id in session.scalars(counted)}
    for row in session.execute(_calls(principal, counted, since)):
        cost = row.cost if row.priced else None
        found[row.agent_id] = Figures(row.calls, row.tokens, cost, row.settled - row.priced, people=None)
    for row in session.execute(_ratings(principal, counted, since)):
        stars = {"ratings": row.count, "mean_stars": row.stars / row.count, "good": row.good / row.count}
        found[row.agent_id] = replace(found[row.agent_id], **stars)
    return found


def people(session: Session, principal: Principal, agent_id: str, now: datetime) -> int | None:
    """How many people called an agent; None where the tenant has too many calls to look through."""
    since = now - SPAN
    day = UsageDaily
    whole = select(func.coalesce(func.sum(day.calls), 0)).where(
        day.tenant_id == principal.tenant_id, day.level == "day", day.kind == "agent", day.start >= since
    )
    if (session.scalar(whole) or 0) > MOST_READ:
        return None
    call = UsageMetric
    asked = select(func.count(func.distinct(call.user_id))).where(
        call.tenant_id == principal.tenant_id, call.created_at >= since,
        call.agent_id.in_(_counted(principal, [agent_id])),
    )  # fmt: skip
    return session.scalar(asked) or 0


def _counted(principal: Principal, ids: Sequence[str]) -> Select[str]:
    mine = select(AgentRow.id).where(AgentRow.tenant_id == principal.tenant_id, AgentRow.id.in_(list(ids)))
    return mine if principal.is_admin else mine.where(AgentRow.owner_id == principal.user_id)


def _calls(principal: Principal, counted: Select[str], since: datetime) -> Select[Any]:
    day, call = UsageDaily, UsageMetric
    rolled = select(
        day.agent_id, day.calls.label("calls"), day.calls.label("settled"), day.priced.label("priced"),
        (day.prompt_tokens + day.completion_tokens).label("tokens"), day.cost_nano_usd.label("cost"),
    ).where(
        day.tenant_id == principal.tenant_id, day.level == "day", day.kind == "agent", day.start >= since,
        day.agent_id.in_(counted),
    )  # fmt: skip
    settled = case((call.outcome == "running", 0), else_=1)
    priced = case((call.cost_nano_usd.is_(None), 0), else_=settled)
    lacking = select(
        call.agent_id, _big(1), _big(settled), _big(priced), _big(call.prompt_tokens + call.completion_tokens),
        _big(func.coalesce(call.cost_nano_usd, 0)),
    ).where(
        call.tenant_id == principal.tenant_id, call.created_at >= since, call.agent_id.in_(counted),
        # Written as text, the condition has no type of its own.
        cast("ColumnElement[bool]", NOT_ROLLED_UP),
    )  # fmt: skip
    both = union_all(rolled, lacking).subquery().c
    sums = [_big(func.sum(both[name])).label(name) for name in ("calls", "settled", "priced", "tokens", "cost")]
    return select(both.agent_id, *sums).group_by(both.agent_id)


def _ratings(principal: Principal, counted: Select[str], since: datetime) -> Select[Any]:
    good = case((Rating.stars >= GOOD, 1), else_=0)
    sums = [func.sum(Rating.stars).label("stars"), func.sum(good).label("good")]
    return (
        select(Rating.agent_id, func.count().label("count"), *sums)
        .where(Rating.tenant_id == principal.tenant_id, Rating.created_at >= since, Rating.agent_id.in_(counted))
        .group_by(Rating.agent_id)
    )


def _big(value: Any) -> ColumnElement[int]:
    return cast_to(value, BigInteger)
