"""What is counted of calls: each measure once, as SQL over ledger rows and as SQL over rows of a rollup.

The names are the columns of `db.tables.Measures`. Over the ledger, rows that still run count as calls and nowhere else.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, and_, case, cast, func, literal
from sqlalchemy.sql.elements import Label

from chatcore.db.tables import UsageDaily, UsageHourly, UsageMetric

_call: Final = UsageMetric
_OUTCOMES: Final = ("ok", "stopped", "interrupted", "error", "timeout", "rate_limited", "truncated", "cached")
_SPOKE: Final = and_(
    _call.ttft_ms.is_not(None), _call.latency_ms > _call.ttft_ms, _call.completion_tokens > 0, _call.outcome != "cached"
)

# An expression whose sum over some rows is the measure. Nothing here may be NULL.
_OF_A_CALL: Final[dict[str, ColumnElement[Any]]] = {
    "calls": literal(1),
    "prompt_tokens": _call.prompt_tokens.expression,
    "cached_tokens": _call.cached_tokens.expression,
    "cache_write_tokens": _call.cache_write_tokens.expression,
    "completion_tokens": _call.completion_tokens.expression,
    "reasoning_tokens": _call.reasoning_tokens.expression,
    "cost_nano_usd": func.coalesce(_call.cost_nano_usd, 0),
    "saved_nano_usd": _call.saved_nano_usd.expression,
    "priced": case((and_(_call.cost_nano_usd.is_not(None), _call.outcome != "running"), 1), else_=0),
    "estimated": case((_call.usage_source == "estimated", 1), else_=0),
    "demo": case((_call.is_demo, 1), else_=0),
    **{outcome: case((_call.outcome == outcome, 1), else_=0) for outcome in _OUTCOMES},
    "again": case((and_(_call.attempt > 1, _call.outcome != "running"), 1), else_=0),
    "generated_tokens": case((_SPOKE, _call.completion_tokens), else_=0),
    "generating_ms": case((_SPOKE, _call.latency_ms - _call.ttft_ms), else_=0),
}

MEASURES: Final[Sequence[str]] = tuple(_OF_A_CALL)
"""In the order of `over_ledger` and `over_rollup`."""
FAILED: Final = ("error", "timeout", "rate_limited", "truncated", "interrupted")
"""The outcomes that count as failures."""
ERROR_TYPE: Final = func.coalesce(func.nullif(_call.error_type, ""), _call.outcome)
"""What a failed ledger row is told apart by: its type, or its outcome where it has none."""
OF_A_CALL: Final[Mapping[str, ColumnElement[Any]]] = _OF_A_CALL
"""The measures of one ledger row, by name."""


def over_ledger() -> list[Label[Any]]:
    """The measures as sums over ledger rows, labelled by their names. Whole numbers in both databases."""
    return [summed(name, expression) for name, expression in _OF_A_CALL.items()]


def over_rollup(table: type[UsageHourly] | type[UsageDaily]) -> list[Label[Any]]:
    """The measures as sums over rows of a rollup, labelled by their names."""
    return [summed(name, getattr(table, name)) for name in MEASURES]


def summed(name: str, expression: ColumnElement[Any]) -> Label[Any]:
    """PostgreSQL sums bigints to decimals, and nothing at all to NULL."""
    return cast(func.coalesce(func.sum(expression), 0), BigInteger).label(name)
