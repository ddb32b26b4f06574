"""Which rows answer a question: as few and coarse ones as cover its range exactly.

A range is whole months, whole weeks and days at both ends, quarters of an hour beside those, and what is left at the
edges.
What rollups count is read from them, with the few ledger rows that they lack yet; the edges, and whatever no kind of
rollup tells apart, from the ledger.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final, Literal
from zoneinfo import ZoneInfo

from chatcore.usage import zones
from chatcore.usage.steps import Span

Level = Literal["month", "week", "day", "quarter"]
Rows = Literal["month", "week", "day", "quarter", "unrolled", "ledger"]


@dataclass(frozen=True)
class Kind:
    """A kind of rollup: the dimensions that it tells calls apart by, and its levels, the coarsest first."""

    name: str
    dimensions: frozenset[str]
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class Calendar:
    """How a tenant's days are kept. `whole_days`: whether days and months are those of `zone` at present.

    `ledger_since`: nothing from before is left in the ledger; None where all is.
    """

    zone: ZoneInfo
    whole_days: bool = True
    ledger_since: datetime | None = None


@dataclass(frozen=True)
class Segment:
    """Rows of one sort from `begin` up to `end` that belong to the span of this number."""

    span: int
    rows: Rows
    begin: datetime
    end: datetime


def plan(
    spans: Sequence[Span], kind: Kind | None, calendar: Calendar, prefer_ledger: bool, now: datetime
) -> list[Segment]:
    """The segments that answer a question. `kind`: the rollups that tell apart what it asks, None where none does.

    A range that ends after `now` ends with the month that it ends in: nothing can have been called beyond.

    `prefer_ledger`: the ledger's rows are few, and read where there are any. What is older than the ledger comes from
    rollups in any case, where a day (a quarter of an hour for kinds that have them) counts where it begins.
    """
    since = calendar.ledger_since
    found: list[Segment] = []
    for number, span in enumerate(spans):
        is_open = number == len(spans) - 1 and span.begin <= now < span.end
        begin = span.begin
        if since is not None and kind is not None and begin < since:
            old = min(span.end, since)
            found += _rolled(number, begin, old, kind, calendar, whole=False)
            begin = old
        if begin < span.end:
            if kind is None or prefer_ledger:
                found.append(Segment(number, "ledger", begin, span.end))
            else:
                found += _rolled(number, begin, span.end, kind, calendar, whole=True, is_open=is_open)
    return found


def _rolled(
    number: int, begin: datetime, end: datetime, kind: Kind, calendar: Calendar, whole: bool, is_open: bool = False
) -> Iterator[Segment]:
    """Segments of rollups. `whole`: their edges come from the ledger, else from the finest rollups. `is_open`: there is
    nothing beyond their end."""
    levels: Sequence[Level] = kind.levels
    if not calendar.whole_days:  # quarters are right all the same; each old day counts once, where it begins
        levels = [level for level in levels if level == "quarter"] or ([] if whole else kind.levels[-1:])
    parts = list(_split(begin, end, levels, calendar.zone, is_open=is_open))
    covered = [part for part in parts if part[0] is not None]
    for level, first, last in parts:
        yield Segment(number, level or ("ledger" if whole else kind.levels[-1]), first, last)
    if not whole:
        yield Segment(number, "unrolled", begin, end)
    elif covered:
        yield Segment(number, "unrolled", min(part[1] for part in covered), max(part[2] for part in covered))


def _split(
    begin: datetime, end: datetime, levels: Sequence[Level], zone: tzinfo, *, is_open: bool
) -> Iterator[tuple[Level | None, datetime, datetime]]:
    """The range in parts, each of whole units of a level; None for what no level's unit fits into. The last unit of an
    open one may reach beyond it."""
    if begin >= end:
        return
    if not levels:
        yield None, begin, end
        return
    start_of, after = _BOUNDS[levels[0]]
    first, last = start_of(begin, zone), start_of(end, zone)
    if first < begin:
        first = after(first, zone)
    if is_open and last < end:
        last = after(last, zone)
    if first >= last:
        yield from _split(begin, end, levels[1:], zone, is_open=is_open)
        return
    yield from _split(begin, first, levels[1:], zone, is_open=False)
    yield levels[0], first, last
    yield from _split(last, end, levels[1:], zone, is_open=is_open)


def _quarter(moment: datetime, _zone: tzinfo) -> datetime:
    return zones.quarter_start(moment)


def _next_quarter(moment: datetime, _zone: tzinfo) -> datetime:
    return zones.quarter_start(moment) + zones.QUARTER


_BOUNDS: Final[dict[Level, tuple[Callable[[datetime, tzinfo], datetime], Callable[[datetime, tzinfo], datetime]]]] = {
    "month": (zones.month_start, zones.next_month),
    "week": (zones.week_start, zones.next_week),
    "day": (zones.day_start, zones.next_day),
    "quarter": (_quarter, _next_quarter),
}


def choose(kinds: Iterable[Kind], needed: set[str]) -> Kind | None:
    """The first kind that tells apart all that is needed."""
    return next((kind for kind in kinds if needed <= kind.dimensions), None)
