"""Usage: what was asked of models, by whom, and what it cost. Every number here is a sum over ledger rows.

`ledger` writes the rows, `rollups` count them; `Usage` reads both. A member's numbers are their own, an admin's those
of the tenant: asking for somebody else's gives nothing, never their rows. A cost that is unknown is never counted as
0: every sum stands beside the number of calls it lacks.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from chatcore.accounts import audit
from chatcore.accounts.principal import Principal
from chatcore.db import Database
from chatcore.db.tables import UsageMetric, utcnow
from chatcore.errors import DatabaseError, InvalidInput
from chatcore.usage import adoption, cells, detail, export, frames, percentiles, questions, refusals
from chatcore.usage.adoption import Adoption
from chatcore.usage.budgets import BudgetLine, Budgets
from chatcore.usage.cells import GroupBy
from chatcore.usage.choices import Choices, Person, choices, models, people
from chatcore.usage.detail import CallDetail, Correction
from chatcore.usage.export import frame_csv, frame_parquet
from chatcore.usage.forecast import Forecast
from chatcore.usage.percentiles import By
from chatcore.usage.questions import Report
from chatcore.usage.repricing import Unpriced, unpriced
from chatcore.usage.rows import Call, Cursor, calls
from chatcore.usage.scope import Filter, Step, TooManyCalls, default_step, scope, steps
from chatcore.usage.totals import Totals

if TYPE_CHECKING:
    from pandas import DataFrame

T = TypeVar("T")
log = logging.getLogger(__name__)

__all__ = [
    "Adoption", "BudgetLine", "Call", "CallDetail", "Choices", "Correction", "Filter", "Forecast", "GroupBy", "Person",
    "Report", "Step", "TooManyCalls", "Totals", "Unpriced", "Usage", "default_step", "frame_csv",
    "frame_parquet", "steps",
]  # fmt: skip


class Usage:
    """Questions about calls. Every answer is scoped to the principal inside the SQL.

    Where no rollup tells apart what is asked and the ledger would be read for seconds, they raise `TooManyCalls`.
    Any of them raises `DatabaseError` when the database does not answer. Days, weeks (from Monday) and months are
    those of the tenant's time zone, hours those of `zone`, the viewer's, where it is given. `step`: None for the one
    that suits the range; `InvalidInput` for one that is not in `steps(chosen)`.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def _read(self, work: Callable[[Session], T]) -> T:
        def at_once(session: Session) -> T:
            cells.read_at_once(session)
            return work(session)

        try:
            return self._db.read(at_once)
        except DBAPIError as error:
            log.exception("usage numbers could not be read")
            raise DatabaseError("The usage numbers cannot be read just now. Try again in a moment.") from error

    def zone(self, principal: Principal) -> ZoneInfo:
        """Where the days of the principal's tenant begin."""
        return self._read(lambda session: cells.calendar(session, principal).zone)

    def known_since(
        self, principal: Principal, chosen: Filter, groups: Sequence[GroupBy] = ("none", "model", "error")
    ) -> datetime | None:
        """From when on all of these groups are counted, where the ledger is gone before and no rollup has one of them.

        None where all of the range is counted.
        """
        return self._read(lambda session: cells.known_since(session, principal, chosen, groups))

    def choices(self, principal: Principal) -> Choices:
        """What the principal may narrow their questions by."""
        return self._read(lambda session: choices(session, principal))

    def totals(self, principal: Principal, chosen: Filter) -> Totals:
        """Calls, tokens, cost and doubts in the range. For the range before: `chosen.previous(now)`."""
        return frames.totals(self._read(lambda session: questions.whole(session, principal, chosen, "none")))

    def series(
        self,
        principal: Principal,
        chosen: Filter,
        group_by: GroupBy = "model",
        step: Step | None = None,
        zone: ZoneInfo | None = None,
        ranked: Sequence[str] | None = None,
    ) -> "DataFrame":
        """One row for each group and step, also for steps without calls. Empty where there is no call at all.

        `ranked`: the groups of `breakdown` in its order, where they are known already: of people, that saves half.

        Columns: `start` (aware, where the step begins, which may be before the range), `group` (a name or id; `none`
        for no agent or team; `all` when grouped by `none`; `others` for all beyond the largest 60), all of
        `measures.MEASURES` (`cost_nano_usd` nullable: NA where there are calls and none with a known cost), `settled`,
        `running`, `unpriced`, `failed`. A team is the one that the person is in now. `error` counts failed calls
        only, by their type, or by their outcome where they have none.
        """

        def work(session: Session) -> "DataFrame":
            drawn = questions.drawn_in(session, principal, chosen, step, zone, group_by)
            return questions.series(session, principal, chosen, group_by, drawn, ranked)

        return self._read(work)

    def breakdown(self, principal: Principal, chosen: Filter, group_by: GroupBy = "model") -> "DataFrame":
        """One row for each group with calls in the range, dearest first.

        Columns: those of `series` but `start`; over the priced calls `average_cost_nano_usd`; over the settled ones
        `average_tokens` and `share_…` of `estimated`, `unpriced`, `failed`, `again` and each outcome; `share_cost` of
        all cost; `tokens_per_second`. Shares are 0 to 1; NA where there is nothing to divide by.
        """
        return frames.breakdown(self._read(lambda session: questions.whole(session, principal, chosen, group_by)))

    def percentiles(
        self,
        principal: Principal,
        chosen: Filter,
        group_by: By = "none",
        step: Step | None = None,
        zone: ZoneInfo | None = None,
    ) -> "DataFrame":
        """How long calls took. `step` None: over the range as one, without the column `start`.

        Columns: `start`, `group`, `metric` (`ttft` to the first word, `latency` of calls that did not fail, `hit` of
        cache hits), `calls`, and `p50`, `p95`, `p99` in milliseconds, at most 2 % off. No row where none was measured.
        """

        def work(session: Session) -> "DataFrame":
            if step is None:
                some, where = questions.as_one(chosen)
            else:
                some, where = questions.drawn_in(session, principal, chosen, step, zone)
            counts = percentiles.read(session, principal, chosen, group_by, some)
            return percentiles.frame(counts, [span.start for span in some] if step else None, where)

        return self._read(work)

    def refusals(
        self, principal: Principal, chosen: Filter, step: Step | None = None, zone: ZoneInfo | None = None
    ) -> "DataFrame":
        """What was refused before a model was called, narrowed by people, teams, tiers and models.

        Columns: `start`, `tier`, `kind` (as in `LimitHit`), `hits`, `peak_per_minute`. No row where nothing was.
        """

        def work(session: Session) -> "DataFrame":
            some, where = questions.drawn_in(session, principal, chosen, step, zone)
            return refusals.frame(refusals.read(session, principal, chosen, some), [one.start for one in some], where)

        return self._read(work)

    def adoption(
        self, principal: Principal, chosen: Filter, step: Step | None = None, zone: ZoneInfo | None = None
    ) -> "DataFrame":
        """One row for each step: `start`, `people` with calls, `conversations` begun, `messages` (questions asked).

        Narrowed by people, teams and tiers.
        """

        def work(session: Session) -> "DataFrame":
            some, where = questions.drawn_in(session, principal, chosen, step, zone)
            return adoption.by_step(session, principal, chosen, some, where)

        return self._read(work)

    def adoption_summary(self, principal: Principal, chosen: Filter) -> Adoption:
        """The range as a whole, narrowed by people, teams and tiers."""
        return self._read(lambda session: adoption.summary(session, principal, chosen, questions.as_one(chosen)[0]))

    def forecast(self, principal: Principal, chosen: Filter | None = None, now: datetime | None = None) -> Forecast:
        """What the present month will have cost, in the tenant's time zone. `chosen`: its range does not count."""
        return self._read(lambda session: questions.of_month(session, principal, chosen, now or utcnow()))

    def budget_lines(self, principal: Principal) -> list[BudgetLine]:
        """The tenant's budgets for an admin; for a member those that apply to them, shared ones without amounts."""
        budgets = Budgets(self._db)
        return list(budgets.list(principal) if principal.is_admin else budgets.mine(principal))

    def tokens_by_day(self, principal: Principal, chosen: Filter, group_by: GroupBy = "model") -> "DataFrame":
        """One row for each group and day (hour, for ranges up to two days), also for days without calls.

        Columns: `day` (aware start of the day or hour in the tenant's time zone), `group` as in `series`,
        `prompt_tokens`, `completion_tokens`, `calls`, `cost_nano_usd` (nullable: NA where no call that day has a
        known cost) and `unpriced` (calls missing from it). Empty where there is no call at all.
        """
        return self._read(lambda session: questions.tokens_by_day(session, principal, chosen, group_by))

    def by_model(self, principal: Principal, chosen: Filter) -> "DataFrame":
        """One row for each model, dearest first.

        Columns: `model`, `calls`, `prompt_tokens`, `completion_tokens`, `cost_nano_usd` (nullable), the counts
        `unpriced`, `estimated`, `failed`, `average_cost_nano_usd` over the priced calls, and over the settled ones
        `average_tokens`, `share_estimated`, `share_unpriced`, `share_failed` (0 to 1). NA where there is none.
        """
        return questions.by_model(self._read(lambda session: questions.whole(session, principal, chosen, "model")))

    def report(self, principal: Principal, chosen: Filter, now: datetime | None = None) -> Report:
        """Totals, those of the range before, days by model and models, all of one moment."""
        return self._read(lambda session: questions.report(session, principal, chosen, now or utcnow()))

    def people(self, principal: Principal) -> list[Person]:
        """Whom one may filter by: the tenant's people for an admin, oneself for a member."""
        return self._read(lambda session: people(session, principal))

    def models(self, principal: Principal) -> list[str]:
        """Models with calls, also those that the configuration no longer has."""
        return self._read(lambda session: models(session, principal))

    def unpriced(self, principal: Principal, since: datetime | None = None) -> list[Unpriced]:
        """The models with calls whose cost is unknown, most tokens first; `since`: of calls made from then on."""
        where = [*scope(principal), *([UsageMetric.created_at >= since] if since else [])]
        return self._read(lambda session: unpriced(session, *where))

    def calls(
        self,
        principal: Principal,
        chosen: Filter,
        limit: int = 50,
        before: Cursor | None = None,
        outcomes: Sequence[str] = (),
        error_types: Sequence[str] = (),
    ) -> list[Call]:
        """The rows behind a number, newest first, at most 1,000. `before`: the `cursor` of the last row one has.

        `outcomes`, `error_types`: where not empty, only these; an error type as the groups of `error` have it.
        """
        if not 1 <= limit <= 1000:
            raise InvalidInput("Between 1 and 1,000 calls can be listed at a time.")
        return self._read(lambda session: calls(session, principal, chosen, limit, before, outcomes, error_types))

    def call(self, principal: Principal, call_id: str) -> CallDetail:
        """All that the ledger knows of a call. Raises `NotFound` for what is not the principal's to count."""
        return self._read(lambda session: detail.detail(session, principal, call_id))

    def export_csv(self, principal: Principal, chosen: Filter) -> Iterator[str]:
        """Every row as CSV text, in pieces of some thousand rows, safe to open in a spreadsheet.

        The columns are those of `usage_metrics` with the username; times are ISO 8601 in UTC, unknown values empty.
        """
        self._note_export(principal, chosen)
        return export.csv_lines(self._read, principal, chosen)

    def export_parquet(self, principal: Principal, chosen: Filter) -> Iterator[bytes]:
        """Every row as a Parquet file, in pieces; the columns are those of `export_csv`."""
        self._note_export(principal, chosen)
        return export.parquet_bytes(self._read, principal, chosen)

    def _note_export(self, principal: Principal, chosen: Filter) -> None:
        """Who takes away what others used is in the audit log."""
        if principal.is_admin:
            facts = {"since": chosen.start.isoformat(), "until": chosen.end.isoformat()}
            self._db.write(lambda session: audit.record(session, principal, "usage.export", **facts))
