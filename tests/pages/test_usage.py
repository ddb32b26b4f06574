"""The usage page: whose numbers it shows, what its URL means, and what it says when there is nothing to show."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import streamlit as st
from sqlalchemy import insert, select
from sqlalchemy.exc import OperationalError
from streamlit.testing.v1 import AppTest

from chatcore.accounts.principal import Principal, Role
from chatcore.conversations.ratings import Ratings
from chatcore.db import Database
from chatcore.db.tables import Tenant, UsageMetric, User, utcnow
from chatcore.ids import new_id
from chatcore.usage import Usage, demo_data
from pages.ui import filters

PAGE = Path(__file__).parents[2] / "pages" / "usage.py"
TODAY = date(2026, 10, 8)


class Stage:
    """A database with one tenant, and whoever sits before the page."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.principal = Principal("user_ann", "tenant_a", "ann", "Ann", "admin")

    def ask(self, role: Role, user_id: str = "user_ann") -> None:
        self.principal = Principal(user_id, "tenant_a", user_id, user_id, role)

    def call(self, **values: object) -> None:
        row = {
            "id": new_id("use"), "created_at": utcnow() - timedelta(seconds=1), "tenant_id": "tenant_a",
            "user_id": "user_ann", "purpose": "chat", "provider": "acme", "model": "m1", "outcome": "ok",
            "prompt_tokens": 100, "completion_tokens": 50, "usage_source": "provider", "cost_nano_usd": 4_200_000,
            "trace_id": "t",
        } | values  # fmt: skip
        self.db.write(lambda session: session.execute(insert(UsageMetric), [row]))

    def open(self, **params: str | list[str]) -> AppTest:
        page = AppTest.from_file(str(PAGE), default_timeout=30)
        for name, value in params.items():
            page.query_params[name] = value
        return page.run()


@pytest.fixture
def stage(database: Database, monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage(database)
    users = [
        {"id": f"user_{name}", "tenant_id": "tenant_a", "username": name, "name": name.title(), "role": "member"}
        for name in ("ann", "bob")
    ]
    database.write(lambda session: session.execute(insert(Tenant), [{"id": "tenant_a", "name": "A"}]))
    database.write(lambda session: session.execute(insert(User), users))
    core = SimpleNamespace(usage=Usage(database), ratings=Ratings(database))
    monkeypatch.setattr("chatcore.bootstrap._core", core)
    monkeypatch.setattr("pages.ui.session.require_principal", lambda: stage.principal)
    st.cache_data.clear()
    return stage


def texts(page: AppTest) -> str:
    return "\n".join(one.value for kind in ("markdown", "caption", "error") for one in page.get(kind))


def metric(page: AppTest, label: str) -> str:
    return next(one.value for one in page.metric if one.label == label)


def test_nothing_yet_says_what_to_do(stage: Stage) -> None:
    page = stage.open()
    assert not page.exception
    assert "No calls in this range" in texts(page)
    assert "python -m chatcore demo-data" in texts(page)
    assert not page.metric
    stage.ask("member")
    assert "demo-data" not in texts(stage.open())


def test_nothing_in_this_range_points_at_the_filters(stage: Stage) -> None:
    stage.call(created_at=utcnow() - timedelta(days=60))
    assert "Choose a longer range" in texts(stage.open(range="7d"))
    assert metric(stage.open(range="90d"), "Calls") == "1"


def test_ninety_demo_days_fill_the_page(stage: Stage) -> None:
    demo_data.make(stage.db, "tenant_a", days=90, rows=2000)
    page = stage.open(range="90d")
    assert not page.exception
    assert metric(page, "Calls") == "2.00k"
    assert len(page.get("plotly_chart")) == 3
    assert len(page.dataframe[0].value) == 8
    assert "calls of demo data" in texts(page)
    assert "without a known price" in texts(page)
    assert "with estimated tokens" in texts(page)


def test_a_member_sees_their_own_an_admin_everybodys(stage: Stage) -> None:
    stage.call()
    stage.call(user_id="user_bob", model="bobs-model")
    assert metric(stage.open(), "Calls") == "2"
    assert [one.key for one in stage.open().multiselect] == ["usage_models", "usage_people"]
    stage.ask("member", "user_bob")
    page = stage.open()
    assert metric(page, "Calls") == "1"
    assert page.dataframe[0].value["model"].tolist() == ["bobs-model"]
    assert [one.key for one in page.multiselect] == ["usage_models"]


def test_a_member_naming_another_in_the_url_still_sees_their_own(stage: Stage) -> None:
    stage.call(model="anns-model")
    stage.call(user_id="user_bob", model="bobs-model")
    stage.ask("member", "user_bob")
    page = stage.open(person="user_ann", model="anns-model")
    assert page.dataframe[0].value["model"].tolist() == ["bobs-model"]
    assert "person" not in page.query_params
    assert "model" not in page.query_params


def test_the_url_sets_the_widgets(stage: Stage) -> None:
    for model in ("m1", "m2", "m3"):
        stage.call(model=model)
    stage.call(user_id="user_bob")
    page = stage.open(range="7d", model=["m1", "m3"], person="user_ann")
    assert page.session_state["usage_range"] == "7d"
    assert page.multiselect(key="usage_models").value == ["m1", "m3"]
    assert page.multiselect(key="usage_people").value == ["user_ann"]
    assert metric(page, "Calls") == "2"


def test_the_widgets_set_the_url_and_lose_no_click(stage: Stage) -> None:
    stage.call()
    page = stage.open()
    assert "range" not in page.query_params
    for name in ("7d", "custom", "90d", "month", "7d"):
        page.button_group(key="usage_range").set_value(name).run()
        assert page.session_state["usage_range"] == name
    assert page.query_params["range"] == "7d"
    page.multiselect(key="usage_models").set_value(["m1"]).run()
    assert (page.query_params["model"], page.query_params["range"]) == ("m1", "7d")
    page.multiselect(key="usage_models").set_value([]).run()
    assert "model" not in page.query_params


def test_going_back_in_the_browser_goes_back_in_the_filters(stage: Stage) -> None:
    stage.call()
    page = stage.open(range="7d")
    page.query_params["range"] = "90d"
    page.run()
    assert page.session_state["usage_range"] == "90d"


def test_an_unknown_cost_is_not_drawn_as_zero(stage: Stage) -> None:
    stage.call(cost_nano_usd=None)
    page = stage.open()
    assert metric(page, "Cost") == "unknown"
    assert "1 call without a known price" in texts(page)
    assert len(page.get("plotly_chart")) == 1
    stage.call()
    st.cache_data.clear()
    assert metric(stage.open(), "Cost") == "$0.0042"


def test_what_the_cache_saved_is_shown(stage: Stage) -> None:
    stage.call(cost_nano_usd=7_000_000)
    assert "cache" not in texts(stage.open())
    stage.call(outcome="cached", cost_nano_usd=0, cache_hit=True, saved_nano_usd=3_000_000)
    st.cache_data.clear()
    assert "1 call from the cache, \\$0.0030 saved (30%)" in texts(stage.open())


def test_replies_without_a_price_saved_nobody_knows_how_much(stage: Stage) -> None:
    stage.call(cost_nano_usd=None)
    for _ in range(2):
        stage.call(outcome="cached", cost_nano_usd=None, cache_hit=True)
    assert "2 calls from the cache]" in texts(stage.open())


def test_the_change_is_against_the_range_before(stage: Stage) -> None:
    stage.call(cost_nano_usd=3_000_000_000)
    stage.call(cost_nano_usd=2_000_000_000, created_at=utcnow() - timedelta(days=7, seconds=1))
    cost = next(one for one in stage.open(range="7d").metric if one.label == "Cost")
    assert (cost.value, cost.delta) == ("$3.00", "+50%")


def test_the_calls_behind_the_numbers(stage: Stage) -> None:
    stage.call(outcome="error", error_type="provider_down", usage_source="none")
    page = stage.open()
    page.session_state["usage_calls"] = True
    page.run()
    assert page.dataframe[1].value["outcome"].tolist() == ["error (provider_down)"]
    assert page.dataframe[1].value["person"].tolist() == ["Ann"]


def test_names_stay_text(stage: Stage) -> None:
    stage.call(model="<img src=x onerror=alert(1)>")
    page = stage.open()
    assert not page.exception
    assert "<img" not in "".join(one.proto.body for one in page.get("html"))
    assert "<img" not in "".join(one.proto.spec for one in page.get("plotly_chart"))


def test_a_database_that_does_not_answer_is_one_sentence(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_work: object) -> None:
        raise OperationalError("SELECT secret FROM users", {}, Exception("disk I/O error"))

    monkeypatch.setattr(stage.db, "read", broken)
    page = stage.open()
    assert not page.exception
    assert [one.value for one in page.error] == ["The usage numbers cannot be read just now. Try again in a moment."]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("7d", date(2026, 10, 2), TODAY),
        ("month", date(2026, 10, 1), TODAY),
        ("2026-09-01..2026-09-03", date(2026, 9, 1), date(2026, 9, 3)),
        ("2026-09-03..2026-09-01", date(2026, 9, 1), date(2026, 9, 3)),
        ("2026-10-01..2027-01-01", date(2026, 10, 1), TODAY),
        ("1970-01-01..2026-10-08", date(2025, 10, 8), TODAY),
        *(
            (bad, date(2026, 9, 9), TODAY)
            for bad in ("", "custom", "x", "-1d", "2026-13-01..2026-01-01", "a..b..c", "９d")
        ),
    ],
)
def test_ranges_in_the_url(text: str, first: date, last: date) -> None:
    choice = filters.parse({"range": [text]}, [], [], TODAY)
    assert choice.days(TODAY) == (first, last)
    assert choice.filter(TODAY).start == datetime.combine(first, datetime.min.time(), UTC)
    assert filters.parse(choice.params(), [], [], TODAY) == choice


def test_stored_rows_are_what_the_page_counts(stage: Stage) -> None:
    """The table's sums are those of the rows in the database, added up here."""
    demo_data.make(stage.db, "tenant_a", days=7, rows=300)
    table = stage.open(range="7d").dataframe[0].value
    rows = stage.db.read(lambda session: session.scalars(select(UsageMetric)).all())
    assert table["calls"].sum() == len(rows)
    assert int(table["cost_nano_usd"].sum()) == sum(row.cost_nano_usd or 0 for row in rows)
    assert table["prompt_tokens"].sum() == sum(row.prompt_tokens for row in rows)
