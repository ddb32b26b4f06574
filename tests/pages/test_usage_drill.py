"""From a number to the calls behind it, to one of them in full, and out as a file."""

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
import streamlit as st
from sqlalchemy import insert
from streamlit.testing.v1 import AppTest

from chatcore.accounts.principal import Principal
from chatcore.db import Database
from chatcore.db.tables import Conversation, Tenant, UsageMetric, User, utcnow
from chatcore.errors import Unauthorized
from chatcore.ids import new_id
from chatcore.usage import Filter, Usage
from pages.ui import filters, usage_call, usage_drill, usage_export, usage_parts
from pages.ui.usage_data import View

PAGE = Path(__file__).parents[2] / "pages" / "usage.py"
BERLIN, UTC_ZONE = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")
ANN = Principal("user_ann", "tenant_a", "ann", "Ann", "admin")
DAYS = Filter(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC))


def view(chosen: Filter = DAYS, step: str = "day", principal: Principal = ANN) -> View:
    known = {"model": {"m1": "m1", "m2": "m2"}, "person": {"user_ann": "Ann"}}
    return View(principal, filters.Choice(), chosen, step, UTC_ZONE, BERLIN, known)  # type: ignore[arg-type]


def series(chosen: Filter = DAYS, freq: str = "D", tz: ZoneInfo = UTC_ZONE) -> pd.DataFrame:
    starts = pd.date_range(chosen.start, chosen.end, freq=freq, inclusive="left").tz_convert(tz)
    return pd.concat([pd.DataFrame({"start": starts, "group": group}) for group in ("m1", "m2", "m3")])


@pytest.fixture
def house(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two people of one tenant with 120 calls of ann's and one of bob's, and whoever sits before the page."""
    people = [
        {"id": f"user_{name}", "tenant_id": "tenant_a", "username": name, "name": name.title(), "role": "member"}
        for name in ("ann", "bob")
    ]
    talk = {"id": "conv_bob", "tenant_id": "tenant_a", "user_id": "user_bob", "title": "Secret"}
    now = utcnow().replace(microsecond=0)
    rows = [_row(f"use_{number:03}", created_at=now - timedelta(minutes=number)) for number in range(120)]
    rows.append(_row("use_bob", user_id="user_bob", model="bobs", conversation_id="conv_bob", created_at=now))
    database.write(lambda session: session.execute(insert(Tenant), [{"id": "tenant_a", "name": "A"}]))
    database.write(lambda session: session.execute(insert(User), people))
    database.write(lambda session: session.execute(insert(Conversation), [talk]))
    database.write(lambda session: session.execute(insert(UsageMetric), rows))
    found = SimpleNamespace(principal=ANN, usage=Usage(database))
    monkeypatch.setattr("chatcore.bootstrap._core", found)
    monkeypatch.setattr("pages.ui.session.current_principal", lambda: found.principal)
    st.cache_data.clear()
    yield found
    st.cache_data.clear()


def _row(call_id: str, **values: object) -> dict[str, object]:
    return {
        "id": call_id, "tenant_id": "tenant_a", "user_id": "user_ann", "purpose": "chat", "provider": "acme",
        "model": "m1", "outcome": "ok", "prompt_tokens": 100, "completion_tokens": 50, "usage_source": "provider",
        "cost_nano_usd": 4_200_000, "unit_prices": {"prompt": "0.000002"}, "trace_id": new_id("trace"),
        "conversation_id": None,
    } | values  # fmt: skip


def behind(narrow: usage_drill.Narrow) -> AppTest:
    """The list of calls, opened as a selection opens it."""
    page = AppTest.from_file(str(PAGE), default_timeout=30)
    page.session_state["usage_drill"] = narrow
    return page.run()


def today(**only: Any) -> Filter:
    return replace(Filter(utcnow() - timedelta(days=1), utcnow() + timedelta(minutes=1)), **only)


def table(page: AppTest) -> Any:
    """The list of calls, which is the one with a time."""
    return next(one for one in page.dataframe if "at" in one.value.columns)


def test_a_bar_is_the_calls_of_its_step_and_group() -> None:
    pick = usage_drill.by_step(view(), series(), "model", {"m1": "#1", "m2": "#2"})
    narrow = pick("2026-03-02", "m1")
    assert narrow is not None
    assert narrow.label == "m1, 2 Mar 2026"
    assert (narrow.chosen.start, narrow.chosen.end) == (DAYS.start + timedelta(days=1), DAYS.start + timedelta(days=2))
    assert narrow.chosen.models == ("m1",)


def test_others_are_the_calls_of_all_groups_without_a_colour() -> None:
    pick = usage_drill.by_step(view(), series(), "model", {"m1": "#1"})
    narrow = pick("2026-03-03 00:00", "Others")
    assert narrow is not None
    assert narrow.chosen.models == ("m2", "m3")
    assert narrow.chosen.end == DAYS.end


def test_what_was_joined_by_sql_narrows_to_the_step_only() -> None:
    frame = series().assign(group=lambda one: one["group"].replace("m3", "others"))
    narrow = usage_drill.by_step(view(), frame, "model", {"m1": "#1"})("2026-03-01", "Others")
    assert narrow is not None
    assert narrow.chosen.models == ()
    assert narrow.label == "1 Mar 2026"


def test_a_place_that_is_no_step_is_nothing() -> None:
    pick = usage_drill.by_step(view(), series(), "model", {})
    assert pick("2027-01-01", "m1") is None
    assert pick("", "m1") is None


def test_a_step_that_begins_before_the_range_is_cut_to_it() -> None:
    inside = replace(DAYS, start=DAYS.start + timedelta(hours=6))
    narrow = usage_drill.by_step(view(inside), series(), "model", {"m1": "#1"})("2026-03-01", "m1")
    assert narrow is not None
    assert narrow.chosen.start == inside.start


def test_the_hour_that_comes_twice_is_two_hours_of_calls() -> None:
    night = Filter(datetime(2026, 10, 24, 23, tzinfo=UTC), datetime(2026, 10, 25, 3, tzinfo=UTC))
    pick = usage_drill.by_step(view(night, "hour"), series(night, "h", BERLIN), "none", {})
    narrow = pick("2026-10-25 02:00", "")
    assert narrow is not None
    assert narrow.chosen.length == timedelta(hours=2)


def test_a_way_to_fail_is_the_calls_with_that_outcome() -> None:
    pick = usage_drill.by_step(view(), series(), "none", {}, {"Timeouts": ("timeout",)})
    narrow = pick("2026-03-01", "Timeouts")
    assert narrow is not None
    assert narrow.outcomes == ("timeout",)


@pytest.mark.parametrize("by", ["model", "provider", "agent", "user", "team", "tier", "purpose"])
def test_a_row_is_the_calls_of_its_group(by: str) -> None:
    narrow = usage_drill.group(view(), by, "one", "One")
    assert narrow is not None
    assert "one" in str(narrow.chosen)
    assert usage_drill.group(view(), by, "others", "Others") is None


def test_an_error_is_the_calls_with_that_kind() -> None:
    narrow = usage_drill.group(view(), "error", "provider_down", "provider_down")
    assert narrow is not None
    assert narrow.error_types == ("provider_down",)


def test_a_bar_of_a_share_is_the_calls_of_its_group_in_the_whole_range() -> None:
    pick = usage_drill.by_group(view(), "model", ["m1", "m2", "m3"], {"m1": "#1"})
    narrow = pick("0.5", "m1")
    assert narrow is not None
    assert (narrow.label, narrow.chosen) == ("m1, 1 Mar – 3 Mar 2026", replace(DAYS, models=("m1",)))
    rest = pick("0.5", "Others")
    assert rest is not None
    assert rest.chosen.models == ("m2", "m3")
    assert pick("0.5", "gone") is None


def test_the_same_part_can_be_selected_again(house: Any) -> None:
    """A selection is taken by the widget's going: the one in its place has none."""

    def script() -> None:
        import pandas as pd
        import streamlit as st

        from pages.ui import usage_drill

        usage_drill.table(pd.DataFrame({"a": [1]}), "some", "Some", [None])
        st.caption(usage_drill._key("some"))
        st.button("Take", on_click=usage_drill._take, args=("some", None))

    page = AppTest.from_function(script).run()
    keys = [page.caption[0].value]
    for _ in range(2):
        page.button[0].click().run()
        keys.append(page.caption[0].value)
    assert len(set(keys)) == 3


def test_a_list_says_its_zone_and_how_many_calls_there_are(house: Any) -> None:
    page = behind(usage_drill.Narrow("m1", today(models=("m1",))))
    told = "".join(one.value for one in page.caption)
    assert "1–50 of 120" in told
    assert "times of UTC" in told
    told = "".join(one.value for one in behind(usage_drill.Narrow("m1", today(user_ids=("user_bob",)))).caption)
    assert "1–1 of 1" in told
    told = "".join(one.value for one in behind(usage_drill.Narrow("ok", today(), outcomes=("ok",))).caption)
    assert "1–50 of 121" in told


def test_the_calls_are_listed_newest_first_and_paged(house: Any) -> None:
    page = behind(usage_drill.Narrow("m1", today(models=("m1",))))
    assert not page.exception
    listed = table(page).value
    assert len(listed) == 50
    assert listed["at"].is_monotonic_decreasing
    assert listed["person"].unique().tolist() == ["Ann"]
    assert page.button(key="usage_newer").disabled


def test_nothing_behind_a_number_is_said(house: Any) -> None:
    page = behind(usage_drill.Narrow("x", today(models=("gone",))))
    assert "No call is behind this number any more" in "".join(one.value for one in page.caption)


def test_a_member_who_asks_for_anothers_calls_gets_none(house: Any) -> None:
    house.principal = Principal("user_bob", "tenant_a", "bob", "Bob", "member")
    page = behind(usage_drill.Narrow("ann's", today(user_ids=("user_ann",))))
    assert "No call is behind this number any more" in "".join(one.value for one in page.caption)
    page = behind(usage_drill.Narrow("all", today()))
    assert table(page).value["model"].tolist() == ["bobs"]


def test_all_calls_can_be_asked_for(house: Any) -> None:
    page = AppTest.from_file(str(PAGE), default_timeout=30).run()
    page.button(key="usage_calls").click().run()
    assert not page.exception
    assert len(table(page).value) == 50


def drawn(call_id: str, principal: Principal, house: Any) -> AppTest:
    detail = house.usage.call(principal, call_id)

    def script(detail):  # type: ignore[no-untyped-def]  # its source runs alone, where no name is known
        from zoneinfo import ZoneInfo

        from pages.ui import usage_call

        usage_call.draw(detail, {"user_ann": "Ann *A*"}, ZoneInfo("Europe/Berlin"))

    return AppTest.from_function(script, args=(detail,)).run()


def test_a_call_tells_its_tokens_prices_and_trace(house: Any) -> None:
    page = drawn("use_000", ANN, house)
    assert not page.exception
    told = "".join(one.proto.body for one in page.get("html"))
    for words in ("Ann *A*", "100 in, 50 out (as the provider counts)", "$0.0042", "prompt $2 a million", "Trace",
                  "Europe/Berlin", "use_000"):  # fmt: skip
        assert words in told


def test_a_conversation_is_linked_only_for_whom_may_read_it(house: Any) -> None:
    assert not drawn("use_bob", ANN, house).get("link_button")
    bob = Principal("user_bob", "tenant_a", "bob", "Bob", "member")
    link = drawn("use_bob", bob, house).get("link_button")[0]
    assert link.proto.url == "/?c=conv_bob"


def test_prices_that_are_no_numbers_are_told_as_they_are() -> None:
    assert usage_call._per_million("0.0000025") == "$2.5 a million"
    assert usage_call._per_million(None) == "None"


def test_files_of_what_is_shown_are_made_when_asked_for() -> None:
    frame = pd.DataFrame({"Model": ["=1+1", "m1"], "Cost": pd.array([None, 5], "Int64")})
    text = usage_export._maker(view(), frame, "csv")().decode("utf-8-sig")
    assert text.splitlines()[:2] == ['"Model","Cost"', '"\'=1+1",""']
    read = pd.read_parquet(io.BytesIO(usage_export._maker(view(), frame, "parquet")()))
    assert read["Model"].tolist() == ["=1+1", "m1"]


def test_who_was_signed_out_gets_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = SimpleNamespace(principal=lambda _id: None)
    monkeypatch.setattr("chatcore.bootstrap._core", SimpleNamespace(accounts=accounts))
    signed_out = replace(ANN, session_id="ses_1")
    with pytest.raises(Unauthorized):
        usage_export._maker(view(principal=signed_out), pd.DataFrame({"a": [1]}), "csv")()


def test_the_address_of_all_calls_carries_the_range_and_the_filters() -> None:
    narrow = replace(view(), choice=filters.Choice(only={"model": ("m 1", "m2"), "person": ("user_ann",)}))
    url = usage_export.raw_url(narrow, "csv")
    assert url.startswith("/api/usage/calls.csv?start=2026-03-01T00%3A00%3A00%2B00%3A00&end=2026-03-04")
    assert url.endswith("&model=m+1&model=m2&person=user_ann")


def test_a_file_begins_with_what_people_read_and_ends_with_what_programs_do() -> None:
    starts = pd.to_datetime(["2026-03-01T23:00:00Z", "2026-03-02T23:00:00Z"]).tz_convert(BERLIN)
    frame = pd.DataFrame({
        "start": starts, "group": ["user_ann", "user_gone"], "calls": [1, 2], "priced": [1, 0],
        "cost_nano_usd": pd.array([1_500_000_000, None], "Int64"),
    })  # fmt: skip
    named = usage_export.named(frame, {"user_ann": "Ann"})
    assert named.columns.tolist() == ["date", "name", "cost_usd", "calls", "priced", "cost_nano_usd", "group", "start"]
    assert named["date"].tolist() == ["2026-03-02", "2026-03-03"]
    assert named["name"].tolist() == ["Ann", "user_gone"]
    assert named["cost_usd"].iloc[0] == 1.5
    assert pd.isna(named["cost_usd"].iloc[1])


def test_money_in_the_file_of_a_table_is_dollars() -> None:
    shown = pd.DataFrame({"Model": ["m1"], "Cost": pd.array([1_500_000_000], "Int64"), "First p50": [12.0]})
    file = usage_parts._for_file(shown, {"Cost": usage_parts.dollars, "First p50": usage_parts.times})
    assert file.columns.tolist() == ["Model", "Cost (US$)", "First p50 (ms)"]
    assert file["Cost (US$)"].tolist() == [1.5]
