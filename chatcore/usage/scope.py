"""Which ledger rows a question is about, and which of them the asker may count."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement

from chatcore.accounts.principal import Principal
from chatcore.db.tables import UsageMetric
from chatcore.errors import InvalidInput


@dataclass(frozen=True)
class Filter:
    """A range of time and, where not empty, the only models, people and purposes that count.

    `start` is part of the range, `end` is not; both carry a time zone. Raises `InvalidInput` for an empty range.
    """

    start: datetime
    end: datetime
    models: tuple[str, ...] = ()
    user_ids: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise InvalidInput("A range of time needs a time zone.")
        if self.start >= self.end:
            raise InvalidInput("A range of time must end after it begins.")

    @property
    def length(self) -> timedelta:
        """From start to end."""
        return self.end - self.start

    @property
    def by_hour(self) -> bool:
        """Two days and less are shown by the hour, longer ranges by the day."""
        return self.length <= timedelta(days=2)

    def previous(self, now: datetime) -> "Filter":
        """The range just before, as much of it as has passed of this one: a day half gone meets half a day."""
        end = min(self.end, now) if now > self.start else self.end
        return replace(self, start=self.start - self.length, end=end - self.length)


def conditions(principal: Principal, chosen: Filter) -> list[ColumnElement[bool]]:
    """The WHERE of every question to the ledger: tenant, then owner, then what was asked for."""
    where = [*scope(principal), UsageMetric.created_at >= chosen.start, UsageMetric.created_at < chosen.end]
    for column, values in (
        (UsageMetric.model, chosen.models),
        (UsageMetric.user_id, chosen.user_ids),
        (UsageMetric.purpose, chosen.purposes),
    ):
        if values:
            where.append(column.in_(values))
    return where


def scope(principal: Principal) -> list[ColumnElement[bool]]:
    """Rows of their tenant for an admin or operator, their own rows there for a member."""
    where = [UsageMetric.tenant_id == principal.tenant_id]
    return where if principal.is_admin else [*where, UsageMetric.user_id == principal.user_id]
