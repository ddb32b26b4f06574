"""Alert rules as values: what can be watched, in which unit, and the rules that an instance begins with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, get_args

from chatcore.alerts.state import Terms
from chatcore.errors import InvalidInput

Severity = Literal["critical", "warning"]
INSTANCE: Final = ""
"""The tenant id of what belongs to the whole instance."""
_DAY: Final = 86_400
LONGEST_COOLDOWN: Final = 7 * _DAY
"""Seconds."""


@dataclass(frozen=True)
class Metric:
    """What a rule can watch. `unit`: of thresholds and values. `threshold`, `window_seconds`: what a new rule begins
    with.

    `min_calls`: fewer calls in the window tell nothing; 0 where the value is no share of calls.
    """

    name: str
    title: str
    about: str
    unit: str
    threshold: float
    window_seconds: int = 300
    min_calls: int = 0


METRICS: Final[Mapping[str, Metric]] = {
    one.name: one
    for one in (
        Metric(
            "error_rate", "Error rate",
            "The share of ended calls to models that failed: an error, a timeout, a refusal by the provider's rate "
            "limit, or a reply that was cut off. Calls that people stopped, that a dead process left or that the cache "
            "answered do not count as failed, nor do conversations that are too long, refusals by a content policy, "
            "and people's own keys that are refused.",
            "%", 5, min_calls=10,
        ),
        Metric(
            "timeout_rate", "Timeouts", "The share of ended calls that got no first or no next word in time.",
            "%", 2, min_calls=20,
        ),
        Metric(
            "provider_error_rate", "A provider's error rate", "The error rate of each provider by itself.",
            "%", 10, min_calls=10,
        ),
        Metric(
            "cost_per_hour", "Cost",
            "What calls cost in the window, as an hourly rate; without what people paid with keys of their own.",
            "US$ an hour", 10, 3600,
        ),
        Metric(
            "latency_p95", "Total time, p95", "95 % of the calls that succeeded or timed out took no longer.",
            "s", 5, 600, 10,
        ),
        Metric(
            "ttft_p95", "Time to the first word, p95", "95 % of the calls had their first word in this time.",
            "s", 2, 600, 10,
        ),
        Metric(
            "refusals", "Refusals", "Requests that a limit, a budget, a breaker or access refused, a minute.",
            "a minute", 10,
        ),
        Metric(
            "budget_share", "Budget spent", "How much of a budget is spent, each budget of the organisation by itself.",
            "%", 90,
        ),
    )
}  # fmt: skip
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)


@dataclass(frozen=True)
class Rule:
    """When to raise an alert. `threshold`: in the metric's unit, broken by what is above it. Times are seconds.

    `id`: '' before it is saved. `tenant_id`: '' for the whole instance. `channels`: ids of where notices go.
    `failover`: a provider that breaks it is put aside meanwhile.
    """

    name: str
    metric: str
    threshold: float
    window_seconds: int = 300
    for_seconds: int = 0
    cooldown_seconds: int = 1800
    min_calls: int = 1
    severity: Severity = "warning"
    channels: tuple[str, ...] = ()
    enabled: bool = True
    failover: bool = False
    id: str = ""
    tenant_id: str = INSTANCE

    @property
    def of(self) -> Metric:
        """What it watches."""
        return METRICS[self.metric]

    @property
    def terms(self) -> Terms:
        """What it says about time."""
        return Terms(self.for_seconds, self.cooldown_seconds, self.failover)

    def broken(self, value: float | None) -> bool | None:
        """Whether a value breaks it; None where there is none."""
        return None if value is None else value > self.threshold


DEFAULTS: Final[tuple[tuple[Rule, tuple[str, ...]], ...]] = (
    (Rule("Errors", "error_rate", 5, 300, min_calls=10, severity="critical"), ("pagerduty", "slack")),
    (Rule("Timeouts", "timeout_rate", 2, 300, min_calls=20), ("slack",)),
    (Rule("Cost", "cost_per_hour", 10, 3600, cooldown_seconds=3600), ("slack", "email")),
    (Rule("Slow replies", "latency_p95", 5, 600, min_calls=10), ("slack",)),
    (
        Rule(
            "A provider fails", "provider_error_rate", 10, 300, cooldown_seconds=600, min_calls=10,
            severity="critical", failover=True,
        ),
        ("pagerduty", "slack"),
    ),
)  # fmt: skip
"""What an instance begins with, and the kinds of channels that each takes up when they are made."""


def checked(rule: Rule) -> Rule:
    """The rule as it may be stored. Raises `InvalidInput` with a sentence that says what cannot be."""
    name = " ".join(rule.name.split())
    if not 1 <= len(name) <= 100:
        raise InvalidInput("A rule has a name of at most 100 characters.")
    if rule.metric not in METRICS:
        raise InvalidInput(f"A rule watches one of {', '.join(METRICS)}.")
    if rule.severity not in SEVERITIES:
        raise InvalidInput(f"A rule is one of {', '.join(SEVERITIES)}.")
    if not isinstance(rule.threshold, int | float) or not math.isfinite(rule.threshold) or rule.threshold < 0:
        raise InvalidInput("A rule's threshold is a number, 0 or more.")
    if rule.of.unit == "%" and rule.threshold > 1000:
        raise InvalidInput("A threshold in percent is at most 1000.")
    _within("The window", rule.window_seconds, 60, _DAY)
    _within("How long it must hold", rule.for_seconds, 0, _DAY)
    _within("The cool-down", rule.cooldown_seconds, 60, LONGEST_COOLDOWN)
    if type(rule.min_calls) is not int or not 0 <= rule.min_calls <= 1_000_000:
        raise InvalidInput("The least number of calls is a whole number from 0 to 1,000,000.")
    if rule.failover and (rule.metric != "provider_error_rate" or rule.tenant_id != INSTANCE):
        raise InvalidInput("Only a rule of the whole instance for a provider's error rate puts providers aside.")
    if rule.metric == "budget_share" and rule.tenant_id == INSTANCE:
        raise InvalidInput("Budgets belong to an organisation: make this rule for yours.")
    values = {one.name: getattr(rule, one.name) for one in fields(rule)}
    return Rule(**{**values, "name": name, "channels": tuple(dict.fromkeys(rule.channels))})


def from_row(row: Any) -> Rule | None:
    """The rule in a row of `alert_rules`; None where this version does not know its metric."""
    if row.metric not in METRICS:
        return None
    names = [one.name for one in fields(Rule) if one.name not in ("channels", "failover")]
    failover = bool(row.options.get("failover"))
    return Rule(**{name: getattr(row, name) for name in names}, channels=tuple(row.channels), failover=failover)


def to_row(rule: Rule, **options: Any) -> dict[str, Any]:
    """What is stored of a rule, but for its id. `options`: what stands beside `failover`."""
    values = {one.name: getattr(rule, one.name) for one in fields(rule) if one.name not in ("id", "failover")}
    return values | {"channels": list(rule.channels), "options": {**options, "failover": rule.failover}}


def _within(what: str, seconds: int, least: int, most: int) -> None:
    if type(seconds) is not int or not least <= seconds <= most:
        raise InvalidInput(f"{what} is a whole number of seconds from {least:,} to {most:,}.")
