"""What comes out of comparing a bill with the ledger: frozen values that the command line and the page draw."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

Kind = Literal[
    "estimated", "unpriced", "unsettled", "failed", "keys", "cached", "demo", "only_bill", "only_ledger", "days",
    "split", "price", "rounding", "credits", "unexplained",
]  # fmt: skip


@dataclass(frozen=True)
class Figures:
    """Sums of one side. None where that side does not say: a bill without such a column, a cost nobody knows.

    `prompt` contains the `cached` tokens. Money in nano-USD.
    """

    requests: int | None = None
    prompt: int | None = None
    cached: int | None = None
    completion: int | None = None
    nano_usd: int | None = None

    @property
    def tokens(self) -> int | None:
        """In and out."""
        return None if self.prompt is None or self.completion is None else self.prompt + self.completion

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(
            add(self.requests, other.requests), add(self.prompt, other.prompt), add(self.cached, other.cached),
            add(self.completion, other.completion), add(self.nano_usd, other.nano_usd),
        )  # fmt: skip

    def __sub__(self, other: "Figures") -> "Figures":
        """What this one has more, None where one of them does not say."""
        return Figures(
            _less(self.requests, other.requests), _less(self.prompt, other.prompt), _less(self.cached, other.cached),
            _less(self.completion, other.completion), _less(self.nano_usd, other.nano_usd),
        )  # fmt: skip


@dataclass(frozen=True)
class Reason:
    """One thing that explains a difference, with the calls, tokens and known cost behind it. `words`: a sentence."""

    kind: Kind
    words: str
    calls: int = 0
    tokens: int = 0
    nano_usd: int | None = None


@dataclass(frozen=True)
class Line:
    """One model, on one day or (`day` None) on all of them. A side is None where it has nothing of it at all.

    `model`: the names on the bill, else those in the ledger; `called`: the registry's names of it, '' where the ledger
    has none. `agrees`: tokens and money are the same, as far as the bill says them and but for less than a nano-dollar
    a call. `reasons`: what explains the difference, in the order of `Kind`; empty where there is none.
    """

    day: date | None
    model: str
    called: str
    bill: Figures | None
    ledger: Figures | None
    agrees: bool
    reasons: tuple[Reason, ...] = ()

    @property
    def difference(self) -> Figures:
        """What the bill has more than the ledger. A side without the model has 0 of everything."""
        nothing = Figures(0, 0, 0, 0, 0)
        return (self.bill or nothing) - (self.ledger or nothing)


@dataclass(frozen=True)
class Comparison:
    """A bill beside the ledger, over the bill's days.

    `form`: what the file was recognised as. `says`: which of `requests`, `tokens`, `cached`, `money` the bill has
    columns for. `rows`: its rows that count. `providers`: whose calls of the ledger stand beside it. `days`: a line for
    each day and model, `models`: a line for each model, the largest difference first. `doubts`: calls in the ledger's
    sums whose tokens or price are uncertain, `left_out`: calls that are on no such bill, by kind. `unmatched`: models
    that only the bill has, `only_ledger`: only the ledger. `notes`: sentences on what was skipped or assumed.
    """

    name: str
    form: str
    says: frozenset[str]
    zone: str
    first: date
    last: date
    rows: int
    providers: tuple[str, ...]
    bill: Figures
    ledger: Figures
    agrees: bool
    days: tuple[Line, ...]
    models: tuple[Line, ...]
    doubts: tuple[Reason, ...]
    left_out: tuple[Reason, ...]
    notes: tuple[str, ...]

    @property
    def unmatched(self) -> tuple[str, ...]:
        return tuple(line.model for line in self.models if line.ledger is None)

    @property
    def only_ledger(self) -> tuple[str, ...]:
        return tuple(line.model for line in self.models if line.bill is None)

    @property
    def difference(self) -> Figures:
        """What the bill has more than the ledger."""
        return self.bill - self.ledger

    @property
    def headline(self) -> str:
        """What came of it in one sentence: money where the bill says it, else tokens."""
        apart = self.difference
        if self.agrees:
            same = dollars(self.bill.nano_usd) if "money" in self.says else f"{self.bill.tokens or 0:,} tokens"
            return f"The ledger and the bill agree: {same}."
        if "money" not in self.says:
            sides = f"The ledger says {self.ledger.tokens or 0:,} tokens, the bill {self.bill.tokens or 0:,}"
            return f"{sides}: {abs(apart.tokens or 0):,} apart{_percent(apart.tokens, self.bill.tokens)}."
        if apart.nano_usd is None:
            return f"The bill says {dollars(self.bill.nano_usd)}; the ledger knows no price of these calls."
        sides = f"The ledger says {dollars(self.ledger.nano_usd)}, the bill {dollars(self.bill.nano_usd)}"
        return f"{sides}: {dollars(abs(apart.nano_usd))} apart{_percent(apart.nano_usd, self.bill.nano_usd)}."


def add(one: int | None, other: int | None) -> int | None:
    """The sum of what is known, None where nothing is."""
    return None if one is None and other is None else (one or 0) + (other or 0)


def _less(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one - other


def dollars(nano: int | None) -> str:
    """`$1,234.50`, `$0.0042`, `-$3.00`; `unknown` for None. Two digits, and two that count below a cent."""
    if nano is None:
        return "unknown"
    value = Decimal(abs(nano)).scaleb(-9)
    digits = 2 if value >= Decimal("0.00995") or not value else 1 - value.adjusted()
    return f"{'-' * (nano < 0)}${value:,.{digits}f}"


def _percent(apart: int | None, whole: int | None) -> str:
    if not apart or not whole:
        return ""
    share = abs(apart) / abs(whole) * 100
    return f" ({share:.1f}%)" if share >= 0.05 else " (less than 0.1%)"
