"""A tenant's days, weeks and months counted anew, in SQL.

Only ledger rows whose `rolled_up` is set are counted: what somebody is changing just now stays theirs to fold. All
statements take `tenant`, and `begin` and `end` (UTC) of the day, week or month.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Delete,
    Executable,
    Integer,
    Select,
    Subquery,
    and_,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    literal_column,
    select,
    union_all,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from chatcore.db.tables import (
    LATENCY_PLACES,
    NOT_ROLLED_UP,
    USAGE_LATENCY,
    LatencyBucket,
    UsageDaily,
    UsageHourly,
    UsageMetric,
    UtcDateTime,
)
from chatcore.usage import latency, measures
from chatcore.usage.rollup_sums import OF_MONTHS, OF_WEEKS, keys_of

_row: Final = UsageMetric.__table__.c
_HOURLY: Final = UsageHourly.__table__
_DAILY: Final = UsageDaily.__table__


class _Quarter(GenericFunction[Any]):
    """The quarter of an hour (UTC) that a time is in."""

    type = UtcDateTime()
    inherit_cache = True
    name = "chatcore_quarter"


@compiles(_Quarter, "sqlite")
def _quarter_sqlite(element: _Quarter, compiler: SQLCompiler, **options: Any) -> str:
    time = compiler.process(element.clauses, **options)
    return f"substr({time}, 1, 14) || substr('00153045', substr({time}, 15, 2) / 15 * 2 + 1, 2) || ':00.000000'"


@compiles(_Quarter, "postgresql")
def _quarter_postgresql(element: _Quarter, compiler: SQLCompiler, **options: Any) -> str:
    return f"to_timestamp(floor(extract(epoch FROM {compiler.process(element.clauses, **options)}) / 900) * 900)"


def _word(text: str) -> ColumnElement[Any]:
    return literal_column(f"'{text}'")


_TENANT: Final = bindparam("tenant", type_=_row.tenant_id.type)
_BEGIN: Final = bindparam("begin", type_=UtcDateTime())
_END: Final = bindparam("end", type_=UtcDateTime())
_OF_DAY: Final = and_(_row.tenant_id == _TENANT, _row.created_at >= _BEGIN, _row.created_at < _END)
_COUNTED: Final = and_(_OF_DAY, _row.rolled_up.is_(True))
_QUARTER: Final = _Quarter(_row.created_at)
_OF_MODEL: Final = {"model": _row.model, "provider": _row.provider}
_AGENT: Final = func.coalesce(_row.agent_id, "")
_KINDS: Final[Mapping[str, Mapping[str, ColumnElement[Any]]]] = {
    "detail": {**_OF_MODEL, "tier": _row.tier, "agent_id": _AGENT, "purpose": _row.purpose},
    "user": {"tier": _row.tier, "user_id": _row.user_id},
    "error": {**_OF_MODEL, "error_type": measures.ERROR_TYPE},
}


@dataclass(frozen=True)
class Part:
    """What a rollup holds of a day, a week or a month: which rows, and the query that makes them anew."""

    name: str
    table: Any
    stored: tuple[ColumnElement[bool], ...]
    query: Select[Any] | CompoundSelect[Any]
    names: tuple[str, ...]

    @cached_property
    def clear(self) -> tuple[Delete, ...]:
        """Delete what is stored. Not with an OR: SQLite would read all of the tenant's rows."""
        return tuple(delete(self.table).where(one) for one in self.stored)

    @cached_property
    def fill(self) -> Executable:
        """Store what the query counts."""
        return insert(self.table).from_select(list(self.names), self.query)

    @cached_property
    def held(self) -> CompoundSelect[Any]:
        """Read what is stored, with the query's columns."""
        columns = [self.table.c[name] for name in self.names]
        return union_all(*(select(*columns).where(one) for one in self.stored))


def _part(
    name: str, table: Any, keys: Mapping[str, ColumnElement[Any]], groups: Mapping[str, ColumnElement[Any]],
    sums: Sequence[ColumnElement[Any]], stored: ColumnElement[bool], *where: ColumnElement[bool],
) -> Part:  # fmt: skip
    """`keys` and `groups`: the columns of the key, those that are not given being ''."""
    names = keys_of(table)
    given = {"tenant_id": _TENANT, **keys, **groups}
    chosen = [given.get(one, _word("")).label(one) for one in names]
    query = select(*chosen, *sums).where(*where).group_by(*groups.values())
    return Part(name, table, (stored,), query, (*names, *(one.name for one in sums)))


def _stored(table: Any, level: str, kind: str) -> ColumnElement[bool]:
    inside = and_(table.c.start >= _BEGIN, table.c.start < _END)
    return and_(table.c.tenant_id == _TENANT, table.c.level == level, table.c.kind == kind, inside)


# ---- how long calls took


def _bucket(time: ColumnElement[int]) -> ColumnElement[int]:
    low = LatencyBucket.__table__.c
    found = select(low.bucket).where(low.low_ms <= time).order_by(low.low_ms.desc()).limit(1)
    return func.coalesce(found.scalar_subquery(), 0)


def _times() -> Any:
    """Every time that was measured: quarter, metric, model, provider, bucket."""
    return union_all(
        *(
            select(
                _QUARTER.label("quarter"), _word(metric).label("metric"), _row.model, _row.provider,
                _bucket(time).label("bucket"),
            ).where(_COUNTED, condition)
            for metric, (time, condition) in latency.METRICS.items()
        )
    ).cte("times")  # fmt: skip


def _blocks(times: Any, level: str, kind: str) -> Select[Any]:
    """Rows of `usage_latency`. Counted by bucket first: that leaves few rows to be put side by side."""
    start = times.c.quarter if level == "quarter" else _BEGIN
    parts = [times.c.model, times.c.provider] if kind == "model" else []
    groups = [*([times.c.quarter] if level == "quarter" else []), times.c.metric, *parts, times.c.bucket]
    of_model = parts or [_word("").label("model"), _word("").label("provider")]
    block, place = times.c.bucket // LATENCY_PLACES, times.c.bucket % LATENCY_PLACES
    cells: Subquery = (
        select(
            start.label("start"), times.c.metric, *of_model, block.label("block"), place.label("place"),
            func.count().label("calls"),
        )
        .group_by(*groups)
        .subquery()
    )  # fmt: skip
    cell = cells.c
    counts = [
        func.sum(case((cell.place == number, cell.calls), else_=0)).label(f"n{number}")
        for number in range(LATENCY_PLACES)
    ]
    keys = [_TENANT.label("tenant_id"), _word(level).label("level"), _word(kind).label("kind"), cell.start, cell.metric]
    return select(*keys, cell.model, cell.provider, cell.block, *counts).group_by(
        cell.start, cell.metric, cell.model, cell.provider, cell.block
    )


def _times_of_day() -> Part:
    times = _times()
    which = ("quarter", "all"), ("day", "model")
    query = union_all(*(_blocks(times, *one) for one in which))
    stored = tuple(_stored(USAGE_LATENCY, *one) for one in which)
    return Part("times", USAGE_LATENCY, stored, query, (*keys_of(USAGE_LATENCY), *(one.name for one in latency.PLACES)))


def _times_from(level: str, kind: str, finer: str) -> Part:
    """Times of a level from those of a finer one."""
    column = USAGE_LATENCY.c
    return _part(
        f"times of a {level}",
        USAGE_LATENCY,
        {"level": _word(level), "kind": _word(kind), "start": _BEGIN},
        {name: column[name] for name in ("metric", "model", "provider", "block")},
        [cast(func.sum(place), Integer).label(place.name) for place in latency.PLACES],
        _stored(USAGE_LATENCY, level, kind),
        _stored(USAGE_LATENCY, finer, kind),
    )


# ---- what callers run

_UNTAKEN: Final = select(_row.id).where(NOT_ROLLED_UP, _OF_DAY, _row.outcome != "running")
MARK: Final = (
    update(UsageMetric.__table__)  # type: ignore[arg-type]
    .where(_row.id.in_(_UNTAKEN.with_for_update(skip_locked=True)))
    .values(rolled_up=True)
)
"""Take in what is settled and not counted yet. Rows that somebody holds stay theirs to fold."""


def _quarters() -> Part:
    inside = and_(_HOURLY.c.tenant_id == _TENANT, _HOURLY.c.slot >= _BEGIN, _HOURLY.c.slot < _END)
    groups = {"slot": _QUARTER, **_OF_MODEL, "tier": _row.tier}
    return _part("quarters", _HOURLY, {}, groups, measures.over_ledger(), inside, _COUNTED)


def _of_day(kind: str) -> Part:
    keys = {"level": _word("day"), "kind": _word(kind), "start": _BEGIN}
    where = [_COUNTED, _row.outcome.in_(measures.FAILED)] if kind == "error" else [_COUNTED]
    return _part(kind, _DAILY, keys, _KINDS[kind], measures.over_ledger(), _stored(_DAILY, "day", kind), *where)


def _models_of_day() -> Part:
    quarter = _HOURLY.c
    keys = {"level": _word("day"), "kind": _word("model"), "start": _BEGIN}
    groups = {name: quarter[name] for name in ("model", "provider", "tier")}
    inside = and_(quarter.tenant_id == _TENANT, quarter.slot >= _BEGIN, quarter.slot < _END)
    sums = measures.over_rollup(UsageHourly)
    return _part("model", _DAILY, keys, groups, sums, _stored(_DAILY, "day", "model"), inside)


def _agents_of_day() -> Part:
    keys = {"level": _word("day"), "kind": _word("agent"), "start": _BEGIN}
    groups = {name: _DAILY.c[name] for name in ("tier", "agent_id", "purpose")}
    stored, details = _stored(_DAILY, "day", "agent"), _stored(_DAILY, "day", "detail")
    return _part("agent", _DAILY, keys, groups, measures.over_rollup(UsageDaily), stored, details)


def _from_days(level: str, kind: str) -> Part:
    keys = {"level": _word(level), "kind": _word(kind), "start": _BEGIN}
    names = ("model", "provider", "tier", "agent_id", "purpose", "user_id", "error_type")
    groups = {name: _DAILY.c[name] for name in names}
    stored, days = _stored(_DAILY, level, kind), _stored(_DAILY, "day", kind)
    return _part(f"{kind} by {level}", _DAILY, keys, groups, measures.over_rollup(UsageDaily), stored, days)


# ---- made on first use, as they take their time


@cache
def parts_from_quarters() -> tuple[Part, ...]:
    """What of a day comes from its quarters, after them."""
    return _models_of_day(), _times_from("day", "all", "quarter")


@cache
def parts_of_day() -> tuple[Part, ...]:
    """All of a day, after `MARK`."""
    return (
        _quarters(), *(_of_day(kind) for kind in _KINDS), _agents_of_day(), _times_of_day(), *parts_from_quarters(),
    )  # fmt: skip


@cache
def parts_of_week() -> tuple[Part, ...]:
    """All of a week, after its days."""
    return tuple(_from_days("week", kind) for kind in OF_WEEKS)


@cache
def parts_of_month() -> tuple[Part, ...]:
    """All of a month, after its days."""
    return *(_from_days("month", kind) for kind in OF_MONTHS), _times_from("month", "model", "day")
