"""Percentiles of times by step and group, from the counts in rollups and the ledger rows that these lack."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import Select, case, func, literal_column, or_, select
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.db.tables import LATENCY_PLACES, USAGE_LATENCY, LatencyBucket, UsageMetric, utcnow
from chatcore.usage import cells
from chatcore.usage.latency import BLOCKS, LOWS, METRICS, PERCENTILES, PLACES, middle
from chatcore.usage.placing import placed
from chatcore.usage.scope import Filter, restrictions
from chatcore.usage.segments import Kind, Rows, Segment, choose, plan
from chatcore.usage.steps import Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pandas import DataFrame

By = Literal["none", "model", "provider"]
KINDS: Final = (
    Kind("all", frozenset(), ("day", "quarter")),
    Kind("model", frozenset({"model", "provider"}), ("month", "day")),
)
_KEY: Final = ("span", "group", "metric")
_WIDTH: Final = BLOCKS * LATENCY_PLACES


@dataclass(frozen=True)
class Counts:
    """How many calls took how long. `keys`: span, group, metric; `calls`: a row for each, a column for each bucket."""

    keys: Sequence[tuple[int, str, str]]
    calls: "NDArray[np.int64]"


def read(session: Session, principal: Principal, chosen: Filter, group_by: By, spans: Sequence[Span]) -> Counts:
    """How long calls took, by span, group and metric, in the order of these."""
    import numpy as np

    kind = choose(KINDS, cells.dimensions(principal, chosen) | ({group_by} - {"none"}))
    segments = plan(spans, kind, cells.calendar(session, principal), cells.few_people(principal, chosen), utcnow())
    cells.bear(session, principal, chosen, kind)
    found: dict[tuple[int, str, str], NDArray[np.int64]] = {}
    for rows, some in cells.by_rows(segments).items():
        if rows in ("month", "day", "quarter"):
            assert kind is not None
            blocks = session.execute(_of_rollups(session, principal, chosen, group_by, kind, some, rows))
            for span, group, metric, block, *counts in blocks:
                place = block * LATENCY_PLACES
                _row(found, (span, group, metric))[place : place + LATENCY_PLACES] += np.array(counts, dtype="int64")
        else:
            calls = session.execute(_of_ledger(session, principal, chosen, group_by, some, rows))
            for span, group, *buckets, number in calls:
                for metric, bucket in zip(METRICS, buckets, strict=True):
                    if bucket is not None:
                        _row(found, (span, group, metric))[bucket] += number
    keys = sorted(key for key, calls in found.items() if calls.any())
    return Counts(keys, np.array([found[key] for key in keys], dtype="int64").reshape(len(keys), _WIDTH))


def frame(counts: Counts, starts: Sequence[datetime] | None, where: tzinfo) -> "DataFrame":
    """The percentiles of the counts that `read` found; see `Usage.percentiles` for the columns."""
    import numpy as np
    import pandas as pd

    names = {name: [key[place] for key in counts.keys] for place, name in enumerate(_KEY)}
    found = pd.DataFrame({name: pd.Series(names[name], dtype="str") for name in ("group", "metric")})
    seen = counts.calls.cumsum(axis=1)
    found["calls"] = seen[:, -1]
    times = np.array([middle(bucket) for bucket in range(len(LOWS))])
    for percent in PERCENTILES:
        rank = np.maximum(np.ceil(seen[:, -1] * percent / 100), 1)
        found[f"p{percent}"] = times[(seen >= rank[:, None]).argmax(axis=1)]
    if starts is not None:
        steps = pd.DatetimeIndex(list(starts)).as_unit("us").tz_convert(where)
        found.insert(0, "start", steps[np.array(names["span"], dtype="int64")])
    return found


def _row(found: "dict[tuple[int, str, str], NDArray[np.int64]]", key: tuple[int, str, str]) -> "NDArray[np.int64]":
    import numpy as np

    if key not in found:
        found[key] = np.zeros(_WIDTH, dtype="int64")
    return found[key]


def _of_rollups(
    session: Session,
    principal: Principal,
    chosen: Filter,
    group_by: By,
    kind: Kind,
    some: Sequence[Segment],
    rows: Rows,
) -> Select[Any]:
    of = USAGE_LATENCY.c
    found = placed(session, some, USAGE_LATENCY, of.start)
    group = cells.group_of(of, group_by).label("grouped")
    where = [of.tenant_id == principal.tenant_id, of.level == rows, of.kind == kind.name]
    key = (found.span, group, of.metric, of.block)
    return (
        select(*key, *(func.sum(place) for place in PLACES))
        .select_from(found.source)
        .where(*where, *found.where, *restrictions(of, principal, chosen))
        .group_by("span", "grouped", of.metric, of.block)
    )


def _of_ledger(
    session: Session, principal: Principal, chosen: Filter, group_by: By, some: Sequence[Segment], rows: Rows
) -> Select[Any]:
    of = UsageMetric.__table__.c
    found = placed(session, some, UsageMetric.__table__, of.created_at)
    group = cells.group_of(of, group_by).label("grouped")
    buckets = [case((condition, _bucket(time))).label(name) for name, (time, condition) in METRICS.items()]
    where = [or_(*(condition for _, condition in METRICS.values())), *cells.rows_of(principal, chosen, rows)]
    return (
        select(found.span, group, *buckets, func.count())
        .select_from(found.source)
        .where(*where, *found.where)
        .group_by("span", "grouped", *METRICS)
    )


def _bucket(time: Any) -> Any:
    """The bucket of a ledger row's time, as SQL."""
    low = LatencyBucket.__table__.c
    found = select(low.bucket).where(low.low_ms <= time).order_by(low.low_ms.desc()).limit(1)
    return func.coalesce(found.scalar_subquery(), literal_column("0"))
