"""The usage page: whose numbers it shows, what its URL means, and what each tab says."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
import streamlit as st
from sqlalchemy import insert, select, update
from sqlalchemy.exc import OperationalError
from streamlit.testing.v1 import AppTest

from chatcore.accounts.principal import Principal, Role
from chatcore.conversations.ratings import Ratings
from chatcore.db import Database
from chatcore.db.tables import Budget, LimitHit, Tenant, UsageMetric, User, utcnow
from chatcore.gateway import Health
from chatcore.ids import new_id
from chatcore.usage import Usage, demo_data, zones
from pages.ui import filters, usage_parts

PAGE = Path(__file__).parents[2] / "pages" / "usage.py"
TODAY = date(2026, 10, 8)
TABS = ("Spend", "Tokens", "Speed", "Reliability", "Cache", "Adoption")
Params = str | list[str]


class Stage:
    """A database with two tenants, and whoever sits before the page."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.principal = Principal("user_ann", "tenant_a", "ann", "Ann", "admin")
        self.health: list[Health] = []

    def ask(self, role: Role, user_id: str = "user_ann", tenant_id: str = "tenant_a") -> None:
        self.principal = Principal(user_id, tenant_id, user_id, user_id, role)

    def call(self, **values: object) -> None:
        row = {
            "id": new_id("use"), "created_at": utcnow() - timedelta(seconds=1), "tenant_id": "tenant_a",
            "user_id": "user_ann", "purpose": "chat", "provider": "acme", "model": "m1", "outcome": "ok",
            "prompt_tokens": 100, "completion_tokens": 50, "usage_source": "provider", "cost_nano_usd": 4_200_000,
            "trace_id": "t", "ttft_ms": 400, "latency_ms": 2400,
        } | values  # fmt: skip
        self.db.write(lambda session: session.execute(insert(UsageMetric), [row]))

    def open(self, **params: Params) -> AppTest:
        page = AppTest.from_file(str(PAGE), default_timeout=30)
        for name, value in params.items():
            page.query_params[name] = value
        return page.run()


@pytest.fixture
def stage(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage(database)
    users = [
        {"id": f"user_{name}", "tenant_id": f"tenant_{tenant}", "username": name, "name": name.title(),
         "role": "member", "team": team}
        for name, tenant, team in (("ann", "a", "Red"), ("bob", "a", None), ("eve", "b", None))
    ]  # fmt: skip
    tenants = [{"id": "tenant_a", "name": "A"}, {"id": "tenant_b", "name": "B"}]
    database.write(lambda session: session.execute(insert(Tenant), tenants))
    database.write(lambda session: session.execute(insert(User), users))
    gateway = SimpleNamespace(health=lambda: stage.health)
    core = SimpleNamespace(usage=Usage(database), ratings=Ratings(database), gateway=gateway)
    monkeypatch.setattr("chatcore.bootstrap._core", core)
    monkeypatch.setattr("pages.ui.session.current_principal", lambda: stage.principal)
    st.cache_data.clear()
    yield stage
    st.cache_data.clear()


def texts(page: AppTest) -> str:
    return "\n".join(one.value for kind in ("markdown", "caption", "error", "info") for one in page.get(kind))


def metric(page: AppTest, label: str) -> str:
    return next(one.value for one in page.metric if one.label == label)


def test_the_title_says_whose_numbers_they_are(stage: Stage) -> None:
    assert stage.open().title[0].value == "Usage"
    stage.ask("member")
    assert stage.open().title[0].value == "Your usage"


def test_the_bill_is_for_admins(stage: Stage) -> None:
    assert [tab.label for tab in stage.open().tabs] == [*TABS, "Now", "Bill"]
    stage.ask("member")
    assert [tab.label for tab in stage.open().tabs] == [*TABS, "Now"]


@pytest.mark.parametrize("tab", TABS)
def test_nothing_yet_says_what_to_do(stage: Stage, tab: str) -> None:
    page = stage.open(tab=tab)
    assert not page.exception
    assert "No calls in this range" in texts(page)
    assert "python -m chatcore demo-data" in texts(page)
    assert not page.metric
    stage.ask("member")
    assert "demo-data" not in texts(stage.open(tab=tab))


@pytest.mark.parametrize("role", ["member", "admin", "operator"])
@pytest.mark.parametrize("tab", TABS)
def test_ninety_demo_days_fill_every_tab(stage: Stage, tab: str, role: Role) -> None:
    demo_data.make(stage.db, "tenant_a", days=90, rows=600)
    someone = stage.db.read(lambda session: session.scalars(select(UsageMetric.user_id).limit(1)).one())
    stage.ask(role, someone if role == "member" else "user_ann")
    page = stage.open(tab=tab, range="90d")
    assert not page.exception
    assert not page.error
    assert len(page.metric) == (6 if tab == "Adoption" and role != "member" else 5)
    assert page.dataframe or tab == "Cache"
    assert "tab" in page.query_params or tab == "Spend"


@pytest.mark.parametrize("tab", TABS)
def test_doubts_stand_on_every_total_that_contains_them(stage: Stage, tab: str) -> None:
    stage.call(cost_nano_usd=None, outcome="running", usage_source="none")
    stage.call(cost_nano_usd=None, is_demo=True)
    stage.call(usage_source="estimated")
    told = texts(stage.open(tab=tab))
    assert "1 call without a known price" in told
    assert "1 call with estimated tokens" in told
    assert "1 call still running" in told
    assert "1 call of demo data" in told


def test_nothing_in_this_range_points_at_the_filters(stage: Stage) -> None:
    stage.call(created_at=utcnow() - timedelta(days=60))
    assert "Choose a longer range" in texts(stage.open(range="7d"))
    assert metric(stage.open(range="90d"), "Calls") == "1"


def test_a_member_sees_their_own_an_admin_everybodys(stage: Stage) -> None:
    stage.call()
    stage.call(user_id="user_bob", model="bobs-model")
    page = stage.open()
    assert metric(page, "Calls") == "2"
    assert "usage_person" in [one.key for one in page.multiselect]
    stage.ask("member", "user_bob")
    page = stage.open()
    assert metric(page, "Calls") == "1"
    assert page.dataframe[0].value["Model"].tolist() == ["bobs-model"]
    assert [one.key for one in page.multiselect] == ["usage_model"]


@pytest.mark.parametrize("tab", TABS)
def test_a_member_naming_another_in_the_url_still_sees_their_own(stage: Stage, tab: str) -> None:
    stage.call(model="anns-model")
    stage.call(user_id="user_bob", model="bobs-model")
    stage.ask("member", "user_bob")
    page = stage.open(tab=tab, person="user_ann", model="anns-model", by="user")
    assert not page.exception
    assert "person" not in page.query_params
    assert "model" not in page.query_params
    assert "by" not in page.query_params
    for table in page.dataframe:
        assert "anns-model" not in str(table.value.to_dict())
        assert "Ann" not in str(table.value.to_dict())


def test_a_filter_of_what_is_not_known_is_told_until_the_filters_change(stage: Stage) -> None:
    stage.call()
    page = stage.open(model=["m1", "gpt-gone"], person="user_eve", provider="acme")
    assert "“gpt\\-gone”, “user\\_eve”" in page.warning[0].value
    assert "acme" not in page.warning[0].value, "there is no other provider to leave out"
    page.selectbox(key="usage_step").set_value("day").run()
    assert not page.warning
    assert not stage.open(model="m1").warning


@pytest.mark.parametrize("person", ["user_ann", "user_eve", "nobody"])
def test_people_who_are_not_theirs_are_told_as_those_who_never_were(stage: Stage, person: str) -> None:
    stage.call()
    stage.call(user_id="user_bob")
    stage.ask("member", "user_bob")
    told = stage.open(person=person).warning[0].value
    assert told.replace("user\\_ann", "x").replace("user\\_eve", "x").replace("nobody", "x") == (
        "Nothing is known here of “x”: filtering by that was left out, and all else counts."
    )


@pytest.mark.parametrize("tab", TABS)
def test_a_member_setting_widgets_to_another_still_sees_their_own(stage: Stage, tab: str) -> None:
    stage.call(model="anns-model")
    stage.call(user_id="user_bob", model="bobs-model")
    stage.ask("member", "user_bob")
    page = stage.open(tab=tab)
    page.session_state["usage_person"] = ["user_ann"]
    page.session_state["usage_team"] = ["Red"]
    page.session_state["usage_model"] = ["anns-model"]
    page.session_state["usage_by"] = "user"
    page.run()
    assert "anns-model" not in str([table.value.to_dict() for table in page.dataframe])
    assert "Ann" not in str([table.value.to_dict() for table in page.dataframe])


@pytest.mark.parametrize("tab", TABS)
def test_the_admin_of_another_tenant_sees_nothing_of_this_one(stage: Stage, tab: str) -> None:
    stage.call(model="anns-model")
    stage.ask("admin", "user_eve", "tenant_b")
    page = stage.open(tab=tab, person="user_ann", model="anns-model")
    assert "No calls in this range" in texts(page)
    assert "person" not in page.query_params
    stage.call(tenant_id="tenant_b", user_id="user_eve", model="eves-model")
    st.cache_data.clear()
    page = stage.open(tab=tab)
    assert "anns-model" not in str([table.value.to_dict() for table in page.dataframe])


def test_two_people_share_no_cached_answer(stage: Stage) -> None:
    """The same question within seconds, by three people: each gets their own."""
    stage.call()
    stage.call(user_id="user_bob")
    assert metric(stage.open(), "Calls") == "2"
    stage.ask("member", "user_bob")
    assert metric(stage.open(), "Calls") == "1"
    stage.ask("admin", "user_eve", "tenant_b")
    assert "No calls in this range" in texts(stage.open())


def test_the_url_sets_the_widgets(stage: Stage) -> None:
    for model in ("m1", "m2", "m3"):
        stage.call(model=model)
    stage.call(user_id="user_bob", provider="other")
    page = stage.open(range="7d", model=["m1", "m3"], person="user_ann", provider="acme", step="hour", by="provider")
    assert page.session_state["usage_range"] == "7d"
    assert page.session_state["usage_step"] == "hour"
    assert page.multiselect(key="usage_model").value == ["m1", "m3"]
    assert page.multiselect(key="usage_person").value == ["user_ann"]
    assert page.multiselect(key="usage_provider").value == ["acme"]
    assert metric(page, "Calls") == "2"
    assert page.dataframe[0].value.columns[0] == "Provider"
    assert "m1\\, m3" in texts(page)


def test_the_widgets_set_the_url_and_lose_no_click(stage: Stage) -> None:
    stage.call()
    page = stage.open()
    assert "range" not in page.query_params
    for name in ("7d", "custom", "90d", "month", "24h", "7d"):
        page.selectbox(key="usage_range").set_value(name).run()
        assert page.session_state["usage_range"] == name
    assert page.query_params["range"] == "7d"
    page.multiselect(key="usage_model").set_value(["m1"]).run()
    assert (page.query_params["model"], page.query_params["range"]) == ("m1", "7d")
    page.multiselect(key="usage_model").set_value([]).run()
    assert "model" not in page.query_params
    page.selectbox(key="usage_step").set_value("hour").run()
    assert page.query_params["step"] == "hour"
    page.selectbox(key="usage_range").set_value("90d").run()  # which cannot be drawn by the hour
    assert "step" not in page.query_params
    assert not page.exception


def test_the_open_tab_and_what_is_not_ours_stay_in_the_url(stage: Stage) -> None:
    stage.call()
    page = stage.open(tab="Speed", range="x", model="gone", theirs="1")
    assert page.query_params["tab"] == "Speed"
    assert page.query_params["theirs"] == "1"
    assert "range" not in page.query_params
    page.multiselect(key="usage_model").set_value(["m1"]).run()
    assert page.query_params["tab"] == "Speed"
    assert page.session_state["tab"] == "Speed"


def test_filters_that_are_folded_away_are_told_and_cleared_at_once(stage: Stage) -> None:
    stage.call()
    page = stage.open(model="m1", provider="acme")
    assert "Only" in texts(page)
    page.button(key="usage_clear").click().run()
    assert "model" not in page.query_params
    assert "Only" not in texts(page)


def test_going_back_in_the_browser_goes_back_in_the_filters(stage: Stage) -> None:
    stage.call()
    page = stage.open(range="7d")
    page.query_params["range"] = "90d"
    page.run()
    assert page.session_state["usage_range"] == "90d"


@pytest.mark.parametrize("tab", TABS)
def test_twenty_years_are_drawn_by_the_month(stage: Stage, tab: str) -> None:
    stage.call()
    page = stage.open(tab=tab, range=f"2006-01-01..{utcnow():%Y-%m-%d}")
    assert not page.exception
    assert not page.error
    assert len(page.metric) == (6 if tab == "Adoption" else 5)


def test_an_unknown_cost_is_not_drawn_as_zero(stage: Stage) -> None:
    stage.call(cost_nano_usd=None)
    page = stage.open()
    assert metric(page, "Cost") == "unknown"
    assert "1 call without a known price" in texts(page)
    assert not page.get("plotly_chart")
    stage.call()
    st.cache_data.clear()
    assert metric(stage.open(), "Cost") == "$0.0042"


def test_what_the_cache_saved_is_shown(stage: Stage) -> None:
    stage.call(cost_nano_usd=7_000_000)
    assert "No earlier reply served" in texts(stage.open(tab="Cache"))
    stage.call(outcome="cached", cost_nano_usd=0, cache_hit=True, saved_nano_usd=3_000_000, latency_ms=12)
    st.cache_data.clear()
    page = stage.open(tab="Cache")
    assert metric(page, "Saved") == "$0.0030"
    assert metric(page, "Share saved") == "30%"
    assert metric(page, "Hit rate") == "50%"
    assert metric(page, "A hit takes") == "12 ms"
    assert metric(stage.open(), "Cache saved") == "$0.0030"


def test_every_change_is_against_the_range_before(stage: Stage) -> None:
    stage.call(cost_nano_usd=3_000_000_000)
    stage.call(cost_nano_usd=2_000_000_000, created_at=utcnow() - timedelta(days=7, seconds=1))
    page = stage.open(range="7d")
    cost = next(one for one in page.metric if one.label == "Cost")
    assert (cost.value, cost.delta) == ("$3.00", "+50%")
    assert "against the 7 days before" in texts(page)


@pytest.mark.parametrize(
    ("now", "first", "last"),
    [
        ((2026, 11, 26, 9), (2026, 10, 1, 0), (2026, 10, 26, 9)),
        ((2026, 3, 30, 9), (2026, 2, 1, 0), (2026, 3, 1, 0)),  # there was no such day in February
        ((2026, 1, 5, 0), (2025, 12, 1, 0), (2025, 12, 5, 0)),
    ],
)
def test_a_month_is_compared_with_the_same_days_of_the_month_before(
    now: tuple[int, ...], first: tuple[int, ...], last: tuple[int, ...]
) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    choice, moment = filters.Choice("month"), datetime(*now, tzinfo=berlin)  # type: ignore[misc]
    before = choice.before(choice.filter(moment, berlin), moment, berlin)
    assert before.start == datetime(*first, tzinfo=berlin)  # type: ignore[misc]
    assert before.end == datetime(*last, tzinfo=berlin)  # type: ignore[misc]


def test_a_past_month_is_compared_with_the_whole_one_before() -> None:
    choice, now = filters.Choice("last-month"), datetime(2026, 10, 8, tzinfo=UTC)
    before = choice.before(choice.filter(now), now)
    assert (before.start, before.end) == (datetime(2026, 8, 1, tzinfo=UTC), datetime(2026, 9, 1, tzinfo=UTC))


def test_what_the_month_is_compared_with_is_said(stage: Stage) -> None:
    before = zones.month_start(zones.month_start(utcnow(), UTC) - timedelta(days=1), UTC)
    stage.call()
    stage.call(created_at=before)
    assert f"Changes are against the month before, 1 {before:%b}" in texts(stage.open(range="month"))


def test_no_change_is_said_in_words(stage: Stage) -> None:
    stage.call()
    stage.call(created_at=utcnow() - timedelta(days=7, seconds=1))
    calls = next(one for one in stage.open(range="7d").metric if one.label == "Calls")
    assert calls.delta == "no change"


def test_a_model_whose_price_is_not_known_costs_no_zero(stage: Stage) -> None:
    """Its replies from the cache do cost nothing."""
    stage.call(model="m2", cost_nano_usd=None)
    stage.call(model="m2", cost_nano_usd=0, outcome="cached", cache_hit=True)
    assert metric(stage.open(), "Cost") == "unknown"
    stage.call()
    st.cache_data.clear()
    table = stage.open().dataframe[0].value.set_index("Model")
    assert pd.isna(table["Cost"]["m2"])
    assert pd.isna(table["Cost / call"]["m2"])
    assert table["Cost"]["m1"] == 4_200_000


def month_budget(stage: Stage, amount: int) -> None:
    row = {"id": new_id("bud"), "tenant_id": "tenant_a", "scope": "tenant", "scope_id": "", "period": "month",
           "amount_nano_usd": amount, "hard": True}  # fmt: skip
    stage.db.write(lambda session: session.execute(insert(Budget), [row]))


def test_the_month_so_far_and_how_much_of_the_budget_is_expected(stage: Stage) -> None:
    for days in range(5):
        stage.call(created_at=utcnow() - timedelta(days=days, seconds=1), cost_nano_usd=1_000_000_000)
    month_budget(stage, 40_000_000_000)
    page = stage.open()
    assert metric(page, f"{utcnow():%B} so far").startswith("$")
    end = next(one for one in page.metric if one.label == "Month's end")
    assert end.proto.delta_description.endswith("of the \\$40.00 budget expected")
    assert "Demo data" not in texts(page)
    assert "days and months of UTC" not in texts(page)
    assert metric(stage.open(model="m1"), "Month's end, all calls") == end.value


def test_demo_data_and_utc_are_said_where_budgets_are_drawn(stage: Stage) -> None:
    for days in range(5):
        stage.call(created_at=utcnow() - timedelta(days=days, seconds=1), is_demo=True)
    month_budget(stage, 40_000_000_000)
    stage.db.write(lambda session: session.execute(update(Tenant).values(timezone="Asia/Tokyo")))
    page = stage.open()
    assert "Demo data does not count against budgets. Budgets count by days and months of UTC." in texts(page)
    assert not next(one for one in page.metric if one.label == "Month's end").proto.delta_description


def test_the_sums_of_every_table_are_those_of_the_stored_rows(stage: Stage) -> None:
    demo_data.make(stage.db, "tenant_a", days=7, rows=300)
    rows = stage.db.read(lambda session: session.scalars(select(UsageMetric)).all())
    for by in ("model", "provider", "agent", "user", "team", "tier"):
        table = stage.open(range="7d", by=by).dataframe[0].value
        assert table["Calls"].sum() == len(rows)
        assert int(table["Cost"].sum()) == sum(row.cost_nano_usd or 0 for row in rows)
        assert table["Tokens in"].sum() == sum(row.prompt_tokens for row in rows)
    tokens = stage.open(tab="Tokens", range="7d").dataframe[0].value
    assert tokens["Reasoning"].sum() == sum(row.reasoning_tokens for row in rows)
    assert tokens["Cached"].sum() == sum(row.cached_tokens for row in rows)


def test_failures_are_told_by_kind_and_by_provider(stage: Stage) -> None:
    stage.call()
    stage.call(outcome="error", error_type="provider_down", usage_source="none")
    stage.call(outcome="timeout", error_type=None, usage_source="none", attempt=2)
    page = stage.open(tab="Reliability")
    assert metric(page, "Failed calls") == "67%"
    assert metric(page, "Tried again") == "33%"
    kinds, providers = page.dataframe[0].value, page.dataframe[1].value
    assert sorted(kinds["Error"]) == ["provider_down", "timeout"]
    assert providers["Failed"].tolist() == pytest.approx([200 / 3])
    assert "No request was refused" in texts(page)


def test_refusals_are_told_by_tier_and_cause_with_their_peak(stage: Stage) -> None:
    stage.call()
    hit = {"minute": utcnow().replace(second=0, microsecond=0), "tenant_id": "tenant_a", "user_id": "user_ann",
           "tier": "free", "kind": "requests", "model": "m1", "hits": 7}  # fmt: skip
    stage.db.write(lambda session: session.execute(insert(LimitHit), [hit]))
    told = texts(stage.open(tab="Reliability"))
    assert "At most 7 a minute. By cause: requests 7." in told


def test_breakers_are_for_operators(stage: Stage) -> None:
    stage.call()
    stage.health = [Health("gpt#0", "shared", "open", None, 5, None, "timeout", None, None, 9, 5)]
    stage.ask("operator")
    assert "gpt\\#0" in texts(stage.open(tab="Reliability"))
    stage.ask("admin")
    assert "gpt" not in texts(stage.open(tab="Reliability"))


def test_times_are_told_as_percentiles(stage: Stage) -> None:
    stage.call(ttft_ms=400, latency_ms=2400)
    page = stage.open(tab="Speed")
    assert 392 <= float(metric(page, "First word, p95").removesuffix(" ms")) <= 408
    assert metric(page, "Tokens / s") == "25"
    table = page.dataframe[0].value
    assert table["First p50"].iloc[0] == pytest.approx(400, rel=0.02)
    assert len(page.get("plotly_chart")) == 3


def test_a_member_reads_no_amount_of_a_shared_budget(stage: Stage) -> None:
    stage.call()
    budgets = [
        {"id": new_id("bud"), "tenant_id": "tenant_a", "scope": scope, "scope_id": scope_id, "period": "month",
         "amount_nano_usd": 5_000_000, "hard": True}
        for scope, scope_id in (("tenant", ""), ("user", "user_bob"))
    ]  # fmt: skip
    stage.db.write(lambda session: session.execute(insert(Budget), budgets))
    stage.call(user_id="user_bob", cost_nano_usd=100)
    stage.ask("member", "user_bob")
    shown = sorted(one.proto.text for one in stage.open().get("progress"))
    assert shown[0] == "The whole organisation, this month: nearly spent"
    assert "\\$0.005" in shown[1]
    stage.ask("admin")
    assert "\\$0.0042 of \\$0.005" in "".join(one.proto.text for one in stage.open().get("progress"))


def test_names_stay_text(stage: Stage) -> None:
    stage.call(model="<img src=x onerror=alert(1)>")
    for tab in TABS:
        page = stage.open(tab=tab)
        assert not page.exception
        assert "<img" not in "".join(one.proto.body for one in page.get("html"))
        assert "<img src" not in "".join(one.proto.spec for one in page.get("plotly_chart")).replace(
            '"legendgroup":"<img src', ""
        )


@pytest.mark.parametrize("tab", TABS)
def test_a_database_that_does_not_answer_is_one_sentence(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tab: str
) -> None:
    def broken(_work: object) -> None:
        raise OperationalError("SELECT secret FROM users", {}, Exception("disk I/O error"))

    monkeypatch.setattr(stage.db, "read", broken)
    page = stage.open(tab=tab)
    assert not page.exception
    assert [one.value for one in page.error] == ["The usage numbers cannot be read just now. Try again in a moment."]


def test_days_are_the_tenants(stage: Stage) -> None:
    def set_zone(session: object) -> None:
        session.execute(  # type: ignore[attr-defined]
            Tenant.__table__.update().where(Tenant.id == "tenant_a").values(timezone="Asia/Tokyo")  # type: ignore[attr-defined]
        )

    stage.db.write(set_zone)
    assert "Days are those of Asia/Tokyo" in texts(stage.open())


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("7d", date(2026, 10, 2), TODAY),
        ("month", date(2026, 10, 1), TODAY),
        ("last-month", date(2026, 9, 1), date(2026, 9, 30)),
        ("2026-09-01..2026-09-03", date(2026, 9, 1), date(2026, 9, 3)),
        ("2026-09-03..2026-09-01", date(2026, 9, 1), date(2026, 9, 3)),
        ("2026-10-01..2027-01-01", date(2026, 10, 1), TODAY),
        ("1970-01-01..2026-10-08", date(2006, 10, 9), TODAY),
        ("0001-01-01..0001-01-02", date(2000, 1, 1), date(2000, 1, 1)),
        *(
            (bad, date(2026, 9, 9), TODAY)
            for bad in ("", "custom", "x", "-1d", "2026-13-01..2026-01-01", "a..b..c", "９d")
        ),
    ],
)
def test_ranges_in_the_url(text: str, first: date, last: date) -> None:
    choice = filters.parse({"range": [text]}, {}, TODAY)
    assert choice.days(TODAY) == (first, last)
    now = datetime(2026, 10, 8, 12, tzinfo=UTC)
    assert choice.filter(now).start == datetime.combine(first, datetime.min.time(), UTC)
    assert filters.parse(choice.params(), {}, TODAY) == choice


def test_the_last_24_hours_end_with_the_present_one() -> None:
    chosen = filters.Choice("24h").filter(datetime(2026, 10, 8, 12, 34, tzinfo=UTC))
    assert (chosen.start, chosen.end) == (
        datetime(2026, 10, 7, 13, tzinfo=UTC),
        datetime(2026, 10, 8, 13, tzinfo=UTC),
    )


def test_a_day_across_a_change_of_the_clock_is_whole() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    choice = filters.Choice("custom", (date(2026, 10, 25), date(2026, 10, 25)))
    chosen = choice.filter(datetime(2026, 11, 1, tzinfo=UTC), berlin)
    assert chosen.length == timedelta(hours=25)
    assert chosen.start == zones.begin(date(2026, 10, 25), berlin)


def test_steps_and_splits_in_the_url_are_those_that_there_are() -> None:
    known = {"provider": {"acme": "acme", "other": "other"}}
    asked = {"range": ["90d"], "step": ["week"], "by": ["provider"]}
    choice = filters.parse(asked, known, TODAY)
    assert (choice.step, choice.by) == ("week", "provider")
    assert choice.step_in(choice.filter(datetime(2026, 10, 8, tzinfo=UTC))) == "week"
    choice = filters.parse({"range": ["90d"], "step": ["hour"], "by": ["team"]}, known, TODAY)
    assert (choice.step, choice.by) == ("auto", "model")


@pytest.mark.parametrize(
    ("now", "before", "told"),
    [(3, 2, "+50%"), (1, 2, "-50%"), (2, 2, 0), (2, 0, None), (2, None, None), (None, 2, None), (300, 2, "over 10×")],
)
def test_changes_read_well(now: int | None, before: int | None, told: object) -> None:
    assert usage_parts.change(now, before) == told
