"""A provider's bill beside the ledger, per day and model: how far they are apart, and what explains it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import BinaryIO, Final, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.bills import formats, ledger
from chatcore.bills.formats import Bill, Cell, Reading
from chatcore.bills.forms import Source
from chatcore.bills.ledger import Group, Sums
from chatcore.bills.model_names import key, keys_of_groups
from chatcore.bills.reasons import Side, agree, doubts, explain, left_out
from chatcore.bills.values import Comparison, Figures, Line
from chatcore.db import Database
from chatcore.db.tables import Tenant, utcnow
from chatcore.errors import Forbidden, InvalidInput
from chatcore.sheets import csv_text
from chatcore.usage import zones

Keys = Literal["shared", "tenant", "person"]
_PROVIDERS: Final[Mapping[Source, tuple[str, ...]]] = {
    "openai": ("openai",), "anthropic": ("anthropic",), "openrouter": ("openrouter",),
}  # fmt: skip
_WIDE: Final = Context(prec=80)
_MOST_NAMES: Final = 3
_NOTHING: Final = Figures(0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Options:
    """`reading`: how to read the file. `keys`: whose keys the bill is for. `providers`: whose calls of the ledger
    stand beside it, by itself those of the bill's provider, or of the models it names. `all_tenants`: the calls of
    all tenants, as they share the configured keys; for operators only."""

    reading: Reading = field(default_factory=Reading)
    keys: tuple[Keys, ...] = ("shared",)
    providers: tuple[str, ...] = ()
    all_tenants: bool = False


class Bills:
    """Compares bills with the ledger. Nothing of a bill is kept."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def compare(self, principal: Principal, stream: BinaryIO, name: str, options: Options | None = None) -> Comparison:
        """Read a bill from a seekable stream and put it beside the ledger of the principal's tenant.

        `name`: the file's, to be shown. Raises `Forbidden` for members and for all tenants but by an operator,
        `InvalidInput` for a file that cannot be used, with its line.
        """
        options = options or Options()
        tenant_ids = self._tenants(principal, options.all_tenants)
        zone = options.reading.zone
        kept = self._kept_since(tenant_ids, zone)
        if kept and (options.reading.since or date.min) < kept:
            options = replace(options, reading=replace(options.reading, since=kept))
        else:
            kept = None
        bill = formats.read(stream, options.reading)
        days = [day for day, _ in bill.cells]
        first = options.reading.since or min(days)
        last = options.reading.until or max(days)
        if first > last:
            raise InvalidInput("The first day that counts is after the last one.")
        found = ledger.sums(self._db.read, tenant_ids, first, last, zone, options.keys)
        now = utcnow().astimezone(zones.zone(zone))
        compared = _Work(bill, found, options).comparison(name, first, last, now)
        if kept is None or not bill.outside:
            return compared
        note = f"Calls from before {kept:%-d %b %Y} are no longer kept here, so the bill's days before are left out."
        return replace(compared, notes=(note, *compared.notes))

    def _kept_since(self, tenant_ids: Sequence[str], zone: str) -> date | None:
        """The first whole day that the ledger still has; None where it has all."""
        statement = select(func.max(Tenant.ledger_since)).where(Tenant.id.in_(tenant_ids))
        since: datetime | None = self._db.read(lambda session: session.scalar(statement))
        if since is None:
            return None
        where = zones.zone(zone)
        day = zones.day_of(since, where)
        return day if zones.begin(day, where) == since else day + timedelta(days=1)

    def _tenants(self, principal: Principal, everybody: bool) -> Sequence[str]:
        if not principal.is_admin:
            raise Forbidden("Only an admin may compare a bill with the ledger.")
        if not everybody:
            return [principal.tenant_id]
        if not principal.is_operator:
            raise Forbidden("Only an operator may compare a bill with the calls of all tenants.")

        def work(session: Session) -> Sequence[str]:
            return session.scalars(select(Tenant.id)).all()

        return self._db.read(work)


class _Work:
    """One comparison: both sides under common names, then lines from them."""

    def __init__(self, bill: Bill, found: Mapping[tuple[date, Group], Sums], options: Options) -> None:
        self._bill, self._options = bill, options
        names = {name for _, name in bill.cells}
        self._nameless = names == {""}
        keys = keys_of_groups(names - {""}, {(group.model, group.provider_model) for _, group in found})
        billed = {key(name) for name in names}
        self.providers = self._sources(found, keys, billed)
        self._names: dict[str, set[str]] = defaultdict(set)
        self._called: dict[str, set[str]] = defaultdict(set)
        self._billed: dict[tuple[date, str], Cell] = {}
        self._ledger: dict[tuple[date, str], Sums] = {}
        for (day, name), cell in bill.cells.items():
            self._names[key(name)].add(name)
            _merge(self._billed.setdefault((day, key(name)), Cell()), cell)
        for (day, group), sums in found.items():
            if group.provider in self.providers:
                common = "" if self._nameless else keys[group.model, group.provider_model]
                self._called[common].add(group.model)
                self._ledger.setdefault((day, common), Sums()).add(sums)

    def _sources(
        self, found: Mapping[tuple[date, Group], Sums], keys: Mapping[tuple[str, str], str], billed: set[str]
    ) -> tuple[str, ...]:
        """Whose calls of the ledger the bill is compared with."""
        chosen = self._options.providers or _PROVIDERS.get(self._bill.form.source)
        if chosen:
            return chosen
        groups = {group for _, group in found}
        if not self._nameless:
            groups = {group for group in groups if keys[group.model, group.provider_model] in billed}
        return tuple(sorted({group.provider for group in groups}))

    def comparison(self, name: str, first: date, last: date, now: datetime) -> Comparison:
        models = sorted(self._models(), key=lambda line: (-_apart(line), line.model))
        days = tuple(self._line(day, common) for day, common in sorted(self._billed.keys() | self._ledger.keys()))
        bill = _sum(line.bill for line in models)
        ledger = _sum(line.ledger for line in models)
        everything = Sums()
        for sums in self._ledger.values():
            everything.add(sums)
        return Comparison(
            name, self._bill.form.name, self._bill.says, self._options.reading.zone, first, last, self._bill.rows,
            self.providers, bill, ledger, all(line.agrees for line in models), days, tuple(models),
            doubts(everything.parts), left_out(everything.parts), tuple(self._notes(last, now)),
        )  # fmt: skip

    def _models(self) -> Iterator[Line]:
        lines: dict[str, tuple[Cell, Sums]] = defaultdict(lambda: (Cell(), Sums()))
        apart: set[str] = set()
        for day, common in self._billed.keys() | self._ledger.keys():
            cell, sums = self._billed.get((day, common)), self._ledger.get((day, common))
            if cell:
                _merge(lines[common][0], cell)
            if sums:
                lines[common][1].add(sums)
            if not self._line(day, common).agrees:
                apart.add(common)
        for common, (cell, sums) in lines.items():
            if cell.rows or sums.counted:
                yield self._made(None, common, cell, sums, days_differ=common in apart)

    def _line(self, day: date, common: str) -> Line:
        return self._made(day, common, self._billed.get((day, common), Cell()), self._ledger.get((day, common), Sums()))

    def _made(self, day: date | None, common: str, cell: Cell, sums: Sums, days_differ: bool = False) -> Line:
        bill = self._figures(cell) if cell.rows else None
        ledger = sums.figures if sums.counted else None
        says = self._bill.says
        same = agree(bill or _NOTHING, ledger or _NOTHING, says, sums.counted + cell.rows)
        fine = same and not days_differ
        step = self._bill.step
        side = Side(says, cell.rows, int(step.scaleb(9)) if step else 0, cell.credits, _nano(cell.credited))
        reasons = () if fine else explain(bill, ledger, sums.parts, side, days_only=same and days_differ)
        shown = _listed(self._names.get(common, set()) - {""}) or _listed(self._called.get(common, set()))
        if not common:
            shown = "All models" if self._nameless else "(no model named)"
        return Line(day, shown, _listed(self._called.get(common, set())), bill, ledger, fine, reasons)

    def _figures(self, cell: Cell) -> Figures:
        says = self._bill.says
        tokens = "tokens" in says
        return Figures(
            requests=cell.requests if "requests" in says else None,
            prompt=cell.prompt if tokens else None,
            cached=cell.cached if "cached" in says else None,
            completion=cell.completion if tokens else None,
            nano_usd=_nano(cell.money) if "money" in says else None,
        )

    def _notes(self, last: date, now: datetime) -> Iterator[str]:
        bill = self._bill
        if not self._ledger:
            whose = f" of {', '.join(self.providers)}" if self.providers else " to these models"
            yield f"The ledger has no calls{whose} in these days."
        if self._nameless:
            yield "The bill names no models, so only days are compared. Export it grouped by model (line item)."
        if "money" not in bill.says:
            yield "The bill has no column of money: tokens are compared. The provider has a cost export too."
        if "tokens" not in bill.says:
            yield "The bill has no columns of tokens: money is compared."
        if last >= now.date():
            yield "The last day is not over yet, so that the bill may lack some of it."
        for count, words in (
            (bill.outside, "of other days were left out"), (bill.empty, "with nothing in them were left out"),
            (bill.from_cache, "served by the proxy's own cache were left out"),
        ):  # fmt: skip
            if count:
                yield f"{count:,} {'row' if count == 1 else 'rows'} {words}."


CSV_COLUMNS: Final = (
    *("day", "model", "model_in_ledger", "bill_requests", "ledger_requests", "bill_prompt_tokens"),
    *("ledger_prompt_tokens", "bill_cached_tokens", "ledger_cached_tokens", "bill_completion_tokens"),
    *("ledger_completion_tokens", "bill_nano_usd", "ledger_nano_usd", "difference_nano_usd", "agrees", "reasons"),
)


def csv_lines(comparison: Comparison) -> Iterator[str]:
    """The lines per day and model as CSV text in pieces, safe to open in a spreadsheet. What is unknown is empty."""
    yield csv_text([CSV_COLUMNS])
    for line in comparison.days:
        bill, ledger = line.bill or Figures(), line.ledger or Figures()
        pairs = [
            value
            for name in ("requests", "prompt", "cached", "completion", "nano_usd")
            for value in (getattr(bill, name), getattr(ledger, name))
        ]
        reasons = " ".join(reason.words for reason in line.reasons)
        texts = (line.day, line.model, line.called)
        yield csv_text([(*texts, *pairs, line.difference.nano_usd, int(line.agrees), reasons)])


def _merge(into: Cell, other: Cell) -> None:
    into.rows += other.rows
    into.requests += other.requests
    into.prompt += other.prompt
    into.cached += other.cached
    into.completion += other.completion
    into.money = _WIDE.add(into.money, other.money)
    into.credits += other.credits
    into.credited = _WIDE.add(into.credited, other.credited)


def _nano(usd: Decimal) -> int:
    return int(usd.scaleb(9, context=_WIDE).to_integral_value(ROUND_HALF_EVEN, context=_WIDE))


def _sum(sides: Iterable[Figures | None]) -> Figures:
    known = [side for side in sides if side is not None]
    return sum(known[1:], known[0]) if known else _NOTHING


def _apart(line: Line) -> int:
    """How far the two are apart, for the order: in money where the bill says it, a cost nobody knows as nothing."""
    bill, ledger = line.bill or _NOTHING, line.ledger or _NOTHING
    if bill.nano_usd is None:
        return abs(line.difference.tokens or 0)
    return abs(bill.nano_usd - (ledger.nano_usd or 0))


def _listed(names: Iterable[str]) -> str:
    known = sorted(names)
    more = f" and {len(known) - _MOST_NAMES} more" if len(known) > _MOST_NAMES else ""
    return ", ".join(known[:_MOST_NAMES]) + more
