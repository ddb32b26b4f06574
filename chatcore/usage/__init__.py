"""Usage: what was asked of models, by whom, and what it cost. Every number here is a sum over ledger rows.

`ledger` writes the rows; `Usage` reads them. A member's numbers are their own, an admin's those of the tenant:
asking for somebody else's gives nothing, never their rows. A cost that is unknown is never counted as 0: every sum
stands beside the number of calls it lacks.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.db import Database
from chatcore.db.tables import UsageMetric, utcnow
from chatcore.errors import DatabaseError, InvalidInput
from chatcore.usage import queries
from chatcore.usage.queries import GroupBy, Person
from chatcore.usage.repricing import Unpriced, unpriced
from chatcore.usage.rows import Call, Cursor, calls, csv_lines
from chatcore.usage.scope import Filter, scope
from chatcore.usage.totals import Totals

if TYPE_CHECKING:
    from pandas import DataFrame

T = TypeVar("T")
log = logging.getLogger(__name__)

__all__ = ["Call", "Filter", "GroupBy", "Person", "Report", "Totals", "Unpriced", "Usage"]


@dataclass(frozen=True)
class Report:
    """A page's worth of numbers from one pass over the ledger. Frames as in `tokens_by_day` and `by_model`."""

    totals: Totals
    previous: Totals
    by_day: "DataFrame"
    by_model: "DataFrame"


class Usage:
    """Questions to the ledger. Every answer is scoped to the principal inside the SQL.

    Any of them raises `DatabaseError` when the database does not answer.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def _read(self, work: Callable[[Session], T]) -> T:
        try:
            return self._db.read(work)
        except DBAPIError as error:
            log.exception("usage numbers could not be read")
            raise DatabaseError("The usage numbers cannot be read just now. Try again in a moment.") from error

    def totals(self, principal: Principal, chosen: Filter) -> Totals:
        """Calls, tokens, cost and doubts in the range. For the range before: `chosen.previous(now)`."""
        return self._read(lambda session: queries.totals(session, principal, chosen))

    def tokens_by_day(self, principal: Principal, chosen: Filter, group_by: GroupBy = "model") -> "DataFrame":
        """One row for each group and UTC day (UTC hour, for ranges up to two days), also for days without calls.

        Columns: `day` (aware start of the day or hour), `group` (model, provider, agent id or `none`, user id),
        `prompt_tokens`, `completion_tokens`, `calls`, `cost_nano_usd` (nullable: NA where no call that day has a
        known cost) and `unpriced` (calls missing from it). Empty where there is no call at all.
        """
        cells = self._read(lambda session: queries.cube(session, principal, chosen, group_by))
        return queries.day_frame(cells, chosen)

    def by_model(self, principal: Principal, chosen: Filter) -> "DataFrame":
        """One row for each model, dearest first.

        Columns: `model`, `calls`, `prompt_tokens`, `completion_tokens`, `cost_nano_usd` (nullable), the counts
        `unpriced`, `estimated`, `failed`, `average_cost_nano_usd` over the priced calls, and over the settled ones
        `average_tokens`, `share_estimated`, `share_unpriced`, `share_failed` (0 to 1). NA where there is none.
        """
        return queries.model_frame(self._read(lambda session: queries.groups(session, principal, chosen, "model")))

    def report(self, principal: Principal, chosen: Filter, now: datetime | None = None) -> Report:
        """Totals, those of the range before, days by model and models, reading the range's rows once."""

        def work(session: Session) -> tuple[queries.Cube, Totals]:
            cells = queries.cube(session, principal, chosen, "model")
            return cells, queries.totals(session, principal, chosen.previous(now or utcnow()))

        cells, previous = self._read(work)
        grouped = queries.fold(cells)
        frames = queries.day_frame(cells, chosen), queries.model_frame(grouped)
        return Report(queries.add(grouped.values()), previous, *frames)

    def people(self, principal: Principal) -> list[Person]:
        """Whom one may filter by: the tenant's people for an admin, oneself for a member."""
        return self._read(lambda session: queries.people(session, principal))

    def models(self, principal: Principal) -> list[str]:
        """Models with calls in the ledger, also those that the configuration no longer has."""
        return self._read(lambda session: queries.models(session, principal))

    def unpriced(self, principal: Principal, since: datetime | None = None) -> list[Unpriced]:
        """The models with calls whose cost is unknown, most tokens first; `since`: of calls made from then on."""
        where = [*scope(principal), *([UsageMetric.created_at >= since] if since else [])]
        return self._read(lambda session: unpriced(session, *where))

    def calls(self, principal: Principal, chosen: Filter, limit: int = 50, before: Cursor | None = None) -> list[Call]:
        """The rows behind a number, newest first, at most 1,000. `before`: the `cursor` of the last row one has."""
        if not 1 <= limit <= 1000:
            raise InvalidInput("Between 1 and 1,000 calls can be listed at a time.")
        return self._read(lambda session: calls(session, principal, chosen, limit, before))

    def export_csv(self, principal: Principal, chosen: Filter) -> Iterator[str]:
        """Every row as CSV text, in pieces of some thousand rows, safe to open in a spreadsheet.

        The columns are those of `usage_metrics` with the username; times are ISO 8601 in UTC, unknown values empty.
        """
        return csv_lines(self._read, principal, chosen)
