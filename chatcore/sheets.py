"""Text for spreadsheets: CSV in which no cell is ever run as a formula.

Which sign parts the cells is the spreadsheet's choice, by its country: a comma, a semicolon, a tab. So a formula must
not begin behind any of them, nor behind the end of a line.
"""

import csv
import io
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

_PARTS: Final = r";\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029"
_UNSEEN: Final = rf"(?:(?![{_PARTS}])[\s\"\x00-\x1f\x7f\ufeff\u200b-\u200f\u2060])"
_FORMULA: Final = re.compile(rf"(^|[{_PARTS}])(?={_UNSEEN}*[=+\-@＝＋－＠﹦﹢﹣﹫])")


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """The rows as CSV, each cell in quotes. Times become ISO 8601 in UTC, True and False 1 and 0, None nothing."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerows([safe_cell(value) for value in row] for row in rows)
    return text.getvalue()


def safe_cell(value: Any) -> Any:
    """Text with an apostrophe before whatever a spreadsheet could run as a formula."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        return _FORMULA.sub(r"\1'", value)
    return value
