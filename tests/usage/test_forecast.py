"""What a month will have cost: the same weekday's mean, and a band that holds most of what then happens."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatcore.db import Database
from chatcore.usage import Filter, Forecast
from chatcore.usage.forecast import forecast
from tests.usage.test_questions import House, ended

USD = 10**9
TODAY = date(2026, 3, 18)


def test_a_weekly_rhythm_goes_on() -> None:
    """28 days of 10 USD on workdays, nothing at weekends: there is nothing to vary."""
    days = [TODAY - timedelta(days=back) for back in range(1, 40)]
    costs = {day: 10 * USD for day in days if day.weekday() < 5}
    left = sum(date(2026, 3, day).weekday() < 5 for day in range(18, 32))
    spent = sum(cost for day, cost in costs.items() if day >= date(2026, 3, 1))
    assert forecast(costs, TODAY) == Forecast(date(2026, 3, 1), spent, *[spent + left * 10 * USD] * 3)


def test_what_today_has_cost_more_than_usual_stays() -> None:
    costs = {TODAY - timedelta(days=back): USD for back in range(1, 29)} | {TODAY: 50 * USD}
    found = forecast(costs, TODAY)
    assert found.spent == 17 * USD + 50 * USD
    assert found.expected == found.spent + 13 * USD


def test_without_three_days_nothing_is_foretold() -> None:
    assert forecast({TODAY - timedelta(days=1): USD, TODAY: USD}, TODAY) == Forecast(
        date(2026, 3, 1), 2 * USD, None, None, None
    )
    assert forecast({}, TODAY) == Forecast(date(2026, 3, 1), 0, None, None, None)


def test_a_young_tenant_is_not_measured_by_days_before_it_began() -> None:
    costs = {TODAY - timedelta(days=back): 2 * USD for back in range(1, 6)}
    assert forecast(costs, TODAY).expected == 10 * USD + 14 * 2 * USD


def test_on_the_last_day_only_its_rest_is_left() -> None:
    end = date(2026, 3, 31)
    costs = {end - timedelta(days=back): USD for back in range(1, 40)} | {end: USD // 4}
    assert forecast(costs, end) == Forecast(date(2026, 3, 1), 30 * USD + USD // 4, *[31 * USD] * 3)


@settings(max_examples=100)
@given(st.dictionaries(st.integers(0, 60), st.integers(0, 10**15), max_size=60))
def test_the_band_holds_the_expected_and_never_less_than_is_spent(costs: dict[int, int]) -> None:
    found = forecast({TODAY - timedelta(days=back): cost for back, cost in costs.items()}, TODAY)
    if found.expected is not None and found.low is not None and found.high is not None:
        assert found.spent <= found.low <= found.expected <= found.high


def test_four_of_five_months_end_within_the_band() -> None:
    rng, held, tries = np.random.default_rng(1), 0, 400
    today, ends = date(2026, 3, 12), date(2026, 3, 31)
    for _ in range(tries):
        days = [date(2026, 2, 1) + timedelta(days=number) for number in range(59)]
        base = {day: (100 if day.weekday() < 5 else 20) for day in days}
        costs = {day: round(float(max(rng.normal(base[day], 15), 0)) * USD) for day in days}
        known = {day: cost for day, cost in costs.items() if day < today}
        found = forecast(known | {today: 0}, today)
        whole = sum(cost for day, cost in costs.items() if date(2026, 3, 1) <= day <= ends)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= whole <= found.high
    assert 0.72 <= held / tries <= 0.9


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Apia"])
def test_the_month_is_the_tenants(module_database: Database, zone: str) -> None:
    house = House(module_database, zone)
    now = datetime(2026, 3, 31, 12, tzinfo=UTC)  # the first of April in Apia
    house.put([ended(created_at=now - timedelta(days=day), cost_nano_usd=USD) for day in range(40)], lambda _: True)
    found = house.usage.forecast(house.admin, now=now)
    assert (found.month, found.spent) == ((date(2026, 3, 1), 31 * USD) if zone == "UTC" else (date(2026, 4, 1), USD))
    only = Filter(now, now + timedelta(days=1), models=("other",))
    assert house.usage.forecast(house.admin, only, now).spent == 0
    assert house.usage.forecast(house.member("bob"), now=now) == Forecast(found.month, 0, None, None, None)
