"""Rows of a database as a model reads them, and as parts of a reply."""

import datetime
import decimal
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from chatcore.conversations.parts import Cell
from chatcore.conversations.text import clean
from chatcore.tools.sql.sources import Rows
from chatcore.tools.values import ToolFailed

_LONGEST_CELL: Final = 2_000  # characters
_MOST_ROWS: Final = 1_000  # of a table part
_MOST_COLUMNS: Final = 30
_MOST_TEXT: Final = 40_000  # characters for the model
_MOST_POINTS: Final = 500  # of a chart


def cells(rows: Rows) -> list[list[Cell]]:
    """The rows in values that a table part can hold."""
    return [[_cell(value) for value in row] for row in rows.rows]


def text(columns: Sequence[str], found: Sequence[Sequence[Cell]], *, more: bool) -> str:
    """The rows for the model: a line of JSON each, as many as fit, and what is left out."""
    lines = [json.dumps(list(columns), ensure_ascii=False)]
    size = len(lines[0])
    for row in found:
        line = json.dumps(row, ensure_ascii=False)
        size += len(line)
        if size > _MOST_TEXT:
            break
        lines.append(line)
    shown = len(lines) - 1
    said = f"{len(found):,} rows" + (", and there are more: the query was cut off" if more else "")
    if shown < len(found):
        said += f"; the first {shown:,} are shown to you, the person sees up to {_MOST_ROWS:,}"
    return "\n".join([f"{said}. Column names, then rows:", *lines])


def table(title: str, columns: Sequence[str], found: Sequence[Sequence[Cell]]) -> dict[str, Any] | None:
    """A table part; None where there is nothing to show, or too many columns."""
    if not found or not columns or len(columns) > _MOST_COLUMNS:
        return None
    rows = [list(row) for row in found[:_MOST_ROWS]]
    return {"type": "table", "title": title[:300], "columns": [clean(name)[:300] for name in columns], "rows": rows}


def chart(wanted: Mapping[str, Any], columns: Sequence[str], found: Sequence[Sequence[Cell]]) -> dict[str, Any] | None:
    """A chart part of some columns. Raises `ToolFailed` where they cannot be drawn."""
    if not found:
        return None
    places = {name: place for place, name in enumerate(columns)}
    names = [wanted["x"], *wanted["y"]]
    for name in names:
        if name not in places:
            raise ToolFailed(f"The chart names the column {name}; the query gives {', '.join(columns)}.")
    shown = found[:_MOST_POINTS]
    series = [{"name": name, "values": [_number(row[places[name]], name) for row in shown]} for name in wanted["y"]]
    return {
        "type": "chart", "chart": wanted["kind"], "title": str(wanted.get("title", ""))[:300],
        "x": [_point(row[places[wanted["x"]]]) for row in shown], "series": series, "x_label": wanted["x"][:300],
    }  # fmt: skip


def _number(value: Cell, name: str) -> float | int | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    try:
        return float(value)
    except ValueError:
        raise ToolFailed(f"The column {name} holds text, which a chart cannot show as a value.") from None


def _point(value: Cell) -> str | int | float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)[:300]


def _plain_number(value: decimal.Decimal) -> Cell:
    """A number where one says the same, else its digits."""
    if not value.is_finite():
        return str(value)
    if value == value.to_integral_value():
        return int(value)
    return float(value) if value == decimal.Decimal(repr(float(value))) else str(value)


def _cell(value: Any) -> Cell:
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case decimal.Decimal():
            return _plain_number(value)
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return f"[{len(value):,} bytes]"
        case dict() | list():
            value = json.dumps(value, ensure_ascii=False, default=str)
    said = clean(str(value))
    return said if len(said) <= _LONGEST_CELL else f"{said[:_LONGEST_CELL]}…"
