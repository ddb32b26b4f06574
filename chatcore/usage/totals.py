"""What is counted over ledger rows: the columns in SQL, and the value they come back as."""

from dataclasses import dataclass, fields, replace
from typing import Any, Final

from sqlalchemy import ColumnElement, Integer, and_, case, func
from sqlalchemy.engine import Row

from chatcore.db.tables import UsageMetric

FAILED: Final = ("error", "timeout", "rate_limited", "truncated", "interrupted")


@dataclass(frozen=True)
class Totals:
    """Sums over some calls. Totals of disjoint sets of calls can be added.

    `prompt_tokens` contains the cached ones, `completion_tokens` the reasoning ones. `cost_nano_usd` is the sum over
    the calls whose cost is known, None where that is none of them; `unpriced` counts the settled calls it lacks.
    `estimated` calls have tokens that we counted, not the provider. `running` calls have no numbers yet. `failed`
    calls ended in an error, a timeout, a refusal by rate limit, a cut stream or a dead process. `cached` calls were
    made to nobody: an earlier reply served, and `saved_nano_usd` is what those replies had cost.
    """

    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano_usd: int | None = None
    saved_nano_usd: int = 0
    unpriced: int = 0
    estimated: int = 0
    running: int = 0
    failed: int = 0
    cached: int = 0
    demo: int = 0

    def __add__(self, other: "Totals") -> "Totals":
        pairs = [(getattr(self, name), getattr(other, name)) for name in _NAMES]
        return Totals(*(None if a is b is None else (a or 0) + (b or 0) for a, b in pairs))  # type: ignore[arg-type]

    @property
    def tokens(self) -> int:
        """In and out."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def settled(self) -> int:
        """Calls that have ended, in whatever way."""
        return self.calls - self.running

    @property
    def share_saved(self) -> float:
        """How much of what all calls would have cost the cache saved, 0 to 1."""
        whole = self.saved_nano_usd + (self.cost_nano_usd or 0)
        return self.saved_nano_usd / whole if whole else 0.0

    @property
    def priced(self) -> int:
        """Calls whose cost is known: those that `cost_nano_usd` sums."""
        return self.settled - self.unpriced


_NAMES: Final = tuple(one.name for one in fields(Totals))
_COST: Final = _NAMES.index("cost_nano_usd")


def columns() -> list[ColumnElement[Any]]:
    """The aggregates, in the order of `Totals`."""
    row = UsageMetric
    tokens = (row.prompt_tokens, row.cached_tokens, row.completion_tokens, row.reasoning_tokens)
    sums = (*tokens, row.cost_nano_usd, row.saved_nano_usd)
    counts = (
        and_(row.cost_nano_usd.is_(None), row.outcome != "running"),
        row.usage_source == "estimated",
        row.outcome == "running",
        row.outcome.in_(FAILED),
        row.cache_hit.is_(True),
        row.is_demo.is_(True),
    )
    return [func.count(), *map(func.sum, sums), *(func.sum(case((one, 1), else_=0), type_=Integer) for one in counts)]


def from_row(values: Row[Any] | tuple[Any, ...]) -> Totals:
    """`Totals` from the values of `columns()`: PostgreSQL sums bigints to decimals, and nothing at all to NULL."""
    numbers = [int(value or 0) for value in values]
    if values[_COST] is not None:
        return Totals(*numbers)
    return replace(Totals(*numbers), cost_nano_usd=None)
