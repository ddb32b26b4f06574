"""Counting one day, week or month of a tenant's rollups anew, in the caller's transaction."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, tzinfo
from typing import Any, Final

from sqlalchemy import Select, func, select, union_all
from sqlalchemy.orm import Session

from chatcore.db import changed_rows
from chatcore.db.tables import USAGE_LATENCY, UsageDaily, UsageHourly, UsageMetric
from chatcore.usage import rollup_sql, rollups, zones
from chatcore.usage.rollup_sums import OF_MONTHS, OF_WEEKS

Chosen = dict[str, Any]
_LEVELS: Final = (
    *(("day", kind) for kind in ("model", "agent", "detail", "user", "error")),
    *(("week", kind) for kind in OF_WEEKS),
    *(("month", kind) for kind in OF_MONTHS),
)
_LONGER: Final[
    tuple[
        tuple[
            Callable[[], tuple[rollup_sql.Part, ...]],
            Callable[[datetime, tzinfo], datetime],
            Callable[[datetime, tzinfo], datetime],
        ],
        ...,
    ]
] = (
    (rollup_sql.parts_of_week, zones.week_start, zones.next_week),
    (rollup_sql.parts_of_month, zones.month_start, zones.next_month),
)
_TIMES: Final = ("quarter", "all"), ("day", "all"), ("day", "model"), ("month", "model")


def day(tenant_id: str, moment: datetime, zone: tzinfo) -> Chosen:
    """The parameters of `rollup_sql` for the day that `moment` is in."""
    return {"tenant": tenant_id, "begin": zones.day_start(moment, zone), "end": zones.next_day(moment, zone)}


def longer(
    tenant_id: str, moment: datetime, zone: tzinfo, after: datetime | None = None
) -> Iterator[tuple[rollup_sql.Part, Chosen]]:
    """The parts of the week and of the month that `moment` is in, with their parameters. `after`: only of those that
    end by then."""
    for parts, start_of, next_of in _LONGER:
        begin, end = start_of(moment, zone), next_of(moment, zone)
        if after is None or end <= after:
            for part in parts():
                yield part, {"tenant": tenant_id, "begin": begin, "end": end}


def count_day(session: Session, tenant_id: str, moment: datetime, zone: tzinfo, ledger_since: datetime | None) -> int:
    """Count the day anew. Hold the tenant's rollups alone before (`rollups.hold`), and count the week and month after.

    Returns how many calls no rollup had counted before. Of what is before `ledger_since`, only what the quarters tell
    is made anew: by model, and how long calls took. The day that it is in has rows of both: those of the ledger start
    with it, so that what the ledger tells and what it no longer tells never stand in one.
    """
    rollups.unsettle(session, tenant_id)
    whole = day(tenant_id, moment, zone)
    border = whole["begin"] if ledger_since is None else min(max(ledger_since, whole["begin"]), whole["end"])
    taken_in = 0
    if border > whole["begin"]:
        _run(session, rollup_sql.parts_from_quarters(), whole | {"end": border})
    if border < whole["end"]:
        taken_in = changed_rows(session.execute(rollup_sql.MARK, whole | {"begin": border}))
        _run(session, rollup_sql.parts_of_day(), whole | {"begin": border})
    return taken_in


def count_longer(
    session: Session, tenant_id: str, moments: Iterable[datetime], zone: tzinfo, after: datetime | None = None
) -> None:
    """Count the weeks and months that these moments are in anew, from their days. `after`: only what ends by then."""
    counted: set[tuple[str, datetime]] = set()
    for moment in moments:
        for part, chosen in longer(tenant_id, moment, zone, after):
            if (part.name, chosen["begin"]) not in counted:
                counted.add((part.name, chosen["begin"]))
                _run(session, (part,), chosen)


def following(session: Session, tenant_id: str, after: datetime, zone: tzinfo) -> datetime | None:
    """The first moment of the first day, from `after` on, that the ledger or a rollup has anything of.

    Days from `zones.FAR` on, which only a mistake can have written, are none.
    """
    call, quarter, rows, times = UsageMetric, UsageHourly, UsageDaily, USAGE_LATENCY.c
    firsts: list[Select[Any]] = [
        select(func.min(call.created_at)).where(call.tenant_id == tenant_id, call.created_at >= after),
        select(func.min(quarter.slot)).where(quarter.tenant_id == tenant_id, quarter.slot >= after),
        *(
            select(func.min(rows.start)).where(
                rows.tenant_id == tenant_id, rows.level == level, rows.kind == kind, rows.start >= after
            )
            for level, kind in _LEVELS
        ),
        *(
            select(func.min(times.start)).where(
                times.tenant_id == tenant_id, times.level == level, times.kind == kind, times.start >= after
            )
            for level, kind in _TIMES
        ),
    ]
    found = [moment for moment in session.scalars(union_all(*firsts)) if moment is not None and moment < zones.FAR]
    return zones.day_start(min(found), zone) if found else None


def _run(session: Session, parts: tuple[rollup_sql.Part, ...], chosen: Chosen) -> None:
    for part in parts:
        for clear in part.clear:
            session.execute(clear, chosen)
        session.execute(part.fill, chosen)
