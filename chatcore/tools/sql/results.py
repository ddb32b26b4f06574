"""Rows of a database as a model reads them, and as parts of a reply."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from chatcore.conversations.parts import Cell, parse
from chatcore.conversations.text import clean
from chatcore.tools.sql.sources import Rows
from chatcore.tools.values import ToolFailed

_MOST_COLUMNS: Final = 30  # of a table part
_MOST_TEXT: Final = 40_000  # characters for the model
_MOST_POINTS: Final = 500  # of a chart
_MOST_EXACT: Final = 2**53  # beyond it browsers round
_NO_CHART: Final = "A pie has one column of at most 30 values, none below zero; others have numbers or nothing."


def text(rows: Rows) -> str:
    """The rows for the model: a line of JSON each, as many as fit, and what is left out."""
    lines = [json.dumps(rows.columns, ensure_ascii=False)]
    size = len(lines[0])
    for row in rows.rows:
        line = json.dumps(row, ensure_ascii=False)
        size += len(line)
        if size > _MOST_TEXT:
            break
        lines.append(line)
    shown, there = len(lines) - 1, len(rows.rows)
    said = f"{there:,} rows" + (", and there are more: the result was cut off" if rows.more else "")
    if shown < there:
        said += f"; you read the first {shown:,}, the person sees all {there:,}"
    if len(rows.columns) > _MOST_COLUMNS:
        said += f"; the person sees the first {_MOST_COLUMNS} columns"
    return "\n".join([f"{said}. Column names, then rows:", *lines])


def table(rows: Rows) -> dict[str, Any]:
    """A table part."""
    columns = [clean(name)[:300] for name in rows.columns[:_MOST_COLUMNS]]
    return {"type": "table", "title": "", "columns": columns, "rows": [row[:_MOST_COLUMNS] for row in rows.rows]}


def chart(wanted: Mapping[str, Any], rows: Rows) -> dict[str, Any]:
    """A chart part of some columns, of the first 500 rows. Raises `ToolFailed` where they cannot be drawn."""
    x, *ys = (_place(name, rows.columns) for name in [wanted["x"], *wanted["y"]])
    shown = rows.rows[:_MOST_POINTS]
    part = {
        "type": "chart", "chart": wanted["kind"], "title": clean(wanted.get("title", ""))[:300],
        "x": [_point(row[x]) for row in shown], "x_label": clean(rows.columns[x])[:300],
        "series": [
            {"name": clean(rows.columns[y])[:300], "values": [_number(row[y], rows.columns[y]) for row in shown]}
            for y in ys
        ],
    }  # fmt: skip
    if parse(part) is None:
        raise ToolFailed(_NO_CHART)
    return part


def _place(name: str, columns: Sequence[str]) -> int:
    """Where the column stands. Databases change the case of names."""
    folded = [column.casefold() for column in columns]
    if name in columns:
        return columns.index(name)
    if name.casefold() in folded:
        return folded.index(name.casefold())
    raise ToolFailed(f"It names the column {name[:60]}; the query gives {', '.join(columns)[:1_000]}.")


def _number(value: Cell, name: str) -> float | int | None:
    if value is None:
        return None
    try:
        number = value if isinstance(value, int) else float(value)
    except ValueError:
        raise ToolFailed(f"The column {name[:60]} holds text, which a chart cannot show as a value.") from None
    if not math.isfinite(number):
        return None
    return float(number) if abs(number) > _MOST_EXACT else number


def _point(value: Cell) -> str | int | float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MOST_EXACT:
        return value
    return "" if value is None else str(value)[:300]
