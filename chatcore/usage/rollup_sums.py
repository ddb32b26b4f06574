"""What single ledger rows add to the rollups, summed by key and written as additions."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from functools import cache, lru_cache
from typing import Any, Final

from sqlalchemy import Row, Table
from sqlalchemy.orm import Session

from chatcore.db.tables import LATENCY_PLACES, USAGE_LATENCY, UsageDaily, UsageHourly
from chatcore.usage import latency, measures, zones

Key = tuple[Any, ...]
OF_MONTHS: Final = ("model", "agent", "user", "error")
OF_WEEKS: Final = ("user",)
"""The kinds that `usage_daily` has months of, and weeks: people are many, and the ends of a range are days of each."""


class Sums:
    """What is to be added to the rollups' rows, by their keys."""

    def __init__(self, tenants: Mapping[str, tuple[str, datetime | None]]) -> None:
        """`tenants`: time zone and `ledger_since` by tenant id; UTC and None for those that are not there."""
        self._tenants = {one: (zones.of_tenant(name), since) for one, (name, since) in tenants.items()}
        self.hourly: dict[Key, list[int]] = {}
        self.daily: dict[Key, list[int]] = {}
        self.latency: dict[Key, list[int]] = {}

    def add(self, row: Row[Any], sign: int) -> None:
        """Count a ledger row, or with `sign` -1 take it out."""
        slot = zones.quarter_start(row.created_at)
        zone, since = self._tenants.get(row.tenant_id, (UTC, None))
        day, week, month = _starts(slot, zone)
        if since is not None and day < since <= slot:
            day = since  # as `rollup_days.count_day` does
        values = [sign * value for value in row[-len(measures.MEASURES) :]]
        _plus(self.hourly, (row.tenant_id, slot, row.model, row.provider, row.tier), values)
        for kind, key in _kinds(row):
            _plus(self.daily, (row.tenant_id, "day", kind, day, *key), values)
            if kind in OF_MONTHS:
                _plus(self.daily, (row.tenant_id, "month", kind, month, *key), values)
            if kind in OF_WEEKS:
                _plus(self.daily, (row.tenant_id, "week", kind, week, *key), values)
        for metric in latency.METRICS:
            time = getattr(row, metric)
            if time is not None:
                self._add_time(row, metric, latency.bucket(time), (slot, day, month), sign)

    def _add_time(
        self, row: Row[Any], metric: str, bucket: int, starts: tuple[datetime, datetime, datetime], sign: int
    ) -> None:
        slot, day, month = starts
        block, place = divmod(bucket, LATENCY_PLACES)
        counts = [0] * LATENCY_PLACES
        counts[place] = sign
        of_model = metric, row.model, row.provider, block
        _plus(self.latency, (row.tenant_id, "quarter", "all", slot, metric, "", "", block), counts)
        _plus(self.latency, (row.tenant_id, "day", "all", day, metric, "", "", block), counts)
        _plus(self.latency, (row.tenant_id, "day", "model", day, *of_model), counts)
        _plus(self.latency, (row.tenant_id, "month", "model", month, *of_model), counts)

    def write(self, session: Session) -> None:
        """Add them to the tables, in the order of the keys."""
        connection = session.connection()
        dialect = connection.dialect.name
        hourly, daily = UsageHourly.__table__, UsageDaily.__table__
        for table, sums in ((hourly, self.hourly), (daily, self.daily), (USAGE_LATENCY, self.latency)):
            assert isinstance(table, Table)
            rows = [(*_plain(key, dialect), *sums[key]) for key in sorted(sums) if any(sums[key])]
            if rows:
                connection.exec_driver_sql(_add(table, dialect), rows)


def keys_of(table: Table) -> list[str]:
    """The names of a rollup's key, in the order of its index."""
    return [column.name for column in table.primary_key]


def values_of(table: Table) -> list[str]:
    """The names of what it counts."""
    return [column.name for column in table.columns if not column.primary_key]


def _kinds(row: Row[Any]) -> list[tuple[str, Key]]:
    """Which rows of `usage_daily` a call counts in: (kind, the columns of the key behind `start`)."""
    of_model = row.model, row.provider, row.tier
    found = [
        ("model", (*of_model, "", "", "", "")),
        ("agent", ("", "", row.tier, row.agent_id, row.purpose, "", "")),
        ("detail", (*of_model, row.agent_id, row.purpose, "", "")),
        ("user", ("", "", row.tier, "", "", row.user_id, "")),
    ]
    if row.error_type is not None:
        found.append(("error", (row.model, row.provider, "", "", "", "", row.error_type)))
    return found


@lru_cache(maxsize=4096)
def _starts(slot: datetime, zone: tzinfo) -> tuple[datetime, datetime, datetime]:
    return zones.day_start(slot, zone), zones.week_start(slot, zone), zones.month_start(slot, zone)


def _plus(sums: dict[Key, list[int]], key: Key, values: Sequence[int]) -> None:
    before = sums.get(key)
    sums[key] = list(values) if before is None else [one + more for one, more in zip(before, values, strict=True)]


def _plain(key: Key, dialect: str) -> Key:
    """As the driver takes it: SQLite has no times."""
    if dialect != "sqlite":
        return key
    return tuple(f"{one:%Y-%m-%d %H:%M:%S.%f}" if isinstance(one, datetime) else one for one in key)


@cache
def _add(table: Table, dialect: str) -> str:
    """In the driver's own words: SQLAlchemy takes twice as long for a dozen rows of forty columns."""
    keys, values = keys_of(table), values_of(table)
    marks = ", ".join(["?" if dialect == "sqlite" else "%s"] * (len(keys) + len(values)))
    more = ", ".join(f"{name} = {table.name}.{name} + excluded.{name}" for name in values)
    return (
        f"INSERT INTO {table.name} ({', '.join((*keys, *values))}) VALUES ({marks}) "  # noqa: S608 - our own names
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {more}"
    )
