"""Percentiles of times from counts by bucket.

A bucket begins 4 % above the one before it (or a millisecond, where that is more), and everything in it is taken for
the geometric middle of its ends. So a percentile told from buckets differs from the true one, which is some call's
time, by at most 2 %: sqrt(1.04) - 1. Up to 25 ms every millisecond has a bucket of its own. Times of a day and more
share the last one. Counts can be added, so the percentiles of a month come from those of its days.

The lower ends stand in `latency_buckets` too, for SQL; `usage_latency` keeps the counts, 32 buckets in a row.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, and_

from chatcore.db.tables import LATENCY_PLACES, USAGE_LATENCY, UsageMetric

WORST_ERROR: Final = 0.02
"""By how much of itself a percentile may be off."""
PERCENTILES: Final = (50, 95, 99)
_LONGEST_MS: Final = 24 * 3600 * 1000

_call: Final = UsageMetric.__table__.c
METRICS: Final[Mapping[str, tuple[ColumnElement[int], ColumnElement[bool]]]] = {
    "ttft": (_call.ttft_ms, and_(_call.ttft_ms.is_not(None), _call.outcome.not_in(("running", "cached")))),
    "latency": (
        _call.latency_ms,
        and_(_call.latency_ms.is_not(None), _call.outcome.in_(("ok", "stopped", "truncated"))),
    ),
    "hit": (_call.latency_ms, and_(_call.latency_ms.is_not(None), _call.outcome == "cached")),
}
"""What is measured: which time of a ledger row, and of which rows. Calls that failed have no `latency`: one that is
refused in 50 ms would make a model look fast."""


def _lows() -> Iterable[int]:
    low = 0
    while low < _LONGEST_MS:
        yield low
        low = max(low + 1, low * 104 // 100)
    yield low


LOWS: Final = tuple(_lows())
"""The first millisecond of each bucket."""
BLOCKS: Final = math.ceil(len(LOWS) / LATENCY_PLACES)
PLACES: Final = tuple(USAGE_LATENCY.c[f"n{place}"] for place in range(LATENCY_PLACES))


def bucket(milliseconds: int) -> int:
    """The bucket of a time."""
    return bisect_right(LOWS, max(milliseconds, 0)) - 1


def middle(number: int) -> float:
    """What a time in this bucket is taken for, in milliseconds."""
    low = LOWS[number]
    last = LOWS[number + 1] - 1 if number + 1 < len(LOWS) else low
    return math.sqrt(low * last) if low else 0.0


def unfold(blocks: Iterable[tuple[int, Sequence[Any]]]) -> dict[int, int]:
    """Counts by bucket from rows of (block, the 32 counts)."""
    found: dict[int, int] = {}
    for block, counts in blocks:
        for place, count in enumerate(counts):
            if count:
                number = block * LATENCY_PLACES + place
                found[number] = found.get(number, 0) + int(count)
    return found


def percentile(counts: Mapping[int, int], percent: float) -> float | None:
    """The time that `percent` of the calls did not exceed (the nearest rank), in milliseconds; None without calls."""
    whole = sum(counts.values())
    if whole <= 0:
        return None
    rank, seen = max(math.ceil(whole * percent / 100), 1), 0
    for number in sorted(counts):
        seen += counts[number]
        if seen >= rank:
            return middle(number)
    return None
