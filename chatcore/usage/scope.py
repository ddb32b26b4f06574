"""What a question is about: a range of time, the only calls that count, and which of them the asker may count."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, false, func, or_, select

from chatcore.accounts.principal import Principal
from chatcore.accounts.validation import is_storable
from chatcore.db.tables import UsageMetric, User
from chatcore.errors import InvalidInput
from chatcore.usage import zones

NONE: Final = "none"
"""The group, and the choice in a filter, of calls without an agent, people without a team."""
FEW_PEOPLE: Final = 20
"""Up to so many people's calls are read from the ledger, where each person's lie side by side."""
_YEARS: Final = (1970, 2200)
_MOST_VALUES: Final = 5_000  # a statement asks for each of them several times, and PostgreSQL takes 65,535 in one
_MAX_CHARS: Final = 500  # of a value

Step = Literal["hour", "day", "week", "month"]
_SHOWN_UP_TO: Final[tuple[tuple[Step, timedelta], ...]] = (
    ("hour", timedelta(days=7)), ("day", timedelta(days=184)), ("week", timedelta(days=3 * 366)),
)  # fmt: skip
_BY_DEFAULT_UP_TO: Final[tuple[tuple[Step, timedelta], ...]] = (
    ("hour", timedelta(days=2)), ("day", timedelta(days=92)), ("week", timedelta(days=184)),
)  # fmt: skip
_DAYS_OF_PEOPLE: Final = timedelta(days=31)  # they may be thousands, each with a row for every day
_LEAST: Final = timedelta(microseconds=1)  # that a range has, where nothing has passed of it
_AN_HOUR: Final = timedelta(hours=1)  # by which a range across a change of the clock is longer


class TooManyCalls(InvalidInput):
    """A question that only the ledger can answer, and would take long to; says how many calls it would read."""


@dataclass(frozen=True)
class Filter:
    """A range of time and, where not empty, the only models, people, … that count.

    `start` is part of the range, `end` is not; both carry a time zone. `agents`: ids; `teams`: those people are in
    now; in both `none` stands for being without. Raises `InvalidInput` for an empty or impossible range, for more than
    5,000 values in all, and for a value that nothing can have.
    """

    start: datetime
    end: datetime
    models: tuple[str, ...] = ()
    user_ids: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise InvalidInput("A range of time needs a time zone.")
        if self.start >= self.end:
            raise InvalidInput("A range of time must end after it begins.")
        if self.start.year < _YEARS[0] or self.end.year > _YEARS[1]:
            raise InvalidInput(f"A range of time lies between the years {_YEARS[0]} and {_YEARS[1]}.")
        only = (self.models, self.user_ids, self.purposes, self.providers, self.agents, self.tiers, self.teams)
        if sum(len(values) for values in only) > _MOST_VALUES:
            raise InvalidInput(f"A filter holds at most {_MOST_VALUES:,} values; choose fewer.")
        if not all(len(one) <= _MAX_CHARS and is_storable(one) for values in only for one in values):
            raise InvalidInput(f"A filter's values have at most {_MAX_CHARS} characters that can be stored.")

    @property
    def length(self) -> timedelta:
        """From start to end."""
        return self.end - self.start

    @property
    def by_hour(self) -> bool:
        """Two days and less are shown by the hour, longer ranges by the day."""
        return self.length <= timedelta(days=2)

    def previous(self, now: datetime, zone: tzinfo = UTC) -> "Filter":
        """The range just before, as much of it as has passed of this one: a day half gone meets half a day.

        Whole days of `zone` meet as many whole days, whatever its clock was set to meanwhile.
        """
        end = min(self.end, now) if now > self.start else self.end
        days = self._whole_days(zone)
        if days is None:
            return replace(self, start=self.start - self.length, end=end - self.length)
        start = zones.begin(zones.day_of(self.start, zone) - timedelta(days=days), zone)
        passed = end.astimezone(zone) - timedelta(days=days)  # by the clock on the wall
        return replace(self, start=start, end=max(start + _LEAST, min(passed.astimezone(UTC), self.start)))

    def _whole_days(self, zone: tzinfo) -> int | None:
        """How many days of the zone the range is; None where it does not begin and end with one."""
        if any(zones.day_start(moment, zone) != moment for moment in (self.start, self.end)):
            return None
        return (zones.day_of(self.end, zone) - zones.day_of(self.start, zone)).days


def steps(chosen: Filter) -> tuple[Step, ...]:
    """The steps in which the range can be drawn, the finest first. Finer ones would be too many to tell apart."""
    fine = [step for step, longest in _SHOWN_UP_TO if chosen.length <= longest + _AN_HOUR]
    return (*fine, "month")


def default_step(chosen: Filter, group_by: str = "model") -> Step:
    """The step that suits the range's length; people and teams are drawn by the week where others still are by the
    day."""
    fitting = (step for step, longest in _BY_DEFAULT_UP_TO if chosen.length <= longest + _AN_HOUR)
    found: Step = next(fitting, "month")
    is_long = group_by in ("user", "team") and chosen.length > _DAYS_OF_PEOPLE + _AN_HOUR
    return "week" if found == "day" and is_long else found


def conditions(principal: Principal, chosen: Filter) -> list[ColumnElement[bool]]:
    """The WHERE of every question to the ledger: tenant, then owner, then what was asked for."""
    within = [UsageMetric.created_at >= chosen.start, UsageMetric.created_at < chosen.end]
    where = scope(principal, of_people=bool(chosen.user_ids))
    return [*where, *within, *restrictions(UsageMetric.__table__.c, principal, chosen)]


def scope(principal: Principal, of_people: bool = False) -> list[ColumnElement[bool]]:
    """Ledger rows of their tenant for an admin or operator, their own rows there for a member.

    `of_people`: these are narrowed to certain people, too.
    """
    tenant: ColumnElement[str] = UsageMetric.tenant_id.expression
    if of_people or not principal.is_admin:
        tenant = tenant.concat("")  # by the people's index then, not the tenant's: SQLite cannot know which is shorter
    where = [tenant == principal.tenant_id]
    return where if principal.is_admin else [*where, UsageMetric.user_id == principal.user_id]


def restrictions(
    columns: Mapping[str, ColumnElement[Any]] | Any, principal: Principal, chosen: Filter
) -> list[ColumnElement[bool]]:
    """What `chosen` asks for beside the time, over a table with the ledger's column names."""
    where = [
        columns[name].in_(values)
        for name, values in (
            ("model", chosen.models),
            ("provider", chosen.providers),
            ("user_id", chosen.user_ids),
            ("purpose", chosen.purposes),
            ("tier", chosen.tiers),
        )
        if values
    ]
    if chosen.agents:
        ids = ["" if one == NONE else one for one in chosen.agents]
        where.append(func.coalesce(columns["agent_id"], "").in_(ids))
    if chosen.teams:
        where.append(_in_teams(columns["user_id"], principal, chosen.teams))
    return where


def _in_teams(user_id: ColumnElement[str], principal: Principal, teams: tuple[str, ...]) -> ColumnElement[bool]:
    of_tenant = select(User.id).where(User.tenant_id == principal.tenant_id)
    without = user_id.not_in(of_tenant.where(User.team.is_not(None))) if NONE in teams else false()
    return or_(user_id.in_(of_tenant.where(User.team.in_(teams))), without)
