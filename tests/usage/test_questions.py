"""Every number of every question against plain Python over the same rows: counted, not counted yet, and both."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, update

from chatcore.accounts.principal import Principal, Role
from chatcore.db import Database
from chatcore.db.tables import Tenant, UsageMetric, User
from chatcore.errors import InvalidInput
from chatcore.ids import new_id
from chatcore.usage import Filter, GroupBy, Step, Usage, default_step, latency, rollups, steps
from chatcore.usage.measures import FAILED, MEASURES
from chatcore.usage.rollup_jobs import RollupJobs
from chatcore.usage.totals import OUTCOMES

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "Australia/Lord_Howe")
TEAMS = {"ann": "Red", "bob": "Blue", "cy": None}
GROUPS: dict[str, Callable[[dict[str, Any]], str]] = {
    "model": lambda row: row["model"],
    "provider": lambda row: row["provider"],
    "agent": lambda row: row["agent_id"] or "none",
    "user": lambda row: row["user_id"],
    "team": lambda row: TEAMS[row["user_id"][-3:].strip("_")] or "none",
    "tier": lambda row: row["tier"],
    "purpose": lambda row: row["purpose"],
    "error": lambda row: row["error_type"] or row["outcome"],
    "none": lambda _row: "all",
}


class House:
    """A tenant of its own in a database that tests share, with an admin and three people."""

    def __init__(self, db: Database, timezone: str = "UTC") -> None:
        self.db, self.usage, self.timezone = db, Usage(db), timezone
        self.tenant = new_id("tenant")
        self.people = {name: f"{new_id('user')}_{name}" for name in TEAMS}
        self.admin = Principal(new_id("user"), self.tenant, "admin", "Admin", "admin")

        def work(session: Any) -> None:
            session.execute(
                insert(Tenant),
                [{"id": self.tenant, "name": self.tenant, "timezone": timezone, "days_zone": timezone}],
            )
            users = [
                {"id": user_id, "tenant_id": self.tenant, "username": user_id, "name": name, "role": "member",
                 "team": TEAMS[name], "tier": "free"}
                for name, user_id in self.people.items()
            ]  # fmt: skip
            session.execute(insert(User), users)

        db.write(work)

    def member(self, name: str, role: Role = "member") -> Principal:
        return Principal(self.people[name], self.tenant, name, name, role)

    def put(self, rows: Sequence[dict[str, Any]], counted: Callable[[int], bool]) -> list[dict[str, Any]]:
        """Write the rows, and count those whose place says so. Returns them as they are stored."""
        stored = [
            row | {"id": new_id("use"), "tenant_id": self.tenant, "user_id": self.people[row["user_id"]]}
            for row in rows
        ]  # fmt: skip
        ids = [row["id"] for place, row in enumerate(stored) if counted(place)]
        if stored:
            self.db.write(lambda session: session.execute(insert(UsageMetric), stored))
        if ids:
            self.db.write(lambda session: rollups.fold(session, ids))
        return stored


def near(*moments: str) -> st.SearchStrategy[datetime]:
    """Moments within three days of changes of the clock and of ends of months."""
    around = [datetime.fromisoformat(one).replace(tzinfo=UTC) for one in moments]
    return st.tuples(st.sampled_from(around), st.integers(-3 * 86_400_000, 3 * 86_400_000)).map(
        lambda one: one[0] + timedelta(milliseconds=one[1])
    )


# Berlin and New York change in March and in autumn, Lord Howe in April; months end in between.
moments = near(
    "2026-03-08T07:00", "2026-03-29T01:00", "2026-04-04T15:00", "2026-04-30T23:00", "2026-10-25T01:00"
) | near("2026-10-31T23:59:59.999", "2026-11-01T06:00")
edges = moments | st.sampled_from(
    [datetime(2026, month, day, hour, tzinfo=UTC) for month in (3, 4, 11) for day in (1, 9, 29) for hour in (0, 5, 22)]
)
numbers = st.integers(0, 10**6)
milliseconds = st.none() | st.integers(0, 90_000)


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    row: dict[str, Any] = {
        "created_at": draw(moments), "user_id": draw(st.sampled_from(sorted(TEAMS))), "trace_id": "t",
        "model": draw(st.sampled_from(["m1", "m2"])), "provider": draw(st.sampled_from(["acme", "zeta"])),
        "tier": draw(st.sampled_from(["free", "pro"])), "agent_id": draw(st.sampled_from([None, "agent_x"])),
        "purpose": draw(st.sampled_from(["chat", "title"])), "attempt": draw(st.sampled_from([1, 1, 2])),
        "outcome": draw(st.sampled_from(["ok", "ok", "running", *OUTCOMES])), "is_demo": draw(st.booleans()),
        "error_type": None, "cost_nano_usd": None, "ttft_ms": None, "latency_ms": None,
    } | dict.fromkeys(
        ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "cache_write_tokens",
         "saved_nano_usd"), 0,
    ) | {"usage_source": "none"}  # fmt: skip
    if row["outcome"] != "running":
        row |= {name: draw(numbers) for name in ("prompt_tokens", "completion_tokens", "saved_nano_usd")}
        row |= {
            "cost_nano_usd": draw(st.none() | st.integers(0, 10**12)), "ttft_ms": draw(milliseconds),
            "latency_ms": draw(milliseconds), "usage_source": draw(st.sampled_from(["provider", "estimated"])),
        }  # fmt: skip
    if row["outcome"] in FAILED:
        row["error_type"] = draw(st.sampled_from([None, "provider_down"]))
    return row


def some(*values: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.just(()) | st.just(()) | st.lists(st.sampled_from(values), max_size=2, unique=True).map(tuple)


@st.composite
def filters(draw: st.DrawFn) -> Filter:
    start, end = sorted((draw(edges), draw(edges)))
    end = max(end, start + timedelta(minutes=draw(st.integers(1, 90))))
    return Filter(
        start, end, models=draw(some("m1", "gone")), providers=draw(some("acme")), agents=draw(some("agent_x", "none")),
        tiers=draw(some("pro")), teams=draw(some("Red", "none")), purposes=draw(some("chat")),
    )  # fmt: skip


def visible(house: House, rows: list[dict[str, Any]], who: Principal, chosen: Filter) -> list[dict[str, Any]]:
    asked = {
        "model": chosen.models, "provider": chosen.providers, "agent": chosen.agents, "tier": chosen.tiers,
        "team": chosen.teams, "purpose": chosen.purposes, "user": chosen.user_ids,
    }  # fmt: skip
    return [
        row
        for row in rows
        if chosen.start <= row["created_at"] < chosen.end
        and (who.is_admin or row["user_id"] == who.user_id)
        and all(not values or GROUPS[name](row) in values for name, values in asked.items())
    ]


def measured(rows: list[dict[str, Any]]) -> dict[str, int]:
    spoke = [
        row for row in rows
        if row["ttft_ms"] is not None and row["latency_ms"] is not None and row["latency_ms"] > row["ttft_ms"]
        and row["completion_tokens"] > 0 and row["outcome"] != "cached"
    ]  # fmt: skip
    settled = [row for row in rows if row["outcome"] != "running"]
    found = {
        "calls": len(rows), "settled": len(settled), "running": len(rows) - len(settled),
        "priced": sum(row["cost_nano_usd"] is not None for row in settled),
        "unpriced": sum(row["cost_nano_usd"] is None for row in settled),
        "cost_nano_usd": sum(row["cost_nano_usd"] or 0 for row in rows),
        "failed": sum(row["outcome"] in FAILED for row in rows), "demo": sum(row["is_demo"] for row in rows),
        "estimated": sum(row["usage_source"] == "estimated" for row in rows),
        "again": sum(row["attempt"] > 1 for row in settled),
        "generated_tokens": sum(row["completion_tokens"] for row in spoke),
        "generating_ms": sum(row["latency_ms"] - row["ttft_ms"] for row in spoke),
    }  # fmt: skip
    summed = set(MEASURES) - set(found) - set(OUTCOMES)
    found |= {name: sum(row[name] for row in rows) for name in summed}
    return found | {name: sum(row["outcome"] == name for row in rows) for name in OUTCOMES}


def same(line: Any, expected: dict[str, int]) -> None:
    got = {name: getattr(line, name) for name in expected}
    if expected["calls"] and not expected["priced"]:
        assert pd.isna(got.pop("cost_nano_usd"))
        expected = {name: value for name, value in expected.items() if name != "cost_nano_usd"}
    assert got == expected


def check(
    house: House, rows: list[dict[str, Any]], who: Principal, chosen: Filter, group_by: GroupBy, step: Step
) -> None:
    mine = visible(house, rows, who, chosen)
    totals = house.usage.totals(who, chosen)
    whole = measured(mine)
    assert (totals.calls, totals.cost_nano_usd, totals.running, totals.failed, totals.generating_ms) == (
        whole["calls"], whole["cost_nano_usd"] if whole["priced"] else None, whole["running"], whole["failed"],
        whole["generating_ms"],
    )  # fmt: skip
    counted = [row for row in mine if group_by != "error" or row["outcome"] in FAILED]
    by_group: dict[str, list[dict[str, Any]]] = {}
    for row in counted:
        by_group.setdefault(GROUPS[group_by](row), []).append(row)

    table = house.usage.breakdown(who, chosen, group_by)
    assert set(table["group"]) == set(by_group)
    for line in table.itertuples():
        same(line, measured(by_group[str(line.group)]))

    where = ZoneInfo(house.timezone)
    drawn = house.usage.series(who, chosen, group_by, step, zone=where)
    assert int(drawn["calls"].sum()) == len(counted)
    starts = sorted(set(drawn["start"]))
    for line in drawn[drawn["calls"] > 0].itertuples():
        later = [one for one in starts if one > line.start]
        end = min(later, default=chosen.end)
        same(line, measured([row for row in by_group[str(line.group)] if line.start <= row["created_at"] < end]))
    for row in counted:
        local = row["created_at"].astimezone(where)
        begin = max(one for one in starts if one <= row["created_at"])
        clock = (begin.date().isoformat(), local.date().isoformat())
        match step:
            case "day":
                assert clock[0] == clock[1]
            case "week":
                assert begin.weekday() == 0
                assert 0 <= (local.date() - begin.date()).days < 7
            case "month":
                assert clock[0][:7] == clock[1][:7]
                assert begin.day == 1


def check_percentiles(house: House, rows: list[dict[str, Any]], who: Principal, chosen: Filter, by: Any) -> None:
    mine = visible(house, rows, who, chosen)
    found = house.usage.percentiles(who, chosen, by)
    times: dict[tuple[str, str], list[int]] = {}
    for row in mine:
        for metric, value, counts in (
            ("ttft", row["ttft_ms"], row["outcome"] not in ("running", "cached")),
            ("latency", row["latency_ms"], row["outcome"] in ("ok", "stopped", "truncated")),
            ("hit", row["latency_ms"], row["outcome"] == "cached"),
        ):
            if counts and value is not None:
                times.setdefault((GROUPS[by](row), metric), []).append(value)
    assert {(line.group, line.metric) for line in found.itertuples()} == set(times)
    for line in found.itertuples():
        ordered = sorted(times[str(line.group), str(line.metric)])
        assert line.calls == len(ordered)
        for percent in latency.PERCENTILES:
            true = ordered[max(-(-len(ordered) * percent // 100), 1) - 1]
            assert getattr(line, f"p{percent}") == pytest.approx(true, rel=latency.WORST_ERROR, abs=0.5)


counting = st.sampled_from([lambda _place: True, lambda _place: False, lambda place: place % 2 == 0])
groups = st.sampled_from(sorted(GROUPS))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    made=st.lists(calls(), min_size=1, max_size=12), chosen=filters(), zone=st.sampled_from(ZONES), counted=counting,
    group_by=groups, who=st.sampled_from(["admin", "ann", "cy"]), asked=st.sampled_from(["", "ann", "bob"]),
    data=st.data(),
)  # fmt: skip
def test_every_number_is_the_sum_over_the_rows_that_are_theirs(
    module_database: Database, made: list[dict[str, Any]], chosen: Filter, zone: str, counted: Any, group_by: GroupBy,
    who: str, asked: str, data: st.DataObject,
) -> None:  # fmt: skip
    house = House(module_database, zone)
    rows = house.put(made, counted)
    asker = house.admin if who == "admin" else house.member(who)
    chosen = replace(chosen, user_ids=(house.people[asked],)) if asked else chosen
    step = data.draw(st.sampled_from(steps(chosen)))
    check(house, rows, asker, chosen, group_by, step)
    check_percentiles(house, rows, asker, chosen, data.draw(st.sampled_from(["none", "model", "provider"])))


JANUARY = datetime(2026, 1, 1, tzinfo=UTC)


def ended(**values: Any) -> dict[str, Any]:
    """A settled call of Ann's on the first of January, except for what `values` says."""
    return {
        "created_at": JANUARY + timedelta(hours=9), "user_id": "ann", "trace_id": "t", "model": "m1",
        "provider": "acme", "tier": "free", "agent_id": None, "purpose": "chat", "attempt": 1, "outcome": "ok",
        "prompt_tokens": 10, "completion_tokens": 5, "cost_nano_usd": 7, "usage_source": "provider", "ttft_ms": 100,
        "latency_ms": 900,
    } | values  # fmt: skip


def all_of(_place: int) -> bool:
    return True


def none_of(_place: int) -> bool:
    return False


@pytest.fixture
def house(module_database: Database) -> House:
    return House(module_database)


def test_the_default_steps_suit_the_length() -> None:
    lengths = {1: "hour", 2: "hour", 3: "day", 92: "day", 93: "week", 184: "week", 185: "month", 7305: "month"}
    ranges = {days: Filter(JANUARY, JANUARY + timedelta(days=days)) for days in lengths}
    assert {days: default_step(one) for days, one in ranges.items()} == lengths
    assert all(default_step(one) in steps(one) for one in ranges.values())
    assert steps(ranges[7305]) == ("month",)
    assert steps(ranges[2]) == ("hour", "day", "week", "month")


def test_a_step_that_is_too_fine_is_refused(house: House) -> None:
    with pytest.raises(InvalidInput, match="too long to be shown by the hour"):
        house.usage.series(house.admin, Filter(JANUARY, JANUARY + timedelta(days=30)), step="hour")


def test_twenty_years_are_drawn_by_the_month(house: House) -> None:
    house.put([ended(), ended(created_at=JANUARY - timedelta(days=3000))], all_of)
    frame = house.usage.series(house.admin, Filter(JANUARY - timedelta(days=7305), JANUARY + timedelta(days=1)))
    assert len(frame) == 241
    assert frame["calls"].sum() == 2


@pytest.mark.parametrize("years", [(1900, 2026), (2026, 2400)])
def test_years_that_no_call_can_be_of_are_refused(years: tuple[int, int]) -> None:
    with pytest.raises(InvalidInput, match="between the years 1970 and 2200"):
        Filter(*(datetime(year, 1, 1, tzinfo=UTC) for year in years))


def test_a_model_that_is_gone_gives_its_history_and_an_unknown_one_nothing(house: House) -> None:
    house.put([ended(model="gone")], all_of)
    year = Filter(JANUARY, JANUARY + timedelta(days=365))
    assert house.usage.totals(house.admin, replace(year, models=("gone",))).calls == 1
    assert house.usage.totals(house.admin, replace(year, models=("never was",))).calls == 0
    assert house.usage.series(house.admin, replace(year, models=("never was",))).empty
    assert house.usage.breakdown(house.admin, replace(year, models=("never was",))).empty
    assert house.usage.percentiles(house.admin, replace(year, models=("never was",)), step="month").empty
    assert house.usage.models(house.admin) == ["gone"]


@pytest.mark.parametrize("counted", [all_of, none_of])
def test_nobody_sees_what_is_not_theirs_whatever_they_ask(house: House, counted: Any) -> None:
    house.put([ended(user_id=name, model=f"of {name}") for name in TEAMS], counted)
    other = House(house.db)
    year = Filter(JANUARY, JANUARY + timedelta(days=365))
    ann, bob = house.member("ann"), house.people["bob"]
    for chosen in (year, replace(year, teams=("Red", "Blue")), replace(year, user_ids=tuple(house.people.values()))):
        for group_by in GROUPS:
            assert house.usage.breakdown(ann, chosen, group_by)["calls"].sum() == (group_by != "error")  # type: ignore[arg-type]
        assert house.usage.percentiles(ann, chosen)["calls"].sum() == 2
        assert house.usage.adoption(ann, chosen, "month")["people"].sum() == 1
        assert house.usage.adoption_summary(ann, chosen).messages == 1
    assert house.usage.breakdown(ann, replace(year, user_ids=(bob,))).empty
    assert house.usage.totals(ann, replace(year, teams=("Blue",))).calls == 0
    assert house.usage.totals(other.admin, replace(year, user_ids=(bob,))).calls == 0
    assert other.usage.totals(other.admin, year).calls == 0
    assert other.usage.adoption_summary(other.admin, year).people == 0
    assert other.usage.percentiles(other.admin, year).empty
    chosen_by = house.usage.choices(ann)
    assert (chosen_by.models, chosen_by.people, chosen_by.teams) == (("of ann",), (), ())


def test_hours_are_the_viewers_and_days_the_tenants(module_database: Database) -> None:
    house = House(module_database, "America/New_York")
    house.put([ended(created_at=JANUARY + timedelta(hours=3))], all_of)  # the evening before in New York
    two_days = Filter(JANUARY - timedelta(days=1), JANUARY + timedelta(days=1))
    hours = house.usage.series(house.admin, two_days, "none", "hour", ZoneInfo("Asia/Kathmandu"))
    (hour,) = hours[hours["calls"] > 0]["start"]
    assert hour.isoformat() == "2026-01-01T08:00:00+05:45"
    days = house.usage.series(house.admin, two_days, "none", "day", ZoneInfo("Asia/Kathmandu"))
    (day,) = days[days["calls"] > 0]["start"]
    assert day.isoformat() == "2025-12-31T00:00:00-05:00"
    assert house.usage.zone(house.admin).key == "America/New_York"


def test_a_day_with_a_change_of_the_clock_has_23_or_25_hours(module_database: Database) -> None:
    house = House(module_database, "Europe/Berlin")
    for day, number in (((2026, 3, 29), 23), ((2026, 10, 25), 25)):
        start = datetime(*day, tzinfo=ZoneInfo("Europe/Berlin"))
        end = start + timedelta(days=1)  # the next midnight, as clocks have it
        chosen = Filter(start.astimezone(UTC), end.astimezone(UTC))
        house.put([ended(created_at=chosen.start + timedelta(hours=hour)) for hour in range(number)], all_of)
        hours = house.usage.series(house.admin, chosen, "none", "hour")
        assert hours["calls"].tolist() == [1] * number
        assert house.usage.totals(house.admin, chosen).calls == number


def test_days_are_right_while_they_move_to_another_zone(module_database: Database) -> None:
    house = House(module_database, "Asia/Tokyo")
    rows = [ended(created_at=JANUARY + timedelta(hours=hour)) for hour in range(0, 24 * 40, 7)]
    house.put(rows, lambda place: place % 5 > 0)
    some_days, there = Filter(JANUARY - timedelta(days=10), JANUARY + timedelta(days=60)), ZoneInfo("America/New_York")
    moved = update(Tenant).where(Tenant.id == house.tenant).values(timezone=there.key)
    house.db.write(lambda session: session.execute(moved))
    dates = [f"{row['created_at'].astimezone(there):%Y-%m-%d}" for row in rows]
    for group_by, group in (("user", house.people["ann"]), ("model", "m1"), ("agent", "none"), ("none", "all")):
        frame = house.usage.series(house.admin, some_days, group_by, "day")  # type: ignore[arg-type]
        assert set(frame["group"]) == {group}
        counted = {f"{line.start:%Y-%m-%d}": line.calls for line in frame.itertuples() if line.calls}
        assert counted == {day: dates.count(day) for day in dates}
    before = house.usage.series(house.admin, some_days, "user", "day")
    RollupJobs(house.db).keep_up()
    assert house.usage.series(house.admin, some_days, "user", "day").equals(before)


def test_what_is_older_than_the_ledger_comes_from_the_rollups(house: House) -> None:
    rows = house.put([ended(created_at=JANUARY + timedelta(days=day), outcome="error") for day in range(80)], all_of)
    house.put([ended(user_id="bob", created_at=JANUARY + timedelta(days=day)) for day in (3, 70)], all_of)
    since = JANUARY + timedelta(days=40)
    everything = Filter(JANUARY, JANUARY + timedelta(days=365))
    ann = house.member("ann")
    groups: tuple[GroupBy, ...] = ("model", "user", "team", "tier", "agent", "purpose", "error", "none")
    before = [house.usage.breakdown(house.admin, everything, one) for one in groups]
    times = house.usage.percentiles(house.admin, everything)

    def work(session: Any) -> None:
        session.execute(update(Tenant).where(Tenant.id == house.tenant).values(ledger_since=since))
        gone = (UsageMetric.tenant_id == house.tenant, UsageMetric.created_at < since)
        session.execute(delete(UsageMetric).where(*gone))

    house.db.write(work)
    for one, known in zip(groups, before, strict=True):
        assert house.usage.breakdown(house.admin, everything, one).equals(known)
    assert house.usage.percentiles(house.admin, everything).equals(times)
    assert house.usage.totals(ann, everything).calls == len(rows)
    assert house.usage.breakdown(ann, everything, "none")["calls"].tolist() == [80]
    assert house.usage.totals(house.member("bob"), everything).calls == 2
    assert house.usage.adoption(house.member("cy"), everything, "month")["people"].sum() == 0
    month = house.usage.series(house.admin, everything, "none", "month")
    assert month["calls"].tolist()[:3] == [32, 28, 22]
    assert house.usage.adoption(ann, everything, "month")["people"].tolist()[:4] == [1, 1, 1, 0]


def test_beyond_sixty_groups_the_others_are_joined(house: House) -> None:
    rows = [ended(model=f"m{number:03}", cost_nano_usd=number) for number in range(70)]
    house.put(rows, lambda place: place % 2 > 0)
    frame = house.usage.series(house.admin, Filter(JANUARY, JANUARY + timedelta(days=3)), "model", "day")
    assert frame["group"].nunique() == 61
    assert frame["group"].iloc[60] == "others"
    others = frame[frame["group"] == "others"]
    assert (others["calls"].sum(), int(others["cost_nano_usd"].sum())) == (10, sum(range(10)))
    assert int(frame["cost_nano_usd"].sum()) == sum(range(70))


@pytest.mark.parametrize("counted", [all_of, none_of])
def test_beyond_sixty_people_the_others_are_what_is_left(house: House, counted: Any) -> None:
    crowd = {f"p{number:02}": new_id("user") for number in range(70)}
    house.people |= crowd
    house.put([ended(user_id=name, cost_nano_usd=int(name[1:])) for name in crowd], counted)
    frame = house.usage.series(house.admin, Filter(JANUARY, JANUARY + timedelta(days=3)), "user", "day")
    assert frame["group"].nunique() == 61
    others = frame[frame["group"] == "others"]
    assert (others["calls"].tolist(), int(others["cost_nano_usd"].sum())) == ([10, 0, 0], sum(range(10)))
    assert len(house.usage.breakdown(house.admin, Filter(JANUARY, JANUARY + timedelta(days=3)), "user")) == 70
