"""Sums of calls by step and group, read from rollups and from the ledger rows that these lack.

One statement reads one sort of rows for all steps at once. All of them see the database as it was at one moment, or a
call that is counted just then would be in both or in neither.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    Select,
    String,
    and_,
    func,
    literal_column,
    outerjoin,
    select,
)
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.db.tables import NOT_ROLLED_UP, Tenant, UsageDaily, UsageHourly, UsageMetric, User, utcnow
from chatcore.usage import zones
from chatcore.usage.measures import ERROR_TYPE, FAILED, MEASURES, over_ledger, over_rollup, summed
from chatcore.usage.placing import placed
from chatcore.usage.scope import FEW_PEOPLE, NONE, Filter, TooManyCalls, restrictions, scope
from chatcore.usage.segments import Calendar, Kind, Rows, Segment, choose, plan
from chatcore.usage.steps import Span

if TYPE_CHECKING:
    from pandas import DataFrame

GroupBy = Literal["model", "provider", "agent", "user", "team", "tier", "purpose", "error", "none"]
ALL: Final = "all"
"""The one group of `none`."""
COLUMNS: Final = ("span", "group", *MEASURES)
MOST_READ: Final = 300_000
"""So many of the ledger's rows are read for one answer."""
_FEW_STEPS: Final = 16  # in which a person has several rows each: then people are summed before their teams
_SHORT: Final = timedelta(days=1)  # of which the calls are never counted before they are read
# Made once, on first use: they are most of a statement.
_of_ledger = cache(over_ledger)
_of_rollup = cache(over_rollup)

# The fewest rows. Quarters of an hour have no kinds, and tell these apart, too.
_LEAST: Final = Kind("agent", frozenset({"tier"}), ("month", "day", "quarter"))
KINDS: Final = (
    _LEAST,
    Kind("model", frozenset({"model", "provider", "tier"}), ("month", "day", "quarter")),
    Kind("error", frozenset({"error", "model", "provider"}), ("month", "day")),
    Kind("user", frozenset({"user", "team", "tier"}), ("month", "week", "day")),
    Kind("agent", frozenset({"agent", "purpose", "tier"}), ("month", "day")),
    Kind("detail", frozenset({"model", "provider", "tier", "agent", "purpose"}), ("day",)),
)


def read(
    session: Session,
    principal: Principal,
    chosen: Filter,
    group_by: GroupBy,
    spans: Sequence[Span],
) -> "DataFrame":
    """One row for each span and group with calls: `span` (its place), `group`, and the measures as int64.

    `error` counts failed calls only.
    """
    needed = dimensions(principal, chosen) | ({group_by} - {"none"})
    days = calendar(session, principal)
    kind = choose(_kinds(group_by, days.ledger_since is None or chosen.start >= days.ledger_since), needed)
    segments = plan(spans, kind, days, few_people(principal, chosen), utcnow())
    bear(session, principal, chosen, kind)
    rows: list[Any] = []
    for sort, some in by_rows(segments).items():
        # Not by the session: it takes longer to make its rows of thousands of people than the database does.
        rows += session.connection().execute(_statement(session, principal, chosen, group_by, kind, some, sort)).all()
    return _sum(rows)


def _kinds(group_by: GroupBy, in_ledger: bool) -> list[Kind]:
    """The kinds that may answer. `in_ledger`: the ledger has the whole range."""
    if group_by == "error":
        return [kind for kind in KINDS if kind.name == "error"]  # the others do not tell failed calls apart
    # Days of agents may have kept the borders of an earlier time zone where those of models were counted anew.
    return [kind for kind in KINDS if kind.name != "error" and (in_ledger or kind is not _LEAST)]


def dimensions(principal: Principal, chosen: Filter) -> set[str]:
    """What a question tells calls apart by, beside its group."""
    asked = {
        "model": chosen.models, "provider": chosen.providers, "tier": chosen.tiers, "agent": chosen.agents,
        "purpose": chosen.purposes, "user": chosen.user_ids, "team": chosen.teams,
    }  # fmt: skip
    return {name for name, values in asked.items() if values} | (set() if principal.is_admin else {"user"})


def few_people(principal: Principal, chosen: Filter) -> bool:
    """Whether only one or a few people's calls count."""
    return not principal.is_admin or 0 < len(chosen.user_ids) <= FEW_PEOPLE


def bear(session: Session, principal: Principal, chosen: Filter, kind: Kind | None) -> None:
    """Raises `TooManyCalls` where no rollup answers, and the ledger would be read for seconds."""
    if kind is not None or few_people(principal, chosen):
        return
    if chosen.end - chosen.start <= _SHORT:
        return
    of_people = Filter(chosen.start, chosen.end, user_ids=chosen.user_ids, teams=chosen.teams)
    whole = [Span(chosen.start, chosen.start, chosen.end)]
    found = int(read(session, principal, of_people, "none", whole)["calls"].sum())
    if found > MOST_READ:
        raise TooManyCalls(
            f"This question would read {found:,} calls one by one. Choose a shorter range, or fewer filters."
        )


def known_since(session: Session, principal: Principal, chosen: Filter, groups: Sequence[GroupBy]) -> datetime | None:
    """See `Usage.known_since`."""
    since = calendar(session, principal).ledger_since
    if since is None or chosen.start >= since:
        return None
    asked = dimensions(principal, chosen)
    told = (choose(_kinds(group_by, in_ledger=False), asked | ({group_by} - {"none"})) for group_by in groups)
    return None if all(told) else since


def calendar(session: Session, principal: Principal) -> Calendar:
    """How the days of the principal's tenant are kept."""
    statement = select(Tenant.timezone, Tenant.days_zone, Tenant.ledger_since).where(Tenant.id == principal.tenant_id)
    row = session.execute(statement).one_or_none()
    if row is None:
        return Calendar(ZoneInfo("UTC"))
    where, since, whole_days = zones.of_tenant(row.timezone), row.ledger_since, row.timezone == row.days_zone
    if since is not None and whole_days and zones.day_start(since, where) != since:
        since = zones.next_day(since, where)  # a day that the ledger has only half of comes from the rollups
    return Calendar(where, whole_days, since)


def read_at_once(session: Session) -> None:
    """Have all that is read in this session be of one moment, as it is on SQLite anyway. Before the first statement."""
    if session.get_bind().dialect.name != "sqlite":
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


def by_rows(segments: Iterable[Segment]) -> dict[Rows, list[Segment]]:
    """The segments by what they are rows of: one statement reads one sort."""
    found: dict[Rows, list[Segment]] = {}
    for segment in segments:
        found.setdefault(segment.rows, []).append(segment)
    return found


def rows_of(principal: Principal, chosen: Filter, rows: Rows) -> list[ColumnElement[bool]]:
    """The WHERE over the ledger, beside the time."""
    narrowed = restrictions(UsageMetric.__table__.c, principal, chosen)
    if rows == "ledger":
        return [*scope(principal, of_people=bool(chosen.user_ids or chosen.teams)), *narrowed]
    # Written as text, the condition has no type of its own.
    lacking = cast("ColumnElement[bool]", NOT_ROLLED_UP)
    own = [] if principal.is_admin else [UsageMetric.user_id == principal.user_id]
    return [UsageMetric.tenant_id == principal.tenant_id, *own, *narrowed, lacking]


def group_of(columns: Mapping[str, Any] | Any, group_by: GroupBy) -> ColumnElement[str]:
    """The group of a row of a table with the ledger's column names."""
    match group_by:
        case "none":
            return literal_column(f"'{ALL}'", String())
        case "agent":
            return func.coalesce(func.nullif(columns["agent_id"], ""), NONE)
        case "user":
            return columns["user_id"]  # type: ignore[no-any-return]
        case "team":
            return func.coalesce(User.team, NONE)
        case "error":
            return columns["error_type"] if columns is not UsageMetric.__table__.c else ERROR_TYPE
    return columns[group_by]  # type: ignore[no-any-return]


def _statement(
    session: Session,
    principal: Principal,
    chosen: Filter,
    group_by: GroupBy,
    kind: Kind | None,
    some: Sequence[Segment],
    rows: Rows,
) -> Select[Any]:
    table: Any
    if rows in ("unrolled", "ledger"):
        table, time, sums = UsageMetric.__table__, UsageMetric.created_at.expression, _of_ledger()
        where = rows_of(principal, chosen, rows)
        where += [table.c.outcome.in_(FAILED)] if group_by == "error" else []
    elif rows == "quarter":
        table, time, sums = UsageHourly.__table__, UsageHourly.slot.expression, _of_rollup(UsageHourly)
        where = [table.c.tenant_id == principal.tenant_id, *restrictions(table.c, principal, chosen)]
    else:
        assert kind is not None
        table, time, sums = UsageDaily.__table__, UsageDaily.start.expression, _of_rollup(UsageDaily)
        where = [table.c.tenant_id == principal.tenant_id, table.c.level == rows, table.c.kind == kind.name]
        where += restrictions(table.c, principal, chosen)
        where += [] if principal.is_admin else [table.c.user_id == principal.user_id]
    found = placed(session, some, table, time)
    source, nested = found.source, group_by == "team" and len({one.span for one in some}) <= _FEW_STEPS
    if group_by == "team" and not nested:
        source = source.outerjoin(User, and_(User.id == table.c.user_id, User.tenant_id == table.c.tenant_id))
    group = group_of(table.c, "user" if nested else group_by).label("grouped")
    cells = select(found.span, group, *sums).select_from(source).where(*where, *found.where)
    cells = cells.group_by("span", "grouped")
    return _by_team(cells, principal) if nested else cells


def _by_team(cells: Select[Any], principal: Principal) -> Select[Any]:
    """The cells of people as those of their teams: a person is looked up once, not for each of their rows."""
    of = cells.subquery("people").c
    team = func.coalesce(User.team, NONE)
    joined = outerjoin(of.span.table, User, and_(User.id == of.grouped, User.tenant_id == principal.tenant_id))
    sums = [summed(name, of[name]) for name in MEASURES]
    return select(of.span, team, *sums).select_from(joined).group_by(of.span, team)


def _sum(rows: Sequence[Any]) -> "DataFrame":
    """The rows with those of the same span and group in one, in the order of both."""
    import numpy as np
    import pandas as pd

    keys = [(row[0], row[1]) for row in rows]
    places = {key: place for place, key in enumerate(sorted(set(keys)))}
    sums = np.zeros((len(places), len(MEASURES)), dtype="int64")
    values = np.fromiter(chain.from_iterable(row[2:] for row in rows), dtype="int64", count=len(rows) * len(MEASURES))
    np.add.at(sums, [places[key] for key in keys], values.reshape(-1, len(MEASURES)))
    frame = pd.DataFrame(sums, columns=list(MEASURES))
    frame.insert(0, "span", np.array([span for span, _ in places], dtype="int64"))
    frame.insert(1, "group", pd.Series([group for _, group in places], dtype="str"))
    return frame[frame["calls"] > 0].reset_index(drop=True)
