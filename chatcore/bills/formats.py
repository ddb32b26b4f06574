"""Readers of bills: the usage and cost exports of providers as sums per day and model.

A form is recognised by its columns. The file is read once, so a million rows take no more memory than their days and
models. What each column is taken for stands in docs/reconcile.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Context, Decimal, InvalidOperation, localcontext
from typing import BinaryIO, Final, TypeVar

from chatcore.bills import text
from chatcore.bills.cells import Days, Numbers
from chatcore.bills.forms import Form, Source, plain, recognise
from chatcore.errors import InvalidInput
from chatcore.usage import zones

T = TypeVar("T")

_EXACT: Final = Context(prec=80)  # sums of amounts are rounded once, at their end
_MOST_CELLS: Final = 200_000
_LONGEST_NAME: Final = 300
_MOST_SHOWN: Final = 60


@dataclass(slots=True)
class Cell:
    """What a bill says of one model on one day. `money` in USD; `credits`: rows with a negative amount, their sum."""

    rows: int = 0
    requests: int = 0
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    money: Decimal = Decimal(0)
    credits: int = 0
    credited: Decimal = Decimal(0)


@dataclass
class Bill:
    """A bill as read. `cells` by day and the model's name as it stands there, '' where none does.

    `says`: which of `requests`, `tokens`, `cached`, `money` it has columns for. `rows`: those that count; `outside`:
    of days that were not asked for; `empty`: with nothing in them; `from_cache`: served by the provider's cache.
    `step`: the smallest unit that its amounts are given in, in USD, None where they are not rounded to cents or so.
    """

    form: Form
    says: frozenset[str]
    cells: dict[tuple[date, str], Cell] = field(default_factory=dict)
    rows: int = 0
    outside: int = 0
    empty: int = 0
    from_cache: int = 0
    step: Decimal | None = None


@dataclass(frozen=True)
class Reading:
    """How to read a bill. `source`: whose it is, found by itself for None. `since` and `until`: the only days that
    count, both included. `zone`: an IANA name. `rates`: what one unit of another currency is in USD. `decimal`: `.` or
    `,`, found by itself for None."""

    source: Source | None = None
    since: date | None = None
    until: date | None = None
    zone: str = "UTC"
    rates: Mapping[str, Decimal] = field(default_factory=dict)
    decimal: str | None = None


def read(stream: BinaryIO, how: Reading) -> Bill:
    """Read a whole file. Raises `InvalidInput`, with the line where there is one."""
    with text.sheet(stream) as sheet, localcontext(_EXACT):
        names = [plain(name) for name in sheet.header]
        form = recognise(names, how.source)
        reader = _Reader(form, names, how, Numbers(sheet.separator, how.decimal))
        for line, row in sheet.rows:
            reader.take(line, row)
    if not reader.bill.cells:
        raise InvalidInput(_nothing(reader.bill))
    reader.bill.step = reader.step()
    return reader.bill


def rate(text: str) -> tuple[str, Decimal]:
    """A currency and what one unit of it is in USD, from text such as `EUR=1.08`. Raises `InvalidInput`."""
    name, _, value = text.partition("=")
    try:
        found = Decimal(value.strip())
    except InvalidOperation:
        found = Decimal("NaN")
    if not name.strip().isalpha() or not found.is_finite() or not 0 < found < 10**9:
        raise InvalidInput("A rate must be like EUR=1.08: a currency, and what one unit of it is in USD.")
    return name.strip().upper(), found


def _nothing(bill: Bill) -> str:
    if bill.outside:
        return f"No row is of the days that were asked for; {bill.outside:,} are of other days."
    return "The file has its columns, but no rows with usage in them."


class _Reader:
    """Adds up one file's rows."""

    def __init__(self, form: Form, names: list[str], how: Reading, numbers: Numbers) -> None:
        self._names, self._how, self._numbers, self._form = names, how, numbers, form
        self._days = Days(zones.zone(how.zone))
        at = self._at
        (self._day,) = at(form.day)
        self._model = [place for name in form.model.split("|") for place in at(name)]
        self._variant, self._skip, self._currency = at(form.variant), at(form.skip), at(form.currency)
        self._counts = [at(form.prompt), at(form.cached), at(form.completion), at(form.requests)]
        self._money = at(form.money)
        prompt, cached, completion, requests = map(bool, self._counts)
        has = {"tokens": prompt or completion, "cached": cached, "money": bool(self._money)}
        has["requests"] = requests or form.per_call
        self.bill = Bill(form, frozenset(name for name, there in has.items() if there))
        self._finest = 0

    def _at(self, columns: str) -> list[int]:
        """Where the columns are: of the first alternative that is there, all parts of its sum."""
        for alternative in columns.split("|"):
            found = [name for name in alternative.split("+") if name and name in self._names]
            for name in found:
                if self._names.count(name) > 1:
                    raise InvalidInput(f"There are several columns called {name}.")
            if found:
                return [self._names.index(name) for name in found]
        return []

    def take(self, line: int, row: list[str]) -> None:
        """One row. Raises `InvalidInput`."""
        if len(row) != len(self._names):
            row = self._fitted(line, row)
        if not row[self._day].strip() and not any(cell.strip() for cell in row):
            return
        day = self._read(line, row, self._day, self._days.day)
        how = self._how
        if (how.since and day < how.since) or (how.until and day > how.until):
            self.bill.outside += 1
            return
        if self._skip and row[self._skip[0]].strip().lower() == "true":
            self.bill.from_cache += 1
            return
        prompt, cached, completion, requests = (
            sum([self._read(line, row, at, self._numbers.count) for at in columns]) for columns in self._counts
        )
        money = self._amount(line, row) if self._money else Decimal(0)
        if not (prompt or completion or requests or money):
            self.bill.empty += 1
            return
        cell = self._cell(line, day, self._name(line, row))
        self.bill.rows += 1
        cell.rows += 1
        cell.requests += 1 if self._form.per_call else requests
        cell.prompt += prompt
        cell.cached += cached
        cell.completion += completion
        cell.money += money
        if money < 0:
            cell.credits += 1
            cell.credited += money

    def step(self) -> Decimal | None:
        return Decimal(1).scaleb(-self._finest) if self._money and 2 <= self._finest <= 4 else None

    def _fitted(self, line: int, row: list[str]) -> list[str]:
        width = len(self._names)
        if len(row) > width and not any(cell.strip() for cell in row[width:]):
            return row[:width]
        raise InvalidInput(f"Line {line:,} has {len(row):,} cells, but there are {width:,} columns.")

    def _amount(self, line: int, row: list[str]) -> Decimal:
        money = self._read(line, row, self._money[0], self._numbers.amount)
        exponent = money.as_tuple().exponent
        if isinstance(exponent, int) and -exponent > self._finest:
            self._finest = -exponent
        currency = row[self._currency[0]].strip().upper() if self._currency else ""
        if not money or currency in ("", "USD", "US$", "$"):
            return money
        if currency not in self._how.rates:
            shown = _shown(currency)
            raise InvalidInput(f"Line {line:,} is in {shown}, the ledger in USD. Say what one {shown} is in USD.")
        return money * self._how.rates[currency]

    def _name(self, line: int, row: list[str]) -> str:
        name = next((name for at in self._model if (name := row[at].strip())), "")
        if self._form.line_item:
            name = name.partition(",")[0].strip()
        variant = row[self._variant[0]].strip().lower() if self._variant else ""
        if variant not in ("", "standard"):
            name = f"{name.removesuffix(f':{variant}')}:{variant}"
        if len(name) > _LONGEST_NAME:
            raise InvalidInput(f"Line {line:,} has a model's name of more than {_LONGEST_NAME} characters.")
        return _printable(name)

    def _cell(self, line: int, day: date, name: str) -> Cell:
        cell = self.bill.cells.get((day, name))
        if cell is None:
            if len(self.bill.cells) >= _MOST_CELLS:
                words = f"more than {_MOST_CELLS:,} pairs of a day and a model"
                raise InvalidInput(f"Up to line {line:,} the file has {words}: is its column of models the right one?")
            cell = self.bill.cells[day, name] = Cell()
        return cell

    def _read(self, line: int, row: list[str], at: int, read: Callable[[str], T]) -> T:
        try:
            return read(row[at])
        except ValueError as error:
            words = f"Line {line:,}, column {self._names[at]}: “{_shown(row[at].strip())}” {error}."
            raise InvalidInput(words) from error


def _shown(text: str) -> str:
    """A cell's text for a sentence: not too long, and nothing that a terminal would obey."""
    return _printable(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…")


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(sign if sign.isprintable() else "\ufffd" for sign in text)
