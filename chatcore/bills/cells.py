"""What stands in a bill's cells: days, whole numbers and amounts of money, as people and programs write them.

Each reader returns a value or raises `ValueError` with the end of a sentence; the caller knows line and column.
"""

import re
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from typing import Final

_PLAIN: Final = re.compile(r"-?\d+(\.\d*)?([eE][-+]?\d{1,2})?")
_NUMBER: Final = re.compile(r"(-?)\$?(-?)([\d.,]+)([eE][-+]?\d{1,2})?")
_THOUSANDS: Final = {mark: re.compile(rf"[1-9]\d{{0,2}}({re.escape(mark)}\d{{3}})+") for mark in ".,"}
_SPACES: Final = re.compile(r"[ \u00a0\u202f\u2009]")
_LARGEST_COUNT: Final = 10**15
_LARGEST_AMOUNT: Final = Decimal(10) ** 12

_EPOCH: Final = re.compile(r"(\d{10})(\d{3})?(\.\d+)?")
_DOTTED: Final = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")
_SLASHED: Final = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(?:[ ,T].*)?")
_YEAR_FIRST: Final = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})(?:[ ,T].*)?")
_WORDED: Final = ("%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%b %d %Y", "%d-%b-%Y")
_YEARS: Final = range(2000, 2101)
_MOST_KNOWN: Final = 50_000


class Numbers:
    """Reads the numbers of one file.

    `separator`: that of the columns. `decimal`: the decimal mark, `.` or `,`, where it is known. Where it is not, a
    point is one in files separated by anything but semicolons; with semicolons, what could be both is refused.
    """

    def __init__(self, separator: str, decimal: str | None = None) -> None:
        self._decimal = decimal or ("." if separator != ";" else None)
        self._told = decimal is not None

    def count(self, cell: str) -> int:
        """A whole number, `1234`, `1,234` or `1234.0`; nothing is 0."""
        if cell.isdigit() and cell.isascii() and len(cell) < 16:
            return int(cell)
        if not cell.strip():
            return 0
        value = self._value(cell, whole=True)
        if value != value.to_integral_value() or abs(value) >= _LARGEST_COUNT:
            raise ValueError("is not a whole number")
        return int(value)

    def amount(self, cell: str) -> Decimal:
        """An amount of money, exactly as it stands there; nothing is 0."""
        if not cell.strip():
            return Decimal(0)
        value = self._value(cell, whole=False)
        if abs(value) >= _LARGEST_AMOUNT:
            raise ValueError("is more money than there is")
        return value

    def _value(self, cell: str, whole: bool) -> Decimal:
        text = cell if not self._told and self._decimal == "." and _PLAIN.fullmatch(cell) else self._normal(cell, whole)
        return Decimal(text)

    def _normal(self, cell: str, whole: bool) -> str:
        found = _NUMBER.fullmatch(_SPACES.sub("", cell))
        if not found or (found[1] and found[2]):
            raise ValueError("is not a number")
        digits = self._digits(found[3], whole)
        if not any(sign.isdigit() for sign in digits):
            raise ValueError("is not a number")
        return f"{found[1] or found[2]}{digits}{found[4] or ''}"

    def _digits(self, body: str, whole: bool) -> str:
        """`body` without marks of thousands and with a point as its decimal mark."""
        marks = [mark for mark in ".," if mark in body]
        if not marks:
            return body
        if len(marks) == 2:
            decimal = max(marks, key=body.rfind)
            return self._split(body, decimal)
        (mark,) = marks
        if body.count(mark) > 1:
            return self._grouped(body, mark)
        if self._told:
            return self._split(body, mark) if mark == self._decimal else self._grouped(body, mark)
        if not _THOUSANDS[mark].fullmatch(body) or (mark == "." and self._decimal == "."):
            return body.replace(mark, ".")
        if whole or self._decimal == ".":
            return self._grouped(body, mark)
        raise ValueError("can be read in two ways; say which decimal mark the file uses")

    def _split(self, body: str, decimal: str) -> str:
        whole, _, rest = body.rpartition(decimal)
        other = "," if decimal == "." else "."
        if (self._told and decimal != self._decimal) or other in rest or decimal in whole:
            raise ValueError("is not a number with this decimal mark")
        return f"{self._grouped(whole, other) if other in whole else whole}.{rest}"

    def _grouped(self, body: str, mark: str) -> str:
        if not _THOUSANDS[mark].fullmatch(body) or (self._told and mark == self._decimal):
            raise ValueError("is not a number")
        return body.replace(mark, "")


class Days:
    """Reads the days of one file. `zone`: where its dates and its times without a zone of their own are meant."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._known: dict[str, date] = {}

    def day(self, cell: str) -> date:
        """The day, in the zone, that a date, a point in time or a Unix time is in."""
        found = self._known.get(cell)
        if found is None:
            found = self._day(cell.strip())
            if found.year not in _YEARS:
                raise ValueError(f"is not a day from {_YEARS.start} to {_YEARS.stop - 1}")
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[cell] = found
        return found

    def _day(self, text: str) -> date:
        if epoch := _EPOCH.fullmatch(text):
            return datetime.fromtimestamp(int(epoch[1]), UTC).astimezone(self._zone).date()
        if len(text) >= 8 and text[:4].isdigit() and "/" not in text:
            return self._iso(text.removesuffix(" UTC") + ("+00:00" if text.endswith(" UTC") else ""))
        return _other_day(text)

    def _iso(self, text: str) -> date:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise ValueError("is not a day") from error
        return moment.date() if moment.tzinfo is None else moment.astimezone(self._zone).date()


def _other_day(text: str) -> date:
    if found := _DOTTED.fullmatch(text):
        return _date(found[3], found[2], found[1])
    if found := _YEAR_FIRST.fullmatch(text):
        return _date(found[1], found[2], found[3])
    if found := _SLASHED.fullmatch(text):
        first, second = int(found[1]), int(found[2])
        if first <= 12 and second <= 12 and first != second:
            raise ValueError("can be read with the day or the month first; write days as 2026-01-31")
        return _date(found[3], *((found[1], found[2]) if second > 12 else (found[2], found[1])))
    for form in _WORDED:
        try:
            return datetime.strptime(text, form).date()
        except ValueError:
            continue
    raise ValueError("is not a day; write days as 2026-01-31")


def _date(year: str, month: str, day: str) -> date:
    try:
        return date(int(year), int(month), int(day))
    except ValueError as error:
        raise ValueError("is not a day") from error
