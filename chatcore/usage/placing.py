"""Which segment a row belongs to, in SQL: one statement reads the rows of many.

SQLite searches its index once for each segment. PostgreSQL, which would compare every row with every segment, reads the
whole range and looks the segment up among their borders.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, DateTime, FromClause, Integer, and_, bindparam, func, literal, select, true
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import Label

from chatcore.usage.segments import Segment


@dataclass(frozen=True)
class Placed:
    """What to select from; `span`: the span's number, by that label; `where`: what rows of no segment do not meet."""

    source: FromClause
    span: Label[int]
    where: tuple[ColumnElement[bool], ...] = ()


def placed(
    session: Session, segments: Sequence[Segment], table: Any, time: ColumnElement[Any], name: str = "segments"
) -> Placed:
    """The table's rows whose `time` lies in one of the segments, which do not overlap.

    `name`: one of its own for each in a statement.
    """
    if session.get_bind().dialect.name == "sqlite":
        return _on_sqlite(segments, table, time, name)
    ordered = sorted(segments, key=lambda segment: segment.begin)
    within = (time >= ordered[0].begin, time < ordered[-1].end)
    if len(ordered) == 1:
        return Placed(table, literal(ordered[0].span).label("span"), within)
    spans, ends = ([one.span for one in ordered], [one.end for one in ordered])
    arrays = select(
        bindparam(None, spans, type_=ARRAY(Integer())).label("spans"),
        bindparam(None, ends, type_=ARRAY(DateTime(timezone=True))).label("ends"),
    ).subquery(name)
    begins = bindparam(None, [one.begin for one in ordered], type_=ARRAY(DateTime(timezone=True)))
    place = func.width_bucket(time, begins)
    return Placed(
        table.join(arrays, true()), arrays.c.spans[place].label("span"), (*within, time < arrays.c.ends[place])
    )


def _on_sqlite(segments: Sequence[Segment], table: Any, time: ColumnElement[Any], name: str) -> Placed:
    form = "%Y-%m-%d %H:%M:%S.%f"  # as SQLite has times
    listed = [[one.span, f"{one.begin:{form}}", f"{one.end:{form}}"] for one in segments]
    each = func.json_each(literal(json.dumps(listed))).table_valued("value", name="each")
    columns = [
        func.json_extract(each.c.value, f"$[{place}]").label(one) for place, one in enumerate(("span", "begin", "end"))
    ]
    parts = select(*columns).cte(name).prefix_with("MATERIALIZED")
    inside = and_(time >= parts.c.begin, time < parts.c.end)
    return Placed(parts.join(table, inside), parts.c.span.label("span"))
