"""The sums over some calls, as one value."""

from dataclasses import dataclass, fields
from typing import Final

from chatcore.usage.measures import FAILED

__all__ = ["FAILED", "OUTCOMES", "Totals"]
OUTCOMES: Final = ("ok", "stopped", "interrupted", "error", "timeout", "rate_limited", "truncated", "cached")
"""How a call can end. Each settled call has one of these."""


@dataclass(frozen=True)
class Totals:
    """Sums over some calls. Totals of disjoint sets of calls can be added.

    `prompt_tokens` contains the cached ones, `completion_tokens` the reasoning ones. `cost_nano_usd` is the sum over
    the calls whose cost is known, None where that is none of them; `unpriced` counts the settled calls it lacks.
    `estimated` calls have tokens that we counted, not the provider. `running` calls have no numbers yet. `failed`
    calls ended in an error, a timeout, a refusal by rate limit, a cut stream or a dead process. `cached` calls were
    made to nobody: an earlier reply served, and `saved_nano_usd` is what those replies had cost. `ok` to `truncated`
    count outcomes; `again`, calls that were not the first attempt. `generated_tokens` were said in `generating_ms`,
    both over the calls whose first word and end are known.
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
    cache_write_tokens: int = 0
    ok: int = 0
    stopped: int = 0
    interrupted: int = 0
    error: int = 0
    timeout: int = 0
    rate_limited: int = 0
    truncated: int = 0
    again: int = 0
    generated_tokens: int = 0
    generating_ms: int = 0

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
    def priced(self) -> int:
        """Calls whose cost is known: those that `cost_nano_usd` sums."""
        return self.settled - self.unpriced

    @property
    def share_saved(self) -> float:
        """How much of what all calls would have cost the cache saved, 0 to 1."""
        whole = self.saved_nano_usd + (self.cost_nano_usd or 0)
        return self.saved_nano_usd / whole if whole else 0.0

    @property
    def tokens_per_second(self) -> float | None:
        """How fast words came once the first was there; None where that is not known of any call."""
        return self.generated_tokens * 1000 / self.generating_ms if self.generating_ms else None

    @property
    def average_tokens(self) -> float | None:
        """In and out, of a settled call."""
        return self.tokens / self.settled if self.settled else None

    @property
    def average_cost_nano_usd(self) -> float | None:
        """Of a call whose cost is known."""
        return None if self.cost_nano_usd is None or not self.priced else self.cost_nano_usd / self.priced

    def share(self, name: str) -> float:
        """How many of the settled calls are of a count (`failed`, `ok`, `cached`, `estimated`, …), 0 to 1."""
        count: int = getattr(self, name)
        return count / self.settled if self.settled else 0.0


_NAMES: Final = tuple(one.name for one in fields(Totals))
