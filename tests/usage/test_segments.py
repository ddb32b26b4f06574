"""Which rows answer a question: each moment of a range comes from one sort of rows, and from one row of it."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatcore.usage import zones
from chatcore.usage.segments import Calendar, Kind, Segment, plan
from chatcore.usage.steps import Span

PEOPLE = Kind("user", frozenset({"user"}), ("month", "week", "day"))
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu")
NEVER = datetime(2100, 1, 1, tzinfo=UTC)
moments = st.datetimes(datetime(2025, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))


def counted(begin: datetime, end: datetime, zone: str, now: datetime = NEVER) -> list[Segment]:
    found = plan([Span(begin, begin, end)], PEOPLE, Calendar(ZoneInfo(zone)), False, now)
    return sorted((one for one in found if one.rows != "unrolled"), key=lambda one: one.begin)


def day(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@given(moments, moments, st.sampled_from(ZONES), st.booleans())
def test_every_moment_is_counted_once(one: datetime, other: datetime, zone: str, is_open: bool) -> None:
    begin, end = sorted((one, other + timedelta(seconds=1)))
    found = counted(begin, end, zone, begin if is_open else NEVER)
    assert found[0].begin == begin
    assert all(left.end == right.begin for left, right in pairwise(found))
    assert found[-1].end >= end if is_open else found[-1].end == end
    bounds = {"month": zones.month_start, "week": zones.week_start, "day": zones.day_start}
    for segment in found:
        if segment.rows in bounds:
            start_of = bounds[segment.rows]
            assert start_of(segment.begin, ZoneInfo(zone)) == segment.begin
            assert start_of(segment.end, ZoneInfo(zone)) == segment.end


@pytest.mark.parametrize("zone", ZONES)
def test_a_range_is_months_then_weeks_then_days(zone: str) -> None:
    found = counted(day("2026-01-18", zone), day("2026-04-15", zone), zone)
    assert [one.rows for one in found if one.rows != "unrolled"] == [
        "day", "week", "day", "month", "day", "week", "day"
    ]  # fmt: skip


def test_what_has_not_come_yet_is_part_of_the_month_that_now_is_in() -> None:
    now = day("2026-04-08") + timedelta(hours=9)
    found = counted(day("2026-02-01"), day("2026-04-09"), "UTC", now)
    assert [(one.rows, one.begin, one.end) for one in found] == [("month", day("2026-02-01"), day("2026-05-01"))]
    found = counted(day("2026-04-02"), day("2026-04-09"), "UTC", now)
    assert [(one.rows, one.begin, one.end) for one in found] == [
        ("day", day("2026-04-02"), day("2026-04-06")), ("week", day("2026-04-06"), day("2026-04-13")),
    ]  # fmt: skip


def test_of_many_steps_only_the_one_that_now_is_in_may_reach_beyond_its_end() -> None:
    now, begin = day("2026-03-31") + timedelta(hours=9), day("2026-03-30")
    days = [begin + timedelta(days=number) for number in range(4)]
    some = [Span(one, one, one + timedelta(days=1)) for one in days]
    found = plan(some, PEOPLE, Calendar(ZoneInfo("UTC")), False, now)
    assert {one.rows for one in found if one.rows != "unrolled"} == {"day"}
    assert max(one.end for one in found) == days[-1] + timedelta(days=1)
