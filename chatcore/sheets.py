"""Text for spreadsheets: CSV in which no cell is ever run as a formula."""

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """The rows as CSV. Times become ISO 8601 in UTC, True and False 1 and 0, None nothing."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([safe_cell(value) for value in row] for row in rows)
    return text.getvalue()


def safe_cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula begins with an apostrophe instead."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value
