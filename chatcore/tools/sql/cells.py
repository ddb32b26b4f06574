"""Values of a database as cells that a table part can hold."""

import datetime
import decimal
import json
import math
from typing import Any, Final

from chatcore.conversations.parts import Cell
from chatcore.conversations.text import clean

LONGEST: Final = 2_000
"""Characters of a cell; the rest is cut off."""
_LARGEST: Final = 1e300  # that a table part holds
_EXACT: Final = 15  # digits before the point up to which a decimal is a number


def cell(value: Any) -> Cell:
    """The value as it can be stored and shown: what JSON has no form for as text, and no text longer than `LONGEST`."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) and abs(value) < _LARGEST else str(value)
        case decimal.Decimal():
            return _decimal(value)
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return f"[{len(value)} bytes]"
        case dict() | list():
            value = json.dumps(value, ensure_ascii=False, default=str)
    return _cut(str(value))


def _decimal(value: decimal.Decimal) -> Cell:
    """A number where one says the same, else its digits."""
    if not value.is_finite() or value.adjusted() > _EXACT:
        return _cut(str(value))
    if value == value.to_integral_value():
        return int(value)
    return float(value) if value == decimal.Decimal(repr(float(value))) else _cut(str(value))


def _cut(text: str) -> str:
    return clean(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")
