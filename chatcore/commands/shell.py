"""What every command works with: settings and a database, questions at a terminal, lines and tables to say."""

import getpass
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from chatcore import agents
from chatcore.accounts import Accounts, Console
from chatcore.config import Settings, load_settings
from chatcore.db import Database, upgrade
from chatcore.errors import InvalidInput


@dataclass(frozen=True)
class Shell:
    """What a command works with: no engine, no gateway."""

    settings: Settings
    db: Database
    accounts: Accounts
    console: Console


@contextmanager
def shell() -> Iterator[Shell]:
    """Settings and an up-to-date database; makes the default tenant, and no setup code."""
    settings = load_settings()
    db = Database(settings.database_url)
    try:
        upgrade(db)
        console = Console(db, agents.seed)
        console.prepare()
        yield Shell(settings, db, Accounts(db, settings, agents.seed), console)
    finally:
        db.close()


@contextmanager
def bare_database() -> Iterator[Database]:
    """The database as it is."""
    db = Database(load_settings().database_url)
    try:
        yield db
    finally:
        db.close()


def ask_password(prompt: str) -> str:
    """Twice at a terminal; else the first line of standard input. Raises `InvalidInput`."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass(prompt)
    if getpass.getpass("Once more: ") != first:
        raise InvalidInput("The two passwords differ.")
    return first


def ask_secret(prompt: str) -> str:
    """Once at a terminal, as it exists already; else the first line of standard input."""
    return getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")


def say(line: str) -> None:
    """One line of standard output."""
    sys.stdout.write(line + "\n")


def show(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table with columns as wide as they need to be."""
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def when(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "never"
