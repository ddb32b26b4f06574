"""What alert rules watch, read from the ledger's last minutes.

A call counts in the window in which it ended. Only rows of the last hour before the window are looked at, which the
ledger's index finds; a call that took longer than that is not seen. Made-up data never counts.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Float, Integer, and_, case, cast, func, not_, or_, select
from sqlalchemy.orm import Session

from chatcore.alerts.rules import INSTANCE, Rule
from chatcore.db.tables import LimitHit, Tenant, UsageMetric, User
from chatcore.usage import budget_rows

_LONGEST_CALL: Final = timedelta(hours=1)
_call: Final = UsageMetric
_ENDED: Final = _call.outcome.in_(("ok", "stopped", "error", "timeout", "rate_limited", "truncated"))
_OWN_FAULT: Final = or_(  # not the provider's: another model or another person would not have helped
    func.coalesce(_call.error_type, "").in_(("context_too_long", "refused_content")),
    and_(_call.key_source != "shared", func.coalesce(_call.error_type, "").in_(("bad_key", "rate_limited"))),
)
_FAILED: Final = and_(_call.outcome.in_(("error", "timeout", "rate_limited", "truncated")), not_(_OWN_FAULT))
_TIMED_OUT: Final = _call.outcome == "timeout"
_TENANTS: Final = select(Tenant.id)
_MADE_UP: Final = select(User.id).where(User.is_demo)


@dataclass(frozen=True)
class Reading:
    """What a look found, in the metric's unit; `value` is None where `calls` are too few to tell.

    `subject`: the provider or the budget, '' for the rule's whole scope; `label`: what people call it; `person`: the id
    of whom it is about, where that is one.
    """

    subject: str
    value: float | None
    calls: int = 0
    label: str = ""
    person: str = ""


@dataclass(frozen=True)
class _Look:
    session: Session
    rule: Rule
    now: datetime
    start: datetime
    tenants: Sequence[str]
    fresh: bool

    @property
    def where(self) -> tuple[ColumnElement[bool], ...]:
        """The calls that ended in the window; the fresh ones also began in it."""
        began = self.start if self.fresh else self.start - _LONGEST_CALL
        return (
            _call.tenant_id.in_(self.tenants),
            _call.created_at >= began,
            _call.settled_at > self.start,
            _call.settled_at <= self.now,
            _call.is_demo.is_(False),
        )


def read(session: Session, rule: Rule, now: datetime, fresh_since: datetime | None = None) -> list[Reading]:
    """What the rule's window holds now, one reading for each subject.

    `fresh_since`: only calls that began later count, whatever the window says.
    """
    start = now - timedelta(seconds=rule.window_seconds)
    if fresh_since is not None:
        start = max(start, min(fresh_since, now))
    everybody = rule.tenant_id == INSTANCE
    tenants = list(session.scalars(_TENANTS)) if everybody else [rule.tenant_id]
    found = _READERS[rule.metric](_Look(session, rule, now, start, tenants, fresh_since is not None))
    least = rule.min_calls if rule.of.min_calls else 0
    return [one if one.calls >= least else Reading(one.subject, None, one.calls, one.label) for one in found]


def _rate(look: _Look, bad: ColumnElement[bool]) -> list[Reading]:
    calls, wrong = look.session.execute(select(func.count(), _count(bad)).where(*look.where, _ENDED)).one()
    return [Reading("", _percent(wrong, calls), calls)]


def _by_provider(look: _Look) -> list[Reading]:
    statement = select(_call.provider, func.count(), _count(_FAILED)).where(*look.where, _ENDED)
    rows = look.session.execute(statement.group_by(_call.provider).order_by(_call.provider))
    return [Reading(provider, _percent(wrong, calls), calls, provider) for provider, calls, wrong in rows]


def _cost(look: _Look) -> list[Reading]:
    total = func.coalesce(func.sum(cast(_call.cost_nano_usd, Float)), 0.0)
    statement = select(func.count(), total).where(*look.where, _call.key_source != "person")
    calls, nano = look.session.execute(statement).one()
    return [Reading("", nano / 1e9 * 3600 / look.rule.window_seconds, calls)]


def _p95(look: _Look, column: Any, *which: ColumnElement[bool]) -> list[Reading]:
    where = (*look.where, *which, column.is_not(None))
    calls = look.session.scalar(select(func.count()).where(*where)) or 0
    if not calls:
        return [Reading("", None)]
    rank = math.ceil(calls * 95 / 100)
    found = look.session.scalar(select(column).where(*where).order_by(column).offset(rank - 1).limit(1))
    return [Reading("", None if found is None else found / 1000, calls)]


def _refusals(look: _Look) -> list[Reading]:
    statement = select(func.coalesce(func.sum(LimitHit.hits, type_=Integer), 0)).where(
        LimitHit.minute > look.start,
        LimitHit.minute <= look.now,
        LimitHit.tenant_id.in_(look.tenants),
        LimitHit.user_id.not_in(_MADE_UP),
    )
    hits = look.session.scalar(statement) or 0
    return [Reading("", hits * 60 / look.rule.window_seconds, hits)]


def _budgets(look: _Look) -> list[Reading]:
    found = []
    for tenant in look.tenants:
        for budget in budget_rows.of_tenant(look.session, tenant, look.now):
            spent = budget_rows.counted(look.session, budget)
            share = _percent(spent, budget.amount) if budget.amount else 100.0
            person = budget.scope_id if budget.scope == "user" else ""
            found.append(Reading(budget.id, share, label=_whose(budget), person=person))
    return found


def _whose(budget: budget_rows.Counted) -> str:
    whose = {"tenant": "everybody", "team": f"team {budget.scope_id}"}.get(budget.scope) or budget.name or "somebody"
    return f"{whose} (each {budget.period})"


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0), type_=Integer), 0)


def _percent(part: int, whole: int) -> float | None:
    return part / whole * 100 if whole else None


_READERS: Final[Mapping[str, Callable[[_Look], list[Reading]]]] = {
    "error_rate": lambda look: _rate(look, _FAILED),
    "timeout_rate": lambda look: _rate(look, _TIMED_OUT),
    "provider_error_rate": _by_provider,
    "cost_per_hour": _cost,
    "latency_p95": lambda look: _p95(look, _call.latency_ms, _call.outcome.in_(("ok", "timeout"))),
    "ttft_p95": lambda look: _p95(look, _call.ttft_ms, _call.outcome.in_(("ok", "stopped", "truncated"))),
    "refusals": _refusals,
    "budget_share": _budgets,
}
