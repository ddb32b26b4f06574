"""Days, months and hours as a time zone has them, as points in UTC.

A day begins at its midnight, or at the first moment after it where the clock skips midnight. Quarters of an hour are
the finest that any time zone is off UTC by, so every zone's hours and days are made of whole ones.
"""

import logging
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache, lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from chatcore.errors import InvalidInput

log = logging.getLogger(__name__)

QUARTER: Final = timedelta(minutes=15)
FAR: Final = datetime(9999, 1, 1, tzinfo=UTC)
"""No day from here on is counted: its end could not be told."""


def zone(name: str) -> ZoneInfo:
    """The time zone of that name in the IANA database. Raises `InvalidInput`."""
    if name not in _names():
        raise InvalidInput("There is no such time zone; one is written like Europe/Berlin.")
    return ZoneInfo(name)


@lru_cache(maxsize=512)
def of_tenant(name: str) -> ZoneInfo:
    """A tenant's time zone as it is stored. One that this machine does not know keeps nobody from working: UTC."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        log.exception("time zone unknown here, days are counted in UTC", extra={"timezone": name})
        return ZoneInfo("UTC")


@cache
def _names() -> frozenset[str]:
    """All there are. Looking for them reads some hundred files."""
    return frozenset(available_timezones())


def begin(day: date, where: tzinfo) -> datetime:
    """The first moment of a day there, in UTC."""
    return datetime.combine(day, time(), where).astimezone(UTC)


def day_of(moment: datetime, where: tzinfo) -> date:
    """The day that `moment` is in there: the last one that has begun. The clock's date, but where a clock that is put
    back at midnight shows the old date once more."""
    day = moment.astimezone(where).date()
    while begin(day + timedelta(days=1), where) <= moment:
        day += timedelta(days=1)
    while begin(day, where) > moment:
        day -= timedelta(days=1)
    return day


def day_start(moment: datetime, where: tzinfo) -> datetime:
    """The first moment, in UTC, of the day that `moment` is in there."""
    return begin(day_of(moment, where), where)


def next_day(moment: datetime, where: tzinfo) -> datetime:
    """The first moment, in UTC, of the day after the one that `moment` is in."""
    return begin(day_of(moment, where) + timedelta(days=1), where)


def week_start(moment: datetime, where: tzinfo) -> datetime:
    """The first moment, in UTC, of the week (from Monday on) that `moment` is in there."""
    day = day_of(moment, where)
    return begin(day - timedelta(days=day.weekday()), where)


def next_week(moment: datetime, where: tzinfo) -> datetime:
    """The first moment, in UTC, of the week after the one that `moment` is in."""
    day = day_of(moment, where)
    return begin(day + timedelta(days=7 - day.weekday()), where)


def month_start(moment: datetime, where: tzinfo) -> datetime:
    """The first moment, in UTC, of the month that `moment` is in there."""
    return begin(day_of(moment, where).replace(day=1), where)


def next_month(moment: datetime, where: tzinfo) -> datetime:
    """The first moment, in UTC, of the month after the one that `moment` is in."""
    first = day_of(moment, where).replace(day=1)
    return begin((first + timedelta(days=32)).replace(day=1), where)


def quarter_start(moment: datetime) -> datetime:
    """The quarter of an hour that `moment` is in."""
    moment = moment.astimezone(UTC)
    return moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)
