"""A range of time cut into the steps in which it is drawn."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from chatcore.usage import zones
from chatcore.usage.scope import Step

_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Span:
    """The part of a range that lies in one step. `start`: where the step begins, which may be before the range."""

    start: datetime
    begin: datetime
    end: datetime


def spans(begin: datetime, end: datetime, step: Step | None, where: tzinfo) -> list[Span]:
    """The steps of `[begin, end)` in a time zone, each as far as it lies in the range. None: the range as one."""
    begin, end = begin.astimezone(UTC), end.astimezone(UTC)
    if step is None:
        return [Span(begin, begin, end)]
    found, start = [], _start(begin, step, where)
    while start < end:
        after = _after(start, step, where)
        found.append(Span(start, max(start, begin), min(after, end)))
        start = after
    return found


def _start(moment: datetime, step: Step, where: tzinfo) -> datetime:
    match step:
        case "hour":
            return _hour(moment, where)
        case "day":
            return zones.day_start(moment, where)
        case "week":
            return zones.week_start(moment, where)
    return zones.month_start(moment, where)


def _after(start: datetime, step: Step, where: tzinfo) -> datetime:
    match step:
        case "hour":
            # Where a clock is set by half an hour the next full hour may be nearer.
            return max(_hour(start + _HOUR, where), start + _HOUR / 2)
        case "day":
            return zones.next_day(start, where)
        case "week":
            return zones.next_week(start, where)
    return zones.next_month(start, where)


def _hour(moment: datetime, where: tzinfo) -> datetime:
    local = moment.astimezone(where)
    return moment - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
