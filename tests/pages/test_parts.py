"""Parts as the page draws them: every kind, none that breaks the page, and no text that becomes markup."""

from collections.abc import Mapping
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from chatcore.conversations.parts import ChartPart, parse
from pages.ui import part_charts
from tests.conversations.test_parts import PARTS, PROPS

EVIL = "<b>x</b> **bold** :red[y] ![z](http://example.com/z.png) $5 and $6"


def drawn(*parts: Mapping[str, Any]) -> AppTest:
    """A page of nothing but these parts; `at.session_state["drawn"]` says which were."""

    def script(parts) -> None:  # type: ignore[no-untyped-def]  # its source runs by itself, without imports
        import streamlit as st

        from pages.ui.parts import draw

        st.session_state["drawn"] = [draw(part, key=f"part-{place}") for place, part in enumerate(parts)]

    at = AppTest.from_function(script, args=(parts,), default_timeout=20).run()
    assert not at.exception
    return at


def chart(**change: Any) -> ChartPart:
    raw = {"chart": "bar", "x": ["Mon", "Tue"], "series": [{"name": "Visits", "values": [3, 4.5]}]}
    part = parse({"type": "chart", **raw, **change})
    assert isinstance(part, ChartPart)
    return part


def test_every_kind_can_stand_on_one_page() -> None:
    at = drawn(*PARTS)
    assert at.session_state["drawn"] == [part["type"] not in {"media", "file"} for part in PARTS]


@pytest.mark.parametrize("part", [{}, {"type": "hologram"}, {"type": "chart"}, {"type": "component", "name": "iframe"}])
def test_what_is_no_part_is_not_drawn_and_breaks_nothing(part: dict[str, Any]) -> None:
    at = drawn(part, {"type": "text", "text": "after it"})
    assert at.session_state["drawn"] == [False, True]
    assert [element.value for element in at.markdown] == ["after it"]


def test_reasoning_is_folded_under_the_time_it_took() -> None:
    at = drawn({"type": "reasoning", "text": "hm", "duration_ms": 4100}, {"type": "reasoning", "text": "hm"})
    assert [fold.label for fold in at.expander] == ["Thought for 4.1 s", "Thought"]
    assert not any(fold.proto.expanded for fold in at.expander)


@pytest.mark.parametrize(("state", "label"), [("pending", ""), ("success", " · 1.2 s"), ("error", " (failed) · 1.2 s")])
def test_a_tool_call_is_a_step_with_what_went_in_and_came_out(state: str, label: str) -> None:
    call = {"type": "tool_call", "name": "look_up", "arguments": '{"q":"é"}', "state": state}
    at = drawn(call | ({"result": "found", "duration_ms": 1200} if label else {}))
    assert at.expander[0].label == f"Tool call: look\\_up{label}"
    assert [code.value for code in at.code] == ['{\n  "q": "é"\n}', "found"][: 2 if label else 1]


def test_long_and_broken_results_are_cut_and_said_to_be() -> None:
    at = drawn({"type": "tool_call", "name": "f", "arguments": '{"half', "state": "success", "result": "x" * 9000})
    assert [len(code.value) for code in at.code] == [6, 4000]
    assert at.caption[-1].value == "The first 4,000 of 9,000 characters."


def test_a_tools_deeply_nested_words_do_not_break_the_page() -> None:
    drawn({"type": "tool_call", "name": "f", "arguments": "[" * 3000, "state": "pending"})


def test_a_table_keeps_its_numbers_and_its_columns_apart() -> None:
    at = drawn({"type": "table", "title": "Cities", "columns": ["City", "City", "", "n"],
                "rows": [["Paris", 1, None, 2], ["Lyon", "x", None, None]]})  # fmt: skip
    frame = at.table[0].value
    assert list(frame.columns) == ["City", "City 2", "Column", "n"]
    assert frame["n"].tolist()[0] == 2
    assert frame["City 2"].tolist() == ["1", "x"]
    assert frame["Column"].tolist() == ["", ""]
    assert at.markdown[0].value == "**Cities**"


def test_a_table_may_be_empty_and_its_titles_alike() -> None:
    at = drawn({"type": "table", "columns": ["a b", "a  b", ""], "rows": []})
    assert list(at.table[0].value.columns) == ["a b", "a b 2", "Column"]


def test_a_long_table_scrolls_and_is_described() -> None:
    at = drawn(
        {"type": "table", "title": "Squares", "columns": ["n", "square"], "rows": [[n, n * n] for n in range(90)]}
    )
    assert at.dataframe[0].value["square"].tolist()[-1] == 89 * 89
    assert at.dataframe[0].proto.alt == "Squares: 90 rows of n, square"


def test_a_chart_has_a_description_and_its_figures_as_a_table() -> None:
    at = drawn(chart(title="Week", x_label="Day").model_dump())
    assert at.get("plotly_chart")[0].proto.alt == (
        "Bar chart: Week. Visits: from 3 at Mon to 4.5 at Tue, lowest 3 at Mon, highest 4.5 at Tue."
    )
    assert at.expander[0].label == "As a table"
    assert at.table[0].value.to_dict("list") == {"Day": ["Mon", "Tue"], "Visits": [3, 4.5]}


def test_pies_and_empty_series_are_described() -> None:
    pie = chart(chart="pie", x=["a", "b"], series=[{"name": "s", "values": [1, 2000]}])
    assert part_charts.describe(pie) == "Pie chart. a: 1, b: 2,000."
    empty = chart(series=[{"name": "s", "values": [None, None]}])
    assert part_charts.describe(empty) == "Bar chart. s: no values."


def test_named_places_of_one_name_stay_apart() -> None:
    figure = part_charts.figure(chart(x=["a", "a"]))
    assert list(figure.data[0].x) == [0, 1]
    assert list(figure.layout.xaxis.ticktext) == ["a", "a"]
    pie = part_charts.figure(chart(chart="pie", x=["a", "a"]))
    assert len(set(pie.data[0].labels)) == 2


def test_days_are_dates_and_numbers_numbers() -> None:
    days = part_charts.figure(chart(chart="line", x=["2025-01-01", "2025-01-08"]))
    assert (days.layout.xaxis.type, list(days.data[0].x)) == ("date", ["2025-01-01", "2025-01-08"])
    numbers = part_charts.figure(chart(chart="scatter", x=[1.5, 20]))
    assert (numbers.layout.xaxis.tickvals, list(numbers.data[0].x)) == (None, [1.5, 20])


def test_bars_with_long_names_lie_and_each_has_its_name() -> None:
    names = ["Customer support", "Finance"]
    figure = part_charts.figure(chart(x=names))
    assert (figure.data[0].orientation, list(figure.data[0].x)) == ("h", [3, 4.5])
    assert list(figure.layout.yaxis.ticktext) == names
    assert part_charts.figure(chart()).data[0].orientation == "v"


def test_a_thousand_names_have_a_dozen_labels() -> None:
    names = [f"name {number}" for number in range(1000)]
    figure = part_charts.figure(chart(chart="line", x=names, series=[{"name": "s", "values": [1] * 1000}]))
    assert len(figure.layout.xaxis.tickvals) <= 12
    assert figure.data[0].mode == "lines"


def test_no_text_of_a_chart_is_markup() -> None:
    part = chart(title=EVIL, x=[EVIL, "b"], x_label=EVIL, y_label=EVIL, series=[{"name": EVIL, "values": [1, 2]}] * 2)
    figure = part_charts.figure(part)
    assert "<b>" not in figure.to_json().replace("<extra>", "")
    assert "<b>" not in part_charts.legend(part)
    at = drawn(part.model_dump())
    assert "\\*\\*bold\\*\\*" in at.markdown[0].value
    assert "\\!\\[z\\]\\(" in str(at.table[0].value.columns[0])


@pytest.mark.parametrize(
    ("name", "props"),
    [
        ("metric", {"label": EVIL, "value": EVIL, "delta": EVIL}),
        ("progress", {"label": EVIL, "value": 0.5}),
        ("key_values", {"items": [{"key": EVIL, "value": EVIL}]}),
        ("steps", {"items": [{"title": EVIL}]}),
        ("timeline", {"items": [{"when": EVIL, "title": EVIL}]}),
        ("callout", {"title": EVIL, "text": "x"}),
    ],
)
def test_labels_of_components_are_plain(name: str, props: dict[str, Any]) -> None:
    at = drawn({"type": "component", "name": name, "props": props})
    shown = "".join(str(element.proto) for element in at.main).replace("\\\\", "\\")
    assert "\\:red\\[" in shown
    assert " :red[y]" not in shown


@pytest.mark.parametrize(
    ("delta", "up"), [("-4%", False), ("\N{MINUS SIGN}4 %", False), ("+4%", True), (-4, False), (4, True)]
)
def test_a_metrics_arrow_points_the_way_of_its_change(delta: str | float, up: bool) -> None:
    at = drawn({"type": "component", "name": "metric", "props": {"label": "x", "value": 1, "delta": delta}})
    assert at.metric[0].proto.direction == (at.metric[0].proto.UP if up else at.metric[0].proto.DOWN)


def test_components_are_native() -> None:
    at = drawn(*({"type": "component", "name": name, "props": props} for name, props in PROPS.items()))
    assert [(metric.label, metric.value, metric.delta) for metric in at.metric] == [
        ("Revenue", "\\$1\\.2M", "-3.5"), ("Users", "12", ""),
    ]  # fmt: skip
    assert at.warning[0].value == "the gap"
    assert any("**Ask**" in element.value and "done" in element.value for element in at.markdown)
    assert any("**Try**" in element.value and "to do" in element.value for element in at.markdown)


def test_the_same_chart_twice_is_drawn_twice() -> None:
    part = chart().model_dump()
    assert drawn(part, part).session_state["drawn"] == [True, True]
