"""`reconcile`: a provider's usage CSV beside the ledger."""

import argparse
from argparse import ArgumentParser, Namespace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import get_args

from chatcore.bills.formats import Reading, rate
from chatcore.bills.forms import SOURCES
from chatcore.bills.reconcile import Bills, Keys, Options, csv_lines
from chatcore.bills.values import Comparison, Line, dollars
from chatcore.commands.shell import say, shell, show
from chatcore.errors import InvalidInput


def arguments(parser: ArgumentParser) -> None:
    """The arguments of `reconcile`."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the provider's usage or cost export, as CSV")
    parser.add_argument("--provider", choices=SOURCES, help="whose it is (default: found by its columns)")
    words = "only this tenant's calls (default: those of all tenants, as they share the configured keys)"
    parser.add_argument("--tenant", help=words)
    parser.add_argument("--since", metavar="DATE", type=_day, help="the first day that counts (2026-01-31)")
    parser.add_argument("--until", metavar="DATE", type=_day, help="the last day that counts")
    parser.add_argument(
        "--zone", default="UTC", help="whose days the bill counts, such as Europe/Berlin (default: UTC)"
    )
    words = "what one unit of a currency is in USD, for a bill in another one; may be repeated"
    parser.add_argument("--rate", metavar="EUR=1.08", type=_rate, action="append", default=[], help=words)
    parser.add_argument("--decimal", choices=(".", ","), help="the file's decimal mark, where both are possible")
    words = "whose keys the bill is for; may be repeated (default: shared, those of the configuration)"
    parser.add_argument("--keys", choices=get_args(Keys), action="append", help=words)
    words = "the ledger's provider to compare with; may be repeated (default: the bill's, or that of its models)"
    parser.add_argument("--ledger-provider", metavar="NAME", action="append", default=[], help=words)
    parser.add_argument("--csv", metavar="OUT", type=Path, help="also write the lines per day and model to this file")


def reconcile(chosen: Namespace) -> None:
    """Compare a bill with the ledger and say what explains the difference."""
    reading = Reading(chosen.provider, chosen.since, chosen.until, chosen.zone, dict(chosen.rate), chosen.decimal)
    options = Options(reading, tuple(chosen.keys or ["shared"]), tuple(chosen.ledger_provider), chosen.tenant is None)
    try:
        stream = chosen.file.open("rb")
    except OSError as error:
        raise InvalidInput(f"{chosen.file} cannot be read: {error.strerror}.") from error
    with stream, shell() as core:
        found = Bills(core.db).compare(core.console.operator(chosen.tenant), stream, chosen.file.name, options)
    _say(found)
    if chosen.csv:
        _write(found, chosen.csv)


def _say(found: Comparison) -> None:
    say(f"{found.name}: {found.form}, {_rows(found.rows)}, {found.first} to {found.last} ({found.zone})")
    say(found.headline)
    for reason in found.doubts:
        say(f"In the ledger's sums: {reason.words}")
    say("")
    head = ("MODEL", "IN THE LEDGER", "TOKENS: BILL", "LEDGER", "COST: BILL", "LEDGER", "BILL MORE BY")
    show(head, [_row(line, "money" in found.says) for line in found.models])
    for line in found.models:
        for reason in line.reasons:
            say(f"  {line.model}: {reason.words}")
    notes = [*(f"Not on such a bill: {reason.words}" for reason in found.left_out), *found.notes]
    if notes:
        say("")
    for note in notes:
        say(note)


def _row(line: Line, in_money: bool) -> tuple[str, ...]:
    sides = line.bill, line.ledger
    tokens = [f"{side.tokens:,}" if side and side.tokens is not None else "-" for side in sides]
    money = [dollars(side.nano_usd) if side and side.nano_usd is not None else "-" for side in sides]
    apart = line.difference
    difference = dollars(apart.nano_usd) if in_money else f"{apart.tokens or 0:,} tokens"
    return (line.model, line.called or "-", *tokens, *money, "agrees" if line.agrees else difference)


def _rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"


def _write(found: Comparison, path: Path) -> None:
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(csv_lines(found))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}.") from error
    say(f"{len(found.days):,} lines are in {path}.")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("must be a day such as 2026-01-31") from error


def _rate(text: str) -> tuple[str, Decimal]:
    try:
        return rate(text)
    except InvalidInput as error:
        raise argparse.ArgumentTypeError(str(error)) from error
