"""Alerts with two processes on one database: what fires, holds, recovers, is told once; who may see and change what."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, text, update

from chatcore.accounts.audit_log import AuditLog, Wanted
from chatcore.alerts import readings, words
from chatcore.alerts.channels import rotate_all
from chatcore.alerts.notices import Channel, Notice, Outcome, Sender
from chatcore.alerts.rules import DEFAULTS, METRICS, Rule, checked
from chatcore.alerts.service import Alerts
from chatcore.config import Settings
from chatcore.db import Database
from chatcore.db.tables import Alert, AlertChannel, AuditEntry, BudgetPeriod, LimitHit, UsageMetric, User
from chatcore.errors import Conflict, Forbidden, InvalidInput, NotFound
from chatcore.usage.budgets import Budgets
from tests.alerts.alerting import USD, House
from tests.receivers import Webhooks, webhooks

EMAIL_PUBLIC = {"host": "93.184.216.34", "from": "a@example.com", "to": "b@example.com"}
EMAIL = {"host": "smtp.example.com", "security": "starttls", "from": "a@example.com", "to": "b@example.com"}


@pytest.fixture(scope="module")
def hooks() -> Iterator[Webhooks]:
    with webhooks() as server:
        yield server


@pytest.fixture
def house(database: Database, settings: Settings, hooks: Webhooks) -> Iterator[House]:
    yield from opened(database, settings, hooks)


@pytest.fixture
def any_house(any_database: Database, settings: Settings, hooks: Webhooks) -> Iterator[House]:
    yield from opened(any_database, settings, hooks)


def opened(database: Database, settings: Settings, hooks: Webhooks) -> Iterator[House]:
    hooks.got.clear()
    hooks.paths.clear()
    house = House(database, settings)
    house.without_defaults()
    yield house
    house.close()


def rule(house: House, hooks: Webhooks, metric: str = "error_rate", **more: Any) -> Rule:
    """A rule of the instance that tells the webhook."""
    values = {"threshold": METRICS[metric].threshold, "window_seconds": METRICS[metric].window_seconds} | more
    made = Rule(name="A rule", metric=metric, channels=(house.hook(hooks.url()),), min_calls=5, **values)
    return replace(made, id=house.alerts.save_rule(house.root, made))


# ---- each rule fires, holds, recovers, once


def too_many_refusals(house: House) -> None:
    values = {
        "minute": house.clock.now().replace(second=0, microsecond=0), "tenant_id": house.member.tenant_id,
        "user_id": "u", "tier": "free", "kind": "requests", "model": "m", "hits": 200,
    }  # fmt: skip
    house.db.write(lambda session: session.execute(insert(LimitHit).values(**values)))


BROKEN: dict[str, Callable[[House], None]] = {
    "error_rate": lambda house: house.calls(10, "error"),
    "timeout_rate": lambda house: house.calls(10, "timeout"),
    "provider_error_rate": lambda house: house.calls(10, "rate_limited"),
    "cost_per_hour": lambda house: house.calls(2, cost_nano_usd=8 * USD),
    "latency_p95": lambda house: house.calls(10, latency_ms=9000),
    "ttft_p95": lambda house: house.calls(10, ttft_ms=7000),
    "refusals": too_many_refusals,
}


@pytest.mark.parametrize("metric", BROKEN)
def test_each_rule_fires_holds_and_recovers_once_with_two_processes(
    any_house: House, hooks: Webhooks, metric: str
) -> None:
    house = any_house
    made = rule(house, hooks, metric, for_seconds=60)
    house.calls(10)
    house.rounds()
    assert not house.alerts.firing(house.root)
    BROKEN[metric](house)
    house.rounds()
    [pending] = house.alerts.firing(house.root)
    assert (pending.state, hooks.got) == ("pending", [])
    house.rounds(2)
    [firing] = house.alerts.firing(house.root)
    assert (firing.state, firing.metric, firing.rule_name) == ("firing", metric, "A rule")
    assert firing.value > made.threshold
    assert hooks.words() == ["firing"]
    house.clock.forward(made.window_seconds)
    house.calls(10)
    house.rounds(2)
    assert not house.alerts.firing(house.root)
    assert hooks.words() == ["firing", "recovered"]
    [over] = house.alerts.history(house.root)
    assert (over.state, over.peak, [one.state for one in over.told]) == ("recovered", firing.peak, ["sent", "sent"])
    assert over.recovered_at


def test_a_budget_rule_names_each_budget_and_recovers_when_there_is_more(any_house: House, hooks: Webhooks) -> None:
    house = any_house
    budgets = Budgets(house.db)
    budgets.set(house.admin, "tenant", "", "month", 100 * USD)
    budgets.set(house.admin, "user", house.member.user_id, "day", 100 * USD)
    budget = next(one for one in budgets.list(house.admin) if one.scope == "user")
    house.clock.wall = budget.starts_at + timedelta(hours=3)
    values = {"spent_nano_usd": 95 * USD}
    house.db.write(
        lambda session: session.execute(
            update(BudgetPeriod).where(BudgetPeriod.budget_id == budget.id).values(**values)
        )
    )
    made = Rule("Nearly spent", "budget_share", 90, tenant_id=house.admin.tenant_id)
    house.alerts.save_rule(house.admin, made)
    house.rounds()
    [firing] = house.alerts.firing(house.admin)
    assert (firing.subject, round(firing.value)) == ("Bob (each day)", 95)
    assert "95% of the budget is spent; the limit is 90%." in firing.message
    details = house.db.read(lambda session: session.scalar(select(Alert.details)))
    assert (details or {})["person"] == house.member.user_id, "it goes with them when they are erased"
    budgets.set(house.admin, "user", house.member.user_id, "day", 200 * USD)
    house.rounds()
    assert not house.alerts.firing(house.admin)


def test_a_budget_that_is_removed_is_no_longer_told_of(house: House) -> None:
    budgets = Budgets(house.db)
    budgets.set(house.admin, "tenant", "", "month", 0)
    house.alerts.save_rule(house.admin, Rule("Spent", "budget_share", 90, tenant_id=house.admin.tenant_id))
    house.rounds()
    assert house.alerts.firing(house.admin)
    budgets.remove(house.admin, budgets.list(house.admin)[0].id)
    house.rounds()
    assert not house.alerts.firing(house.admin)


# ---- what counts


def value(house: House, metric: str, **more: Any) -> float | None:
    made = Rule("r", metric, 1, **{"min_calls": 1} | more)
    found = house.db.read(lambda session: readings.read(session, made, house.clock.now()))
    return found[0].value if found else None


def test_one_failed_call_of_one_is_no_alert(house: House) -> None:
    house.calls(1, "error")
    assert value(house, "error_rate", min_calls=10) is None
    assert value(house, "error_rate") == 100


@pytest.mark.parametrize("outcome", ["running", "interrupted", "cached"])
def test_calls_that_run_were_left_or_called_nobody_do_not_count(house: House, outcome: str) -> None:
    house.calls(5)
    house.calls(5, outcome, **({"settled_at": None} if outcome == "running" else {}))
    assert value(house, "error_rate") == 0
    house.calls(5, "error")
    assert value(house, "error_rate") == 50


@pytest.mark.parametrize(
    "more",
    [
        {"error_type": "context_too_long"}, {"error_type": "refused_content"},
        {"error_type": "bad_key", "key_source": "person"},
        {"error_type": "rate_limited", "key_source": "tenant", "outcome": "rate_limited"},
    ],
)  # fmt: skip
def test_what_is_not_the_providers_fault_is_no_error(house: House, more: dict[str, Any]) -> None:
    house.calls(10, **{"outcome": "error"} | more)
    assert value(house, "error_rate") == 0
    assert value(house, "provider_error_rate") == 0


def test_a_shared_key_that_is_refused_is_an_error(house: House) -> None:
    house.calls(10, "error", error_type="bad_key")
    assert value(house, "error_rate") == 100


def test_what_people_paid_themselves_costs_nothing(house: House) -> None:
    house.calls(1, cost_nano_usd=50 * USD, key_source="person")
    house.calls(1, cost_nano_usd=None)
    assert value(house, "cost_per_hour", window_seconds=3600) == 0


def test_cost_in_a_shorter_window_is_told_as_an_hourly_rate(house: House) -> None:
    house.calls(1, cost_nano_usd=2 * USD)
    assert value(house, "cost_per_hour", window_seconds=600) == pytest.approx(12)


def test_made_up_data_never_counts(house: House) -> None:
    house.calls(20, "error", is_demo=True)
    assert value(house, "error_rate") is None


def test_a_call_counts_when_it_ends_however_long_it_took(house: House) -> None:
    house.calls(10, "timeout", created_at=house.clock.now() - timedelta(minutes=40))
    assert value(house, "timeout_rate") == 100
    house.clock.forward(301)
    assert value(house, "timeout_rate") is None


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times=st.lists(st.integers(0, 60_000), min_size=1, max_size=60))
def test_the_95th_percentile_is_that_of_the_nearest_rank(house: House, times: list[int]) -> None:
    house.db.write(lambda session: session.execute(delete(UsageMetric)))
    for one in times:
        house.calls(1, latency_ms=one)
    rank = -(-len(times) * 95 // 100)
    assert value(house, "latency_p95") == sorted(times)[rank - 1] / 1000


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mine=st.lists(st.sampled_from(["ok", "error", "timeout", "stopped"]), max_size=12),
    theirs=st.lists(st.sampled_from(["ok", "error"]), max_size=12),
)
def test_a_tenants_rule_counts_its_own_calls_and_the_instances_all(
    house: House, mine: list[str], theirs: list[str]
) -> None:
    house.db.write(lambda session: session.execute(delete(UsageMetric)))
    for who, outcomes in ((house.member, mine), (house.stranger, theirs)):
        for outcome in outcomes:
            house.calls(1, outcome, who)

    def share(outcomes: list[str]) -> float | None:
        failed = sum(one in ("error", "timeout") for one in outcomes)
        return failed / len(outcomes) * 100 if outcomes else None

    assert value(house, "error_rate", tenant_id=house.member.tenant_id) == share(mine)
    assert value(house, "error_rate", tenant_id=house.stranger.tenant_id) == share(theirs)
    assert value(house, "error_rate") == share(mine + theirs)


# ---- clocks


def test_a_clock_that_goes_back_tells_nothing_twice(house: House, hooks: Webhooks) -> None:
    rule(house, hooks)
    house.calls(10, "error")
    house.rounds(2)
    house.clock.jump(-86_400)
    house.rounds(8)
    assert hooks.words() == ["firing"]
    assert [one.state for one in house.alerts.firing(house.root)] == ["firing"]


def test_a_clock_that_goes_back_stretches_no_cool_down(house: House, hooks: Webhooks) -> None:
    made = rule(house, hooks, cooldown_seconds=600)
    house.clock.jump(86_400)
    house.calls(10, "error")
    house.rounds(1)
    house.clock.jump(-86_400)
    house.rounds(made.window_seconds // 60 + 1)
    house.calls(10)
    house.rounds(1)
    assert hooks.words() == ["firing", "recovered"]
    house.clock.forward(660)
    house.calls(20, "error")
    house.rounds(1)
    assert hooks.words() == ["firing", "recovered", "firing"]


@pytest.mark.parametrize("metric", ["error_rate", "cost_per_hour", "refusals"])
def test_a_clock_that_jumps_forward_recovers_nothing(house: House, hooks: Webhooks, metric: str) -> None:
    rule(house, hooks, metric)
    BROKEN[metric](house)
    house.rounds(2)
    assert hooks.words() == ["firing"]
    house.clock.jump(3 * 3600)
    house.rounds(4)
    assert hooks.words() == ["firing"]
    assert house.alerts.firing(house.root)


def test_hours_in_which_nobody_looked_do_not_make_a_rule_fire(house: House, hooks: Webhooks) -> None:
    rule(house, hooks, for_seconds=1800)
    house.calls(10, "error")
    house.rounds(1)
    house.clock.forward(10 * 3600)
    house.calls(10, "error")
    house.rounds(1)
    assert [one.state for one in house.alerts.firing(house.root)] == ["pending"]


# ---- one at a time


def test_two_looks_at_the_same_moment_write_one_alert(any_house: House, hooks: Webhooks) -> None:
    house = any_house
    rule(house, hooks)
    house.calls(10, "error")
    for side in house.sides:
        side.look(house.clock.now(), float("inf"))
    assert len(house.alerts.firing(house.root)) == 1
    assert len(house.sides[1].claim(house.clock.now())) == 1


def test_a_look_is_dropped_where_another_was_faster(
    any_house: House, hooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = any_house
    rule(house, hooks)
    house.calls(10, "error")
    faster, slower = house.sides
    real = readings.read
    looked: list[bool] = []

    def read(*args: Any) -> Any:
        found = real(*args)
        if not looked:
            looked.append(True)
            assert faster.look(house.clock.now(), float("inf")).written
        return found

    monkeypatch.setattr("chatcore.alerts.looks.read", read)
    assert not slower.look(house.clock.now(), float("inf")).written
    assert len(house.alerts.firing(house.root)) == 1


def test_what_one_process_queued_another_sends_when_that_one_dies(any_house: House, hooks: Webhooks) -> None:
    house = any_house
    rule(house, hooks)
    house.calls(10, "error")
    house.sides[0].look(house.clock.now(), float("inf"))
    house.watches[1].round()
    house.rounds(2)
    assert hooks.words() == ["firing"]


def test_a_rule_that_cannot_be_read_stops_no_other(
    house: House, hooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule(house, hooks, "cost_per_hour")
    rule(house, hooks)
    house.calls(10, "error")

    def broken(_look: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setitem(readings._READERS, "cost_per_hour", broken)  # type: ignore[index]
    house.rounds()
    assert [one.metric for one in house.alerts.firing(house.root)] == ["error_rate"]


@pytest.mark.parametrize(
    "details", [{"standing": {"state": "firing", "told": True, "unheard_of": 1}}, {"standing": {"state": 7}}, {}]
)
def test_what_a_newer_version_wrote_of_one_alert_stops_no_rule(
    house: House, hooks: Webhooks, details: dict[str, Any]
) -> None:
    rule(house, hooks)
    rule(house, hooks, "timeout_rate")
    house.calls(10, "error")
    house.rounds()
    house.db.write(lambda session: session.execute(update(Alert).values(details=details)))
    house.calls(10, "timeout")
    house.rounds()
    assert {one.metric for one in house.alerts.firing(house.root)} >= {"timeout_rate"}
    house.clock.forward(301)
    house.calls(30)
    house.rounds()
    assert not house.alerts.firing(house.root)
    assert len(house.alerts.history(house.root)) == 2


def test_refusals_of_made_up_people_fire_nothing(house: House, hooks: Webhooks) -> None:
    rule(house, hooks, "refusals")
    made_up = update(User).where(User.id == house.member.user_id).values(is_demo=True)
    house.db.write(lambda session: session.execute(made_up))
    values = {
        "minute": house.clock.now(), "tenant_id": house.member.tenant_id, "user_id": house.member.user_id,
        "tier": "free", "kind": "requests", "model": "m", "hits": 200,
    }  # fmt: skip
    house.db.write(lambda session: session.execute(insert(LimitHit).values(**values)))
    house.rounds()
    assert not house.alerts.firing(house.root)


def test_history_is_kept_for_a_year(house: House, hooks: Webhooks) -> None:
    rule(house, hooks)
    for _ in range(2):
        house.calls(10, "error")
        house.rounds()
        house.clock.forward(301)
        house.calls(10)
        house.rounds()
        house.clock.forward(200 * 86_400)
    house.rounds()
    assert len(house.alerts.history(house.root)) == 1


def test_alerts_that_are_over_make_no_look_slow(any_database: Database, settings: Settings) -> None:
    house = House(any_database, settings)
    common = {"tenant_id": "", "state": "recovered", "value": 1, "peak": 1, "threshold": 1, "details": {}}
    times = [house.clock.now() - timedelta(days=20, minutes=number) for number in range(20_000)]
    rows = [
        {"id": f"al{number}", "rule_id": f"r{number % 50}", "notified_at": at, "recovered_at": at, **common}
        for number, at in enumerate(times)
    ]
    house.db.write(lambda session: session.execute(insert(Alert), rows))
    statement = select(Alert.id).where(Alert.state.in_(("pending", "firing")))
    told = select(Alert.id).where(Alert.notified_at >= house.clock.now())
    for one in (statement, told):
        assert "ix_alerts" in plan(any_database, one)
    house.close()


def plan(database: Database, statement: Any) -> str:
    """How the database finds the rows."""
    words = str(statement.compile(database.engine, compile_kwargs={"literal_binds": True}))
    how = "EXPLAIN QUERY PLAN " if database.engine.dialect.name == "sqlite" else "EXPLAIN "
    with database.engine.connect() as connection:
        if database.engine.dialect.name != "sqlite":
            connection.execute(text("ANALYZE alerts"))
        return str([tuple(row) for row in connection.execute(text(how + words))])


# ---- rules that change, channels that come and go


def test_without_failover_a_provider_is_asked_again_at_the_next_look(house: House) -> None:
    made = Rule("P", "provider_error_rate", 10, 60, min_calls=5, failover=True)
    made = replace(made, id=house.alerts.save_rule(house.root, made))
    house.calls(10, "error")
    house.rounds()
    assert house.flags[0].now.degraded_providers == ("acme",)
    house.clock.forward(120)
    house.alerts.save_rule(house.root, replace(made, failover=False))
    house.rounds()
    assert house.flags[0].now.degraded_providers == ()


def test_a_rule_that_watches_something_else_ends_what_it_fired(house: House, hooks: Webhooks) -> None:
    made = Rule("P", "provider_error_rate", 10, 60, min_calls=5, failover=True)
    made = replace(made, id=house.alerts.save_rule(house.root, made))
    house.calls(10, "error")
    house.rounds()
    house.alerts.save_rule(house.root, replace(made, metric="timeout_rate", failover=False))
    assert not house.alerts.firing(house.root)
    assert house.alerts.history(house.root)[0].ended == "The rule was changed to watch something else."
    house.rounds()
    assert house.flags[0].now.degraded_providers == ()


def test_providers_that_are_put_aside_and_taken_back_stand_in_the_audit_log(house: House) -> None:
    made = Rule("P", "provider_error_rate", 10, 60, min_calls=5, failover=True)
    made_id = house.alerts.save_rule(house.root, made)
    house.calls(10, "error")
    house.rounds()
    house.alerts.delete_rule(house.root, made_id)
    house.rounds()
    entries = AuditLog(house.db).listed(house.root, Wanted(everywhere=True))
    assert [one.words for one in entries if one.action.startswith("provider.")] == [
        "The provider acme is asked as before", "An alert put the provider acme aside: it is asked last",
    ]  # fmt: skip
    assert not [one for one in entries if one.action == "flags.change"]


def test_a_person_sends_five_tests_a_minute_at_most(house: House, hooks: Webhooks) -> None:
    house.alerts.sender = Nobody()
    channel = house.hook(hooks.url())
    for _ in range(5):
        house.alerts.try_channel(house.root, channel)
    with pytest.raises(Conflict, match="within a minute"):
        house.alerts.try_channel(house.root, channel)
    own = house.alerts.add_channel(house.admin, "email", "", EMAIL_PUBLIC)
    house.alerts.try_channel(house.admin, own)


class Nobody(Sender):
    """Sends nothing, and says that it did."""

    def send(self, jobs: Sequence[tuple[Channel, Notice]]) -> list[Outcome]:
        """One outcome for each."""
        return [Outcome(True, "Sent.") for _ in jobs]


@pytest.mark.parametrize("end", ["delete", "disable"])
def test_what_fires_ends_in_silence_with_its_rule(house: House, hooks: Webhooks, end: str) -> None:
    made = rule(house, hooks)
    house.calls(10, "error")
    house.rounds()
    if end == "delete":
        house.alerts.delete_rule(house.root, made.id)
    else:
        house.alerts.save_rule(house.root, replace(made, enabled=False))
    house.rounds()
    assert not house.alerts.firing(house.root)
    assert hooks.words() == ["firing"]
    assert house.alerts.history(house.root)[0].state == "recovered"


def test_a_channel_that_is_added_while_it_fires_is_told(house: House, hooks: Webhooks) -> None:
    made = replace(rule(house, hooks), channels=())
    house.alerts.save_rule(house.root, made)
    house.calls(10, "error")
    house.rounds()
    assert hooks.got == []
    house.alerts.save_rule(house.root, replace(made, channels=(house.hook(hooks.url()),)))
    house.rounds()
    assert hooks.words() == ["firing"]


def test_a_notice_for_a_deleted_channel_is_given_up(house: House, hooks: Webhooks) -> None:
    made = rule(house, hooks)
    house.calls(10, "error")
    house.alerts.look(house.clock.now(), float("inf"))
    house.alerts.delete_channel(house.root, made.channels[0])
    house.rounds(2)
    [told] = house.alerts.firing(house.root)[0].told
    assert (told.state, told.words, told.channel) == ("failed", "The channel was deleted.", "a deleted channel")
    assert house.alerts.rules(house.root)[0].channels == ()


def test_a_notice_that_fails_is_tried_again_and_then_given_up(house: House, hooks: Webhooks) -> None:
    made = rule(house, hooks)
    house.alerts.save_rule(house.root, replace(made, channels=(house.hook(hooks.url("/status/503")),)))
    house.calls(10, "error")
    house.rounds()
    [told] = house.alerts.firing(house.root)[0].told
    assert (told.state, told.tries) == ("queued", 1)
    assert told.words == "The other side refused it with the status 503."
    for _ in range(50):
        house.calls(10, "error")
        house.rounds()
    [told] = house.alerts.firing(house.root)[0].told
    assert (told.state, told.tries, hooks.paths) == ("failed", 5, ["/status/503"] * 5)


def test_one_that_works_again_gets_its_notice_late(house: House, hooks: Webhooks) -> None:
    rule(house, hooks)
    house.calls(10, "error")
    house.alerts.look(house.clock.now(), float("inf"))
    first = house.alerts.claim(house.clock.now())
    house.alerts.record([(one, Outcome(False, "It could not be sent.")) for one in first], house.clock.now())
    assert not house.alerts.claim(house.clock.now())
    house.clock.forward(31)
    house.rounds()
    assert hooks.words() == ["firing"]


def test_the_defaults_are_made_once_and_a_deleted_one_stays_away(any_database: Database, settings: Settings) -> None:
    house = House(any_database, settings)
    for side in house.sides:
        side.ensure_defaults()
    found = house.alerts.rules(house.root)
    assert [one.metric for one in found] == [one.metric for one, _ in DEFAULTS]
    assert all(one.enabled and one.tenant_id == "" and not one.channels for one in found)
    house.alerts.delete_rule(house.root, found[0].id)
    house.sides[1].ensure_defaults()
    assert len(house.alerts.rules(house.root)) == len(DEFAULTS) - 1
    house.close()


def test_the_default_rules_take_up_the_channels_that_they_are_meant_for(database: Database, settings: Settings) -> None:
    house = House(database, settings)
    house.alerts.ensure_defaults()
    channel = house.alerts.add_channel(house.root, "email", "Ops", EMAIL, instance=True)
    assert [one.metric for one in house.alerts.rules(house.root) if channel in one.channels] == ["cost_per_hour"]
    house.alerts.delete_channel(house.root, channel)
    assert not any(one.channels for one in house.alerts.rules(house.root))
    house.close()


def test_every_default_rule_can_be_saved_as_it_is() -> None:
    assert [checked(one) for one, _ in DEFAULTS] == [one for one, _ in DEFAULTS]


# ---- who may


def test_a_member_sees_and_changes_nothing(house: House) -> None:
    calls: list[Callable[[], object]] = [
        lambda: house.alerts.rules(house.member),
        lambda: house.alerts.channels(house.member),
        lambda: house.alerts.firing(house.member),
        lambda: house.alerts.history(house.member),
        lambda: house.alerts.save_rule(house.member, Rule("r", "error_rate", 5, tenant_id=house.member.tenant_id)),
        lambda: house.alerts.delete_rule(house.member, "rule_1"),
        lambda: house.alerts.add_channel(house.member, "webhook", "", {"url": "https://example.com"}),
        lambda: house.alerts.delete_channel(house.member, "chan_1"),
        lambda: house.alerts.try_channel(house.member, "chan_1"),
    ]
    for call in calls:
        with pytest.raises(Forbidden):
            call()


def test_an_admin_keeps_nothing_of_the_instance_or_of_others(house: House, hooks: Webhooks) -> None:
    made = rule(house, hooks)
    house.calls(10, "error")
    house.rounds()
    assert (
        house.alerts.rules(house.admin) == house.alerts.channels(house.admin) == house.alerts.firing(house.admin) == []
    )
    with pytest.raises(Forbidden):
        house.alerts.save_rule(house.admin, made)
    with pytest.raises(Forbidden):
        house.alerts.add_channel(house.admin, "webhook", "", {"url": "https://example.com"}, instance=True)
    with pytest.raises(NotFound):
        house.alerts.delete_rule(house.admin, made.id)
    for call in (house.alerts.delete_channel, house.alerts.try_channel):
        with pytest.raises(NotFound):
            call(house.admin, made.channels[0])
    own = Rule("Own", "error_rate", 5, tenant_id=house.admin.tenant_id)
    own = replace(own, id=house.alerts.save_rule(house.admin, own))
    assert house.alerts.rules(house.stranger) == []
    with pytest.raises(Forbidden):
        house.alerts.save_rule(house.stranger, own)
    with pytest.raises(NotFound):
        house.alerts.save_rule(house.stranger, replace(own, tenant_id=house.stranger.tenant_id))
    with pytest.raises(NotFound, match="channel"):
        house.alerts.save_rule(house.admin, replace(own, channels=made.channels))


def test_an_operator_who_was_demoted_changes_nothing_more(house: House) -> None:
    house.db.write(
        lambda session: session.execute(update(User).where(User.id == house.root.user_id).values(role="member"))
    )
    with pytest.raises(Forbidden):
        house.alerts.save_rule(house.root, Rule("r", "error_rate", 5))


def test_each_act_is_in_the_audit_log_without_an_address(house: House, hooks: Webhooks) -> None:
    made = rule(house, hooks)
    house.alerts.try_channel(house.root, made.channels[0])
    house.alerts.delete_channel(house.root, made.channels[0])
    house.alerts.delete_rule(house.root, made.id)
    rows = house.db.read(lambda session: list(session.scalars(select(AuditEntry).order_by(AuditEntry.id))))
    assert [row.action for row in rows if row.action.startswith("alert")] == [
        "alert_channel.add", "alert_rule.save", "alert_channel.try", "alert_channel.remove", "alert_rule.delete",
    ]  # fmt: skip
    assert not any("127.0.0.1" in str(row.details) for row in rows)


def test_an_address_stands_nowhere_in_the_database(house: House, hooks: Webhooks) -> None:
    house.alerts.add_channel(
        house.root, "webhook", "W", {"url": "https://example.com/planted-secret-path"}, instance=True
    )
    rows = house.db.read(lambda session: list(session.scalars(select(AlertChannel))))
    assert [row.shown for row in rows] == ["example.com/…"]
    assert not any("planted-secret" in str(vars(row)) for row in rows)


def test_a_channel_that_was_copied_to_another_tenant_does_not_open(house: House, hooks: Webhooks) -> None:
    channel = house.hook(hooks.url())
    house.db.write(lambda session: session.execute(update(AlertChannel).values(tenant_id=house.stranger.tenant_id)))
    with pytest.raises(Conflict, match="does not open"):
        house.alerts.try_channel(house.stranger, channel)


def test_with_another_secret_key_a_channel_opens_after_it_was_rotated(house: House, hooks: Webhooks) -> None:
    channel = house.hook(hooks.url())
    renewed = Alerts(house.db, house.flags[0], replace(house.settings, secret_key="another one"))
    with pytest.raises(Conflict):
        renewed.try_channel(house.root, channel)
    settings = replace(house.settings, secret_key="another one")
    assert rotate_all(house.db, settings, house.settings.secret_key) == 1
    assert rotate_all(house.db, settings, house.settings.secret_key) == 0
    assert renewed.try_channel(house.root, channel).sent


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": ""}, "name"), ({"metric": "x"}, "watches"), ({"threshold": -1}, "threshold"),
        ({"threshold": float("nan")}, "threshold"), ({"window_seconds": 5}, "window"), ({"for_seconds": -1}, "hold"),
        ({"cooldown_seconds": 0}, "cool-down"), ({"min_calls": -1}, "calls"), ({"severity": "x"}, "one of"),
        ({"failover": True}, "provider"), ({"metric": "budget_share"}, "organisation"),
        ({"threshold": 5000}, "percent"),
        ({"metric": "provider_error_rate", "failover": True, "tenant_id": "t"}, "whole instance"),
    ],
)  # fmt: skip
def test_a_rule_that_makes_no_sense_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        checked(replace(Rule("r", "error_rate", 5), **values))


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [
        ("error_rate", 7.321, "7.3%"), ("error_rate", 5, "5.0%"), ("error_rate", 12.345, "12%"),
        ("error_rate", 0, "0%"), ("error_rate", 12.5, "12.5%"), ("error_rate", 2.25, "2.25%"),
        ("error_rate", 0.01, "<0.1%"), ("cost_per_hour", 1234.5, "$1,234.50 an hour"), ("latency_p95", 5.25, "5.25 s"),
        ("refusals", 40, "40 a minute"),
    ],
)  # fmt: skip
def test_values_are_said_in_their_unit(metric: str, value: float, said: str) -> None:
    assert words.amount(metric, value) == said


@pytest.mark.parametrize(
    ("metric", "window", "said"),
    [
        ("error_rate", 300, "12% of 50 calls failed in the last 5 minutes; the limit is 5.0%."),
        ("cost_per_hour", 3600, "In the last hour calls cost as much as $12.00 an hour; the limit is $5.00 an hour."),
        ("latency_p95", 86_400, "The slowest 5% of 50 calls took 12 s and more in the last day; the limit is 5 s."),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(metric: str, window: int, said: str) -> None:
    reading = readings.Reading("", 12, 50)
    assert words.broken(Rule("r", metric, 5, window), reading, 12) == said


def test_the_sql_store_is_left_as_it_was_by_pending_alerts_that_were_nothing(house: House, hooks: Webhooks) -> None:
    rule(house, hooks, for_seconds=600)
    house.calls(10, "error")
    house.rounds()
    house.clock.forward(400)
    house.calls(10)
    house.rounds()
    assert house.db.read(lambda session: list(session.scalars(select(Alert.id)))) == []
