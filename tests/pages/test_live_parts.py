"""The live panel: what it says when nothing happens, when much does, and to whom."""

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from chatcore.accounts import Principal
from chatcore.db import Database
from chatcore.errors import DatabaseError
from chatcore.gateway import Health
from chatcore.usage import Usage
from chatcore.usage.live import Live
from tests.conftest import add_person
from tests.usage.test_live import begin, call, refuse, say


def script() -> None:
    from pages.ui import live_parts
    from pages.ui.session import require_principal

    live_parts.draw(require_principal())


class Stage:
    """The panel before somebody, over a real database."""

    def __init__(self, database: Database) -> None:
        self.db = database
        self.live = Live(database)
        self.who: Principal | None = add_person(database, "ada", role="admin")
        self.health: list[Health] = []
        self.alerts: list[Any] = []

    def open(self) -> AppTest:
        return AppTest.from_function(script, default_timeout=30).run()


@pytest.fixture
def stage(database: Database, monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage(database)
    st.cache_data.clear()
    gateway = SimpleNamespace(health=lambda: stage.health)
    alerts = SimpleNamespace(firing=lambda who: stage.alerts)
    core = SimpleNamespace(live=stage.live, gateway=gateway, usage=Usage(database), alerts=alerts)
    monkeypatch.setattr("chatcore.bootstrap._core", core)
    monkeypatch.setattr(st, "page_link", lambda page, label, **more: st.caption(f"{label} {more['query_params']}"))
    monkeypatch.setattr("pages.ui.session.current_principal", lambda: stage.who)
    return stage


def again(page: AppTest) -> AppTest:
    st.cache_data.clear()
    return page.run()


def cards(page: AppTest) -> dict[str, str]:
    assert not page.exception
    return {metric.label: metric.value for metric in page.metric}


def shown(page: AppTest) -> str:
    return " ".join(str(one.value) for one in [*page.caption, *page.markdown])


def test_nothing_happens(stage: Stage) -> None:
    page = stage.open()
    assert cards(page) == {
        "Replies running": "0", "Words a second": "–", "Refused": "0", "Calls a minute": "0",
        "Tokens a minute": "0", "Cost a minute": "$0", "Failed calls": "–",
    }  # fmt: skip
    assert "Nothing is being answered" in shown(page)
    assert "No call has failed" in shown(page)
    assert not page.dataframe


def test_what_runs_fails_and_is_refused_stands_there(stage: Stage) -> None:
    assert stage.who is not None
    begin(stage.db, stage.who, "gpt")
    for outcome in ("ok", "ok", "ok", "timeout"):
        call(stage.db, stage.who, outcome=outcome, error_type="timeout" if outcome == "timeout" else None)
    refuse(stage.db, stage.who, "requests", 2)
    page = stage.open()
    found = cards(page)
    assert (found["Replies running"], found["Failed calls"], found["Refused"]) == ("1", "25%", "2")
    running, failures = (frame.value for frame in page.dataframe)
    assert running.to_dict("records") == [{"model": "gpt", "replies": 1}]
    assert list(failures["what"]) == ["timeout"]
    assert failures["trace_id"][0].startswith("trace_")
    said = next(metric for metric in page.metric if metric.label == "Refused").help
    assert "2 by requests" in said


def test_words_a_second_come_with_the_second_look(stage: Stage) -> None:
    assert stage.who is not None
    turn = begin(stage.db, stage.who)
    page = stage.open()
    assert cards(page)["Words a second"] == "–"
    say(stage.db, stage.who, turn, "some words that were said meanwhile ")
    assert cards(again(page))["Words a second"] not in ("–", "0")


def test_calls_without_a_price_are_said_where_they_are_missing(stage: Stage) -> None:
    assert stage.who is not None
    call(stage.db, stage.who, cost_nano_usd=None)
    page = stage.open()
    assert "Without 1 calls" in next(metric for metric in page.metric if metric.label == "Cost a minute").help


def test_a_longer_time_is_chosen_and_kept(stage: Stage) -> None:
    assert stage.who is not None
    call(stage.db, stage.who, timedelta(minutes=30), outcome="error")
    page = stage.open()
    assert cards(page)["Failed calls"] == "–"
    page.button_group(key="live_window").set_value(60)
    assert cards(again(page))["Failed calls"] == "100%"
    assert cards(again(page))["Failed calls"] == "100%"


def test_a_member_sees_only_their_own(stage: Stage) -> None:
    assert stage.who is not None
    begin(stage.db, stage.who, "model-of-ada")
    call(stage.db, stage.who, outcome="error", model="model-of-ada")
    stage.who = add_person(stage.db, "bob")
    page = stage.open()
    assert cards(page)["Replies running"] == "0"
    assert not page.dataframe
    assert "Only what is yours" in shown(page)


def test_what_somebody_else_saw_in_this_tab_is_forgotten(stage: Stage) -> None:
    assert stage.who is not None
    page = stage.open()
    stage.who = add_person(stage.db, "eve", tenant="Other", role="admin")
    say(stage.db, stage.who, begin(stage.db, stage.who), "words of another ")
    assert cards(again(page))["Words a second"] == "–"


def bad(deployment: str, key: str, state: Any, word: Any = None) -> Health:
    return Health(deployment, key, state, word, 5, None, "timeout", None, None, 9, 5)


@pytest.mark.parametrize(("role", "sees"), [("member", False), ("admin", False), ("operator", True)])
def test_breakers_are_the_operators_business(stage: Stage, role: Any, sees: bool) -> None:
    stage.who = add_person(stage.db, "root", role=role)
    stage.health = [
        bad("gpt#1", "shared", "open"), bad("gpt#2", "shared", "closed"), bad("gpt#1", "pkey_secret", "trial")
    ]  # fmt: skip
    page = stage.open()
    assert ("Paused deployments" in shown(page)) is sees
    assert "pkey_secret" not in str([frame.value.to_dict() for frame in page.dataframe])
    if sees:
        frame = page.dataframe[0].value
        assert list(frame["deployment"]) == ["gpt#1", "gpt#1"]
        assert list(frame["key"]) == ["shared", "somebody's own"]
        assert list(frame["state"]) == ["paused after failures", "on trial"]


def test_a_failure_opens_its_call_again_and_again(stage: Stage) -> None:
    assert stage.who is not None
    call(stage.db, stage.who, outcome="error", error_type="provider_down", trace_id="trace-of-the-failed-call")
    page = stage.open()
    assert "trace\\-of" not in shown(page)
    failure = stage.live.hour(stage.who).failures[0]
    for _ in range(2):
        page.session_state["live_call"] = failure.call_id
        page = again(page)
        assert not page.exception
        assert "provider\\_down" in shown(page)
        assert "trace-of-the-failed-call" in "".join(one.proto.body for one in page.get("html"))
        assert "live_call" not in page.session_state
        assert "trace-of" not in "".join(one.proto.body for one in again(page).get("html"))


def test_what_fires_is_a_line_for_admins_with_a_way_to_the_alerts(stage: Stage) -> None:
    def alert(name: str, state: str = "firing") -> Any:
        return SimpleNamespace(rule_name=name, state=state)

    assert "Firing" not in shown(stage.open())
    stage.alerts = [
        alert("Slow *replies*"),
        alert("Later", "pending"),
        *(alert(f"Rule {number}") for number in range(4)),
    ]
    told = shown(again(stage.open()))
    assert "Firing] Slow \\*replies\\*, Rule 0, Rule 1 and 2 more" in told
    assert "Alerts {'tab': 'Alerts'}" in told
    stage.who = add_person(stage.db, "bob")
    assert "Firing" not in shown(again(stage.open()))


def test_a_database_that_is_away_is_a_sentence_and_the_panel_comes_back(stage: Stage) -> None:
    def away(*_: object) -> None:
        raise DatabaseError("The database does not answer right now.")

    now: Callable[..., Any] = stage.live.now
    stage.live.now = away  # type: ignore[assignment, method-assign]
    page = stage.open()
    assert [error.value for error in page.error] == ["The database does not answer right now."]
    stage.live.now = now  # type: ignore[method-assign]
    assert cards(again(page))["Replies running"] == "0"


def test_signed_out_it_shows_nothing(stage: Stage) -> None:
    page = stage.open()
    stage.who = None
    page = again(page)
    assert not page.metric
    assert "signed out" in page.info[0].value
