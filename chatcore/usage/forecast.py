"""What a month will have cost at its end.

What is spent so far, and for each day to come the mean of the same weekday over the last 28 days; for the rest of
today, what that mean has over what today cost. The band holds four of five outcomes, if days vary as they did: k days
that have the mean of n past ones are off by a variance of k·s² + k²·s²/n together, s² being that of the residuals.
(R. J. Hyndman, G. Athanasopoulos: Forecasting: Principles and Practice, 3rd ed., 5.2 and 5.5: a seasonal mean with
normal bands.) With less than two weeks of history, all days have one mean.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

LOOKED_BACK: Final = 28
"""Days."""
_BAND: Final = 1.2816
"""Standard deviations to each side that hold 80 % of a normal distribution."""
_BY_WEEKDAY_FROM: Final = 14
_ENOUGH: Final = 3


@dataclass(frozen=True)
class Forecast:
    """Nano-USD of a month. `month`: its first day; `spent`: so far, of calls whose cost is known.

    `expected`, `low` and `high`: at the month's end, None with less than three days of history.
    """

    month: date
    spent: int
    expected: int | None
    low: int | None
    high: int | None


def forecast(costs: Mapping[date, int], today: date) -> Forecast:
    """`costs`: nano-USD by day, up to and with today; days that are not there cost nothing."""
    month = today.replace(day=1)
    spent = sum(cost for day, cost in costs.items() if month <= day <= today)
    past = _history(costs, today)
    if len(past) < _ENOUGH:
        return Forecast(month, spent, None, None, None)
    weekly = len(past) >= _BY_WEEKDAY_FROM
    days = Counter(_season(day, weekly) for day in past)
    sums: Counter[int] = Counter()
    for day in past:
        sums[_season(day, weekly)] += costs.get(day, 0)
    means = {season: sums[season] / number for season, number in days.items()}
    squares = sum((costs.get(day, 0) - means[_season(day, weekly)]) ** 2 for day in past)
    variance = squares / max(len(past) - len(days), 1)

    coming = Counter(_season(day, weekly) for day in _coming(today))
    more = sum(number * means[season] for season, number in coming.items())
    more += max(means[_season(today, weekly)] - costs.get(today, 0), 0.0)
    off = math.sqrt(sum(number * variance * (1 + number / days[season]) for season, number in coming.items()))
    low, high = max(more - _BAND * off, 0.0), more + _BAND * off
    return Forecast(month, spent, spent + round(more), spent + round(low), spent + round(high))


def _season(day: date, weekly: bool) -> int:
    return day.weekday() if weekly else 0


def _history(costs: Mapping[date, int], today: date) -> list[date]:
    """The days looked back at: none from before the first that cost something."""
    days = [today - timedelta(days=back) for back in range(LOOKED_BACK, 0, -1)]
    first = next((day for day in days if costs.get(day, 0)), today)
    return [day for day in days if day >= first]


def _coming(today: date) -> list[date]:
    """The rest of the month's days."""
    after = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    return [today + timedelta(days=ahead) for ahead in range(1, (after - today).days)]
