"""Percentiles of times by step and group, from the counts in rollups and the ledger rows that these lack."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import Select, and_, case, func, literal_column, or_, select
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.db.tables import LATENCY_PLACES, USAGE_LATENCY, LatencyBucket, UsageMetric
from chatcore.usage import cells
from chatcore.usage.latency import METRICS, PERCENTILES, PLACES, middle
from chatcore.usage.scope import Filter, restrictions
from chatcore.usage.segments import Kind, Rows, Segment, choose, plan
from chatcore.usage.steps import Span

if TYPE_CHECKING:
    from pandas import DataFrame

By = Literal["none", "model", "provider"]
KINDS: Final = (
    Kind("all", frozenset(), ("day", "quarter")),
    Kind("model", frozenset({"model", "provider"}), ("month", "day")),
)
_KEY: Final = ["span", "group", "metric"]


def read(session: Session, principal: Principal, chosen: Filter, group_by: By, spans: Sequence[Span]) -> "DataFrame":
    """How many calls took how long: `span`, `group`, `metric`, `bucket`, `count`, each bucket once."""
    kind = choose(KINDS, cells.dimensions(principal, chosen) | ({group_by} - {"none"}))
    calendar, few = cells.calendar(session, principal), cells.few_people(principal, chosen)
    segments = plan(spans, kind, calendar, few)
    parts: list[DataFrame] = []
    for wanted in (("month", "day", "quarter"), ("unrolled",), ("ledger",)):
        some = [segment for segment in segments if segment.rows in wanted]
        if not some:
            continue
        if wanted[0] == "month":
            assert kind is not None
            statement = _of_rollups(session, principal, chosen, group_by, kind, some)
            parts.append(_unfolded(session.execute(statement).all()))
        else:
            statement = _of_ledger(session, principal, chosen, group_by, some, wanted[0])
            parts.append(_melted(session.execute(statement).all()))
    return _joined(parts)


def frame(counts: "DataFrame", starts: Sequence[datetime] | None, where: tzinfo) -> "DataFrame":
    """The percentiles of the counts that `read` found; see `Usage.percentiles` for the columns."""
    import numpy as np
    import pandas as pd

    counts = counts.sort_values([*_KEY, "bucket"])
    seen = counts.groupby(_KEY)["count"].cumsum()
    calls = counts.groupby(_KEY)["count"].transform("sum")
    found = counts[_KEY].drop_duplicates().reset_index(drop=True)
    found["calls"] = counts.groupby(_KEY, sort=True)["count"].sum().to_numpy()
    for percent in PERCENTILES:
        rank = np.maximum(np.ceil(calls * percent / 100), 1)
        first = counts[seen >= rank].drop_duplicates(_KEY)
        found[f"p{percent}"] = [middle(bucket) for bucket in first["bucket"]]
    found = found.astype({"calls": "int64", **{f"p{percent}": "float64" for percent in PERCENTILES}})
    if starts is None:
        return found.drop(columns="span")
    times = pd.DatetimeIndex(list(starts)).as_unit("us").tz_convert(where)
    found.insert(0, "start", times[found.pop("span").to_numpy(dtype="int64")])
    return found


def _of_rollups(
    session: Session, principal: Principal, chosen: Filter, group_by: By, kind: Kind, some: Sequence[Segment]
) -> Select[Any]:
    of, parts = USAGE_LATENCY.c, cells.segment_table(session, some)
    joined = parts.join(USAGE_LATENCY, and_(of.start >= parts.c["first"], of.start < parts.c["last"]))
    group = cells.group_of(of, group_by).label("grouped")
    where = [of.tenant_id == principal.tenant_id, of.level == parts.c.level, of.kind == kind.name]
    key = (parts.c.span, group, of.metric, of.block)
    return (
        select(*key, *(func.sum(place) for place in PLACES))
        .select_from(joined)
        .where(*where, *restrictions(of, principal, chosen))
        .group_by(parts.c.span, "grouped", of.metric, of.block)
    )


def _of_ledger(
    session: Session, principal: Principal, chosen: Filter, group_by: By, some: Sequence[Segment], rows: Rows
) -> Select[Any]:
    of, parts = UsageMetric.__table__.c, cells.segment_table(session, some)
    joined = parts.join(UsageMetric.__table__, and_(of.created_at >= parts.c["first"], of.created_at < parts.c["last"]))
    group = cells.group_of(of, group_by).label("grouped")
    buckets = [case((condition, _bucket(time))).label(name) for name, (time, condition) in METRICS.items()]
    where = [or_(*(condition for _, condition in METRICS.values())), *cells.rows_of(principal, chosen, rows)]
    return (
        select(parts.c.span, group, *buckets, func.count())
        .select_from(joined)
        .where(*where)
        .group_by(parts.c.span, "grouped", *METRICS)
    )


def _bucket(time: Any) -> Any:
    """The bucket of a ledger row's time, as SQL."""
    place = select(func.max(LatencyBucket.bucket)).where(LatencyBucket.low_ms <= time).scalar_subquery()
    return func.coalesce(place, literal_column("0"))


def _unfolded(rows: Sequence[Any]) -> "DataFrame":
    """From rows of a key, a block, and the counts of its buckets."""
    import numpy as np
    import pandas as pd

    counts = np.array([row[4:] for row in rows], dtype="int64").reshape(len(rows), LATENCY_PLACES)
    row, place = counts.nonzero()
    keys = pd.DataFrame([tuple(row[:4]) for row in rows], columns=[*_KEY, "block"]).iloc[row].reset_index(drop=True)
    return keys.assign(bucket=keys["block"] * LATENCY_PLACES + place, count=counts[row, place]).drop(columns="block")


def _melted(rows: Sequence[Any]) -> "DataFrame":
    """From rows of span, group, a bucket or None for each metric, and their number."""
    import pandas as pd

    found = pd.DataFrame([tuple(row) for row in rows], columns=["span", "group", *METRICS, "count"])
    each = [
        found.loc[found[metric].notna(), ["span", "group", metric, "count"]]
        .rename(columns={metric: "bucket"})
        .assign(metric=metric)
        for metric in METRICS
    ]
    return pd.concat(each, ignore_index=True)


def _joined(parts: Sequence["DataFrame"]) -> "DataFrame":
    import pandas as pd

    types = {"span": "int64", "group": "str", "metric": "str", "bucket": "int64", "count": "int64"}
    full = [part[list(types)].astype(types) for part in parts if len(part)]
    if not full:
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in types.items()})
    return pd.concat(full, ignore_index=True).groupby([*_KEY, "bucket"], as_index=False)[["count"]].sum()
