"""Questions to the ledger, answered by GROUP BY in SQL. Days and hours are those of UTC."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.db.tables import UsageMetric, User
from chatcore.usage.scope import Filter, conditions, scope
from chatcore.usage.totals import Totals, columns, from_row

if TYPE_CHECKING:
    from pandas import DataFrame

GroupBy = Literal["model", "provider", "agent", "user"]
Cube = dict[tuple[datetime, str], Totals]

NO_AGENT: Final = "none"
_GROUPS: Final[dict[GroupBy, ColumnElement[str]]] = {
    "model": UsageMetric.model.expression,
    "provider": UsageMetric.provider.expression,
    "agent": func.coalesce(UsageMetric.agent_id, NO_AGENT),
    "user": UsageMetric.user_id.expression,
}


@dataclass(frozen=True)
class Person:
    """A choice in the person filter."""

    id: str
    name: str
    username: str
    is_demo: bool


def totals(session: Session, principal: Principal, chosen: Filter) -> Totals:
    """The sums over everything that `chosen` lets through."""
    return from_row(session.execute(select(*columns()).where(*conditions(principal, chosen))).one())


def cube(session: Session, principal: Principal, chosen: Filter, group_by: GroupBy) -> Cube:
    """The sums of each group in each day (hour, for `chosen.by_hour`) with a call, by start of the day and group."""
    bucket, group = _bucket(session, chosen), _GROUPS[group_by]
    # Grouped by label: PostgreSQL takes an expression repeated with bound parameters for a different one.
    statement = (
        select(bucket.label("bucket"), group.label("grouped"), *columns())
        .where(*conditions(principal, chosen))
        .group_by("bucket", "grouped")
    )
    return {(_moment(row[0]), row[1]): from_row(row[2:]) for row in session.execute(statement)}


def groups(session: Session, principal: Principal, chosen: Filter, group_by: GroupBy) -> dict[str, Totals]:
    """The sums of each group over the whole range."""
    group = _GROUPS[group_by].label("grouped")
    statement = select(group, *columns()).where(*conditions(principal, chosen)).group_by("grouped")
    return {row[0]: from_row(row[1:]) for row in session.execute(statement)}


def fold(cells: Cube) -> dict[str, Totals]:
    """A cube's groups, summed over time."""
    result: dict[str, Totals] = {}
    for (_, group), value in cells.items():
        result[group] = result.get(group, Totals()) + value
    return result


def add(parts: Iterable[Totals]) -> Totals:
    """The sum of disjoint totals."""
    return sum(parts, Totals())


def people(session: Session, principal: Principal) -> list[Person]:
    """Whom the asker may filter by, by name: everybody of the tenant for an admin, themselves for a member."""
    where = [User.tenant_id == principal.tenant_id]
    if not principal.is_admin:
        where.append(User.id == principal.user_id)
    rows = session.execute(select(User.id, User.name, User.username, User.is_demo).where(*where))
    return sorted((Person(*row) for row in rows), key=lambda person: (person.name.casefold(), person.username))


def models(session: Session, principal: Principal) -> list[str]:
    """Names of the models in the rows that the asker may count, also those gone from the configuration."""
    return sorted(session.scalars(select(UsageMetric.model).where(*scope(principal)).distinct()))


def day_frame(cells: Cube, chosen: Filter) -> "DataFrame":
    """A row for each group and day (hour), days without calls included; see `Usage.tokens_by_day` for the columns."""
    import pandas as pd

    names = sorted({group for _, group in cells})
    rows = []
    for moment in _moments(chosen):
        for name in names:
            cell = cells.get((moment, name), Totals(cost_nano_usd=0))
            tokens = (cell.prompt_tokens, cell.completion_tokens)
            rows.append((moment, name, *tokens, cell.calls, cell.cost_nano_usd, cell.unpriced))
    frame = pd.DataFrame(
        rows, columns=["day", "group", "prompt_tokens", "completion_tokens", "calls", "cost_nano_usd", "unpriced"]
    )
    types = dict.fromkeys(("prompt_tokens", "completion_tokens", "calls", "unpriced"), "int64")
    return frame.astype({"day": "datetime64[us, UTC]", "group": "str", "cost_nano_usd": "Int64", **types})


def model_frame(grouped: dict[str, Totals]) -> "DataFrame":
    """A row for each model, dearest first; see `Usage.by_model` for the columns."""
    import pandas as pd

    ranked = sorted(grouped.items(), key=lambda item: (-(item[1].cost_nano_usd or 0), -item[1].tokens, item[0]))
    frame = pd.DataFrame([_model_row(name, value) for name, value in ranked], columns=list(_MODEL_COLUMNS))
    return frame.astype(_MODEL_COLUMNS)


_MODEL_COLUMNS: Final = {
    "model": "str",
    "calls": "int64",
    "prompt_tokens": "int64",
    "completion_tokens": "int64",
    "cost_nano_usd": "Int64",
    "unpriced": "int64",
    "estimated": "int64",
    "failed": "int64",
    "average_cost_nano_usd": "Float64",
    "average_tokens": "Float64",
    "share_estimated": "Float64",
    "share_unpriced": "Float64",
    "share_failed": "Float64",
}


def _model_row(name: str, value: Totals) -> tuple[Any, ...]:
    counts = (value.calls, value.prompt_tokens, value.completion_tokens, value.cost_nano_usd)
    shares = (_ratio(part, value.settled) for part in (value.tokens, value.estimated, value.unpriced, value.failed))
    average = None if value.cost_nano_usd is None else _ratio(value.cost_nano_usd, value.priced)
    return (name, *counts, value.unpriced, value.estimated, value.failed, average, *shares)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _bucket(session: Session, chosen: Filter) -> ColumnElement[Any]:
    if session.get_bind().dialect.name == "sqlite":
        return func.substr(UsageMetric.created_at, 1, 13 if chosen.by_hour else 10)
    unit = "hour" if chosen.by_hour else "day"
    return func.date_trunc(unit, func.timezone("UTC", UsageMetric.created_at))


def _moment(value: str | datetime) -> datetime:
    """`2026-10-08`, `2026-10-08 14` or a naive PostgreSQL timestamp, as aware UTC."""
    if isinstance(value, str):
        value = datetime.fromisoformat(f"{value}:00" if len(value) == 13 else value)
    return value.replace(tzinfo=UTC)


def _moments(chosen: Filter) -> list[datetime]:
    step = timedelta(hours=1) if chosen.by_hour else timedelta(days=1)
    first = chosen.start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    moment = first if chosen.by_hour else first.replace(hour=0)
    moments = []
    while moment < chosen.end:
        moments.append(moment)
        moment += step
    return moments
