"""Alerts on the admin page: what fires, rules and channels that are made, changed and deleted, and who sees which."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert
from streamlit.testing.v1 import AppTest

from chatcore.accounts import Principal
from chatcore.alerts.history import AlertInfo, Told
from chatcore.alerts.rules import Rule
from chatcore.db.tables import UsageMetric, utcnow
from chatcore.ids import new_id
from pages.ui import alert_parts, alert_rule_parts
from tests.pages.test_admin import labels, page
from tests.receivers import Webhooks, webhooks

TAB = "Alerts"


@pytest.fixture(scope="module")
def hooks() -> Iterator[Webhooks]:
    with webhooks() as server:
        yield server


@pytest.fixture
def root(house: Any) -> Principal:
    who: Principal = house.accounts.system_principal("root")
    return who


@pytest.fixture
def admin(house: Any) -> Principal:
    who: Principal = house.accounts.system_principal("admin")
    return who


def open_tab(house: Any, monkeypatch: pytest.MonkeyPatch, username: str = "root") -> AppTest:
    return page(house, monkeypatch, username, url=TAB)


def said(at: AppTest) -> str:
    """Everything that is drawn as text."""
    return "\n".join(one.value.replace("\\", "") for one in [*at.markdown, *at.caption, *at.error, *at.toast])


def fail(house: Any, who: Principal, count: int = 20) -> None:
    """Calls that fail now."""
    now = utcnow()
    row = {
        "created_at": now - timedelta(seconds=1), "settled_at": now, "outcome": "error", "tenant_id": who.tenant_id,
        "user_id": who.user_id, "purpose": "chat", "provider": "acme", "model": "m", "trace_id": "t",
    }  # fmt: skip
    rows = [{"id": new_id("use"), **row} for _ in range(count)]
    house.db.write(lambda session: session.execute(insert(UsageMetric), rows))


def look(house: Any) -> None:
    house.alerts.look(utcnow(), float("inf"))


def click(at: AppTest, key: str) -> AppTest:
    at.button(key=key).click().run()
    assert not at.exception
    return at


def test_an_operator_sees_the_default_rules_in_sentences(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = open_tab(house, monkeypatch)
    words = said(at)
    assert "No rule is broken." in words
    for sentence in (
        "Error rate above 5.0% in the last 5 minutes, of at least 10 calls → no channel, shown here only",
        "Timeouts above 2.0% in the last 5 minutes, of at least 20 calls",
        "Cost above $10.00 an hour in the last hour",
        "Total time, p95 above 5 s in the last 10 minutes",
        "A provider's error rate above 10% in the last 5 minutes",
    ):
        assert sentence in words
    assert "Nothing has fired yet." in words


def test_an_admin_sees_nothing_of_the_instance(house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal) -> None:
    fail(house, root)
    look(house)
    at = open_tab(house, monkeypatch, "admin")
    words = said(at)
    assert "There is no rule yet." in words
    assert "No rule is broken." in words
    assert "whole instance" not in words


def test_a_member_has_no_tab_of_alerts(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert TAB not in labels(page(house, monkeypatch, "bob", url=TAB))


def test_what_fires_is_shown_with_its_value_and_later_in_the_history(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    fail(house, root)
    look(house)
    words = said(open_tab(house, monkeypatch))
    assert "100% of 20 calls failed in the last 5 minutes; the limit is 5.0%." in words
    assert "acme: 100% of 20 calls failed" in words
    assert "asked last" in words
    for rule in house.alerts.rules(root):
        house.alerts.delete_rule(root, rule.id)
    at = open_tab(house, monkeypatch)
    frame = at.dataframe[0].value
    assert sorted(frame["Rule"]) == ["A provider fails", "Errors"]
    assert set(frame["Worst"]) == {"100%"}
    assert "No rule is broken." in said(at)


def test_an_admin_adds_a_rule_for_their_team(house: Any, monkeypatch: pytest.MonkeyPatch, admin: Principal) -> None:
    at = click(open_tab(house, monkeypatch, "admin"), "alert_rule_add")
    at.selectbox(key="alert-rule-metric").set_value("budget_share").run()
    at.text_input(key="alert-rule-name-budget_share-False").set_value("Nearly *spent*")
    at.number_input(key="alert-rule-threshold-budget_share-False").set_value(75.0)
    click(at, "alert_rule_save")
    [rule] = house.alerts.rules(admin)
    assert (rule.name, rule.metric, rule.threshold, rule.tenant_id) == (
        "Nearly *spent*", "budget_share", 75.0, admin.tenant_id,
    )  # fmt: skip
    assert "Budget spent above 75% → no channel" in said(open_tab(house, monkeypatch, "admin"))


def test_what_cannot_be_saved_is_said_in_the_dialog_and_what_was_typed_stays(
    house: Any, monkeypatch: pytest.MonkeyPatch, admin: Principal
) -> None:
    at = click(open_tab(house, monkeypatch, "admin"), "alert_rule_add")
    at.text_input(key="alert-rule-name-error_rate-False").set_value("  ")
    click(at, "alert_rule_save")
    assert "A rule has a name of at most 100 characters." in said(at)
    assert house.alerts.rules(admin) == []


def test_a_rule_is_changed_in_its_units(house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal) -> None:
    rule = house.alerts.rules(root)[-1]
    at = click(open_tab(house, monkeypatch), f"alert-rule-change-{rule.id}")
    at.number_input(key=f"alert-rule-threshold-{rule.id}").set_value(12.5)
    at.number_input(key=f"alert-rule-for-{rule.id}").set_value(2)
    at.number_input(key=f"alert-rule-pause-{rule.id}").set_value(20)
    at.selectbox(key=f"alert-rule-window-{rule.id}").set_value(600)
    at.toggle(key=f"alert-rule-failover-{rule.id}").set_value(False)
    at.toggle(key=f"alert-rule-on-{rule.id}").set_value(False)
    click(at, "alert_rule_save")
    changed = house.alerts.rules(root)[-1]
    assert changed == replace(
        rule, threshold=12.5, for_seconds=120, cooldown_seconds=1200, window_seconds=600, failover=False, enabled=False
    )


def test_a_time_that_is_no_whole_minute_stays_as_it_is(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    rule = Rule("Odd", "error_rate", 5, 90, for_seconds=45, cooldown_seconds=100)
    rule = replace(rule, id=house.alerts.save_rule(root, rule))
    at = click(open_tab(house, monkeypatch), f"alert-rule-change-{rule.id}")
    click(at, "alert_rule_save")
    assert next(one for one in house.alerts.rules(root) if one.id == rule.id) == rule


def test_deleting_a_rule_asks_first(house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal) -> None:
    rule = house.alerts.rules(root)[0]
    at = click(open_tab(house, monkeypatch), f"alert-rule-delete-{rule.id}")
    assert len(house.alerts.rules(root)) == 5
    click(at, "alert_rule_delete")
    assert rule.id not in [one.id for one in house.alerts.rules(root)]


def test_a_channel_is_added_tried_and_deleted(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal, hooks: Webhooks
) -> None:
    at = click(open_tab(house, monkeypatch), "alert_channel_add")
    at.selectbox(key="alert-channel-kind").set_value("webhook").run()
    at.text_input(key="alert-channel-webhook-url").set_value("nothing")
    click(at, "alert_channel_save")
    assert "A webhook is an address such as" in said(at)
    at.text_input(key="alert-channel-webhook-url").set_value(hooks.url("/planted"))
    click(at, "alert_channel_save")
    [channel] = house.alerts.channels(root)
    at = open_tab(house, monkeypatch)
    assert "planted" not in said(at)
    click(at, f"alert-channel-try-{channel.id}")
    assert "A test was sent." in said(at)
    assert hooks.words() == ["test"]
    click(at, f"alert-channel-delete-{channel.id}")
    assert house.alerts.channels(root) == [channel]
    click(at, "alert_channel_delete")
    assert house.alerts.channels(root) == []


def test_a_test_that_fails_says_why(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal, hooks: Webhooks
) -> None:
    channel = house.alerts.add_channel(root, "webhook", "W", {"url": hooks.url("/status/404")}, instance=True)
    at = click(open_tab(house, monkeypatch), f"alert-channel-try-{channel}")
    assert "The test was not sent. The other side refused it with the status 404." in said(at)


def test_a_teams_channel_inside_the_network_is_refused(
    house: Any, monkeypatch: pytest.MonkeyPatch, admin: Principal
) -> None:
    at = click(open_tab(house, monkeypatch, "admin"), "alert_channel_add")
    at.selectbox(key="alert-channel-kind").set_value("webhook").run()
    at.text_input(key="alert-channel-webhook-url").set_value("https://127.0.0.1/x")
    click(at, "alert_channel_save")
    assert "inside a private network" in said(at)
    assert house.alerts.channels(admin) == []


def test_every_kind_of_channel_has_its_fields(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = click(open_tab(house, monkeypatch), "alert_channel_add")
    for kind, count in (("slack", 1), ("email", 6), ("pagerduty", 1), ("webhook", 1)):
        at.selectbox(key="alert-channel-kind").set_value(kind).run()
        assert not at.exception
        assert len([one for one in at.text_input if str(one.key).startswith(f"alert-channel-{kind}-")]) == count


def test_the_flag_that_switches_failover_by_alerts_off_is_on_the_page(
    house: Any, monkeypatch: pytest.MonkeyPatch, root: Principal
) -> None:
    at = page(house, monkeypatch, "root", url="Flags")
    at.toggle(key="flag-auto_failover").set_value(False).run()
    assert not house.flags.now.auto_failover


# ---- words


def info(**more: Any) -> AlertInfo:
    now = utcnow()
    known: dict[str, Any] = {
        "id": "alert_1", "tenant_id": "", "rule_name": "R", "metric": "error_rate", "severity": "critical",
        "subject": "", "state": "firing", "value": 7.0, "peak": 9.0, "threshold": 5.0, "message": "m", "aside": "",
        "ended": "", "began_at": now, "fired_at": now, "recovered_at": None, "told": (),
    }  # fmt: skip
    return AlertInfo(**known | more)


def notice(state: str, channel: str = "Ops", words: str = "") -> Told:
    return Told("firing", channel, state, 1, utcnow(), words)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ((), "nobody was told"),
        ((notice("sent"), notice("sent"), notice("sent", "Slack")), "told Ops, Slack"),
        ((notice("queued"),), "to be sent to Ops"),
        ((notice("dropped"),), "over before anybody was told"),
        ((notice("sent"), notice("failed", "Slack", "It hangs.")), "told Ops; not sent to Slack: It hangs."),
    ],
)
def test_what_became_of_notices_is_said(told: tuple[Told, ...], words: str) -> None:
    assert alert_parts.told(info(told=told)) == words


def test_the_history_names_subjects_only_where_there_are_any() -> None:
    over = info(state="recovered", recovered_at=utcnow() + timedelta(minutes=5))
    assert "Of" not in alert_parts.history([over])
    frame = alert_parts.history([over, replace(over, subject="acme", ended="The rule was switched off or deleted.")])
    assert list(frame["Of"]) == ["", "acme"]
    assert list(frame["Lasted"]) == ["5 minutes", "5 minutes"]
    assert frame["Notices"][1] == "The rule was switched off or deleted."


def test_a_metric_that_this_version_does_not_know_is_shown_as_a_number() -> None:
    assert list(alert_parts.history([info(metric="gone")])["Worst"]) == ["9"]


def test_a_rule_is_a_sentence() -> None:
    assert alert_rule_parts.sentence(Rule("r", "error_rate", 5, 300, for_seconds=120, min_calls=1)) == (
        "Error rate above 5.0% in the last 5 minutes, of at least 1 call, for 2 minutes"
    )
    assert alert_rule_parts.sentence(Rule("r", "refusals", 5.5, 3600)) == "Refusals above 5.5 a minute in the last hour"
