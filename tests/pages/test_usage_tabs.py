"""Speed, reliability and adoption: what their choices do, and what they say."""

import json

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from chatcore.gateway import Health
from tests.pages.test_usage import Stage, metric, stage, texts

__all__ = ["stage"]


def lines(page: AppTest) -> list[set[str]]:
    """The names of the lines or bars of each chart."""
    return [{one["name"] for one in json.loads(chart.proto.spec)["data"]} for chart in page.get("plotly_chart")]


def test_one_choice_splits_all_of_speed_and_stands_in_the_address(stage: Stage) -> None:
    stage.call()
    stage.call(model="m2", provider="zeta", latency_ms=9000)
    page = stage.open(tab="Speed")
    assert lines(page) == [{"p50", "p95", "p99"}, {"p50", "p95", "p99"}, {"m1", "m2"}]
    page.button_group(key="speed").set_value("provider").run()
    assert lines(page) == [{"acme", "zeta"}] * 3
    assert sorted(page.dataframe[0].value["Provider"]) == ["acme", "zeta"]
    again = stage.open(tab="Speed", speed="model")
    assert lines(again) == [{"m1", "m2"}] * 3
    assert again.button_group(key="speed").value == "model"
    assert stage.open(tab="Speed", speed="nonsense").button_group(key="speed").value == "all"


def test_only_the_eight_with_most_calls_have_lines_and_that_is_said(stage: Stage) -> None:
    for number in range(10):
        for _ in range(1 if number < 2 else 2):
            stage.call(model=f"m{number}")
    page = stage.open(tab="Speed", speed="model")
    assert lines(page) == [{f"m{number}" for number in range(2, 10)}] * 3
    assert "2 models with fewer calls are left out of the charts by model. The table has all." in texts(page)
    assert len(page.dataframe[0].value) == 10


def test_deployments_are_told_in_words_and_the_breakers_own_in_the_tooltip(stage: Stage) -> None:
    stage.call()
    stage.ask("operator")
    stage.health = [
        Health("gpt#0", "shared", "open", None, 5, None, "timeout", None, None, 9, 5),
        Health("gpt#1", "shared", "open", "open", 0, None, None, None, None, 9, 0),
        Health("gpt#2", "pkey_1", "trial", None, 5, None, "timeout", None, None, 9, 5),
    ]
    rows = [one for one in stage.open(tab="Reliability").markdown if one.value.startswith("gpt")]
    assert ["paused after failures" in one.value for one in rows] == [True, False, False]
    assert ["paused by an operator" in one.value for one in rows] == [False, True, False]
    assert ["on trial" in one.value for one in rows] == [False, False, True]
    assert [one.proto.help for one in rows] == ["The breaker is open."] * 2 + ["The breaker is half-open."]


def test_adoption_counts_the_agents_and_says_what_demo_data_lacks(stage: Stage) -> None:
    stage.call(agent_id="agent_1")
    stage.call(agent_id="agent_2")
    page = stage.open(tab="Adoption")
    assert metric(page, "Agents used") == "2"
    assert "Demo data has no conversations" not in texts(page)
    stage.call(is_demo=True)
    st.cache_data.clear()
    assert "Demo data has no conversations" in texts(stage.open(tab="Adoption"))


@pytest.mark.parametrize("tab", ["Speed", "Adoption"])
def test_demo_data_and_doubts_stand_on_speed_and_adoption_too(stage: Stage, tab: str) -> None:
    stage.call(is_demo=True, cost_nano_usd=None, usage_source="estimated")
    told = texts(stage.open(tab=tab))
    for words in ("1 call without a known price", "1 call with estimated tokens", "1 call of demo data"):
        assert words in told
