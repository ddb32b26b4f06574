"""The databases that can be asked: what a connection to each cannot do, whatever is sent over it.

Three walls stand behind one another: the query is made by `guard`, the connection can only read, and what it reads is
limited in time, rows and size. What is read is made into cells row by row, so that a large result never lies in memory.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from chatcore.conversations.parts import Cell
from chatcore.tools.sql.cells import cell
from chatcore.tools.sql.guard import Query, Schema
from chatcore.tools.values import ToolFailed

MOST_ROWS: Final = 1_000
"""Of a result, whatever an admin allows: a table part holds no more."""
MOST_COLUMNS: Final = 50
_MOST_CHARACTERS: Final = 500_000  # of all cells together
UNREACHABLE: Final = "The database cannot be reached. Try again later, or tell an admin."
TOO_LONG: Final = "The query took too long, so it was ended. Ask for less at once."


@dataclass
class Rows:
    """What a query gave. `more`: there were more rows than were read."""

    columns: list[str]
    rows: list[list[Cell]] = field(default_factory=list)
    more: bool = False


class Running(Protocol):
    """A query that runs in a thread, and can be ended from another."""

    def rows(self, query: Query, most: int) -> Rows:
        """Run it. Raises `ToolFailed`."""

    def cancel(self) -> None:
        """End it in the database, or before it begins. Returns at once, and does nothing where it has ended."""


class Source(Protocol):
    """A database that can be asked."""

    name: str
    description: str
    rows: int
    timeout: float

    def schema(self) -> Schema:
        """What may be read. Raises `ToolFailed`. May wait for the database."""

    def running(self) -> Running:
        """A place for one query."""


def require_columns(columns: Sequence[str]) -> None:
    """Raises `ToolFailed` where there are none, or too many."""
    if not 0 < len(columns) <= MOST_COLUMNS:
        raise ToolFailed(f"The query gives {len(columns)} columns; name from 1 to {MOST_COLUMNS} of them.")


def read(columns: list[str], rows: Iterable[Sequence[Any]], most: int, deadline: float) -> Rows:
    """At most `most` rows, and so many that their cells have room. Raises `ToolFailed` behind the deadline."""
    found, room = Rows(columns), _MOST_CHARACTERS
    for row in rows:
        if time.monotonic() > deadline:
            raise ToolFailed(TOO_LONG)
        cells = [cell(value) for value in row]
        room -= sum(len(one) if isinstance(one, str) else 10 for one in cells)
        if len(found.rows) == most or room < 0:
            found.more = True
            break
        found.rows.append(cells)
    return found
