"""Structured parts: what is valid, what is refused, and how blocks in a text become parts without a character lost."""

import json
import time
import timeit
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatcore.conversations.part_blocks import LANGUAGES, pieces, split
from chatcore.conversations.part_components import COMPONENTS
from chatcore.conversations.parts import ChartPart, parse, plain_text, table_of

CHART = {"chart": "bar", "x": ["Mon", "Tue"], "series": [{"name": "Visits", "values": [3, None]}]}
TABLE = {"columns": ["Day", "Visits"], "rows": [["Mon", 3], ["Tue", None]]}
METRIC = {"name": "metric", "props": {"label": "Visits", "value": 3}}
PROPS: dict[str, dict[str, Any]] = {
    "metric": {"label": "Revenue", "value": "$1.2M", "delta": -3.5},
    "metrics": {"items": [{"label": "Users", "value": 12}]},
    "callout": {"kind": "warning", "title": "Mind", "text": "the gap"},
    "steps": {"items": [{"title": "Ask", "done": True}, {"title": "Try", "text": "soon"}]},
    "progress": {"label": "Moved", "value": 0.62},
    "timeline": {"items": [{"when": "May", "title": "Start"}]},
    "key_values": {"items": [{"key": "Owner", "value": "Ada"}, {"key": "Rows", "value": 12}]},
}
PARTS: list[dict[str, Any]] = [
    {"type": "text", "text": "words"},
    {"type": "markdown", "text": "**words**"},
    {"type": "reasoning", "text": "thoughts", "duration_ms": None},
    {"type": "tool_call", "id": "call_1", "name": "look_up", "arguments": "{broken", "state": "pending"},
    {"type": "tool_call", "id": "", "name": "f", "arguments": "", "state": "success", "result": "42", "duration_ms": 7},
    {"type": "error", "code": "timeout", "message": "It took too long.", "retryable": True, "provider": "openai"},
    {"type": "error", "code": "x", "message": "Wait.", "retryable": True, "provider": "", "retry_after": 2.5},
    *({"type": "chart", **CHART, "chart": kind} for kind in ("line", "bar", "scatter")),
    {"type": "chart", "chart": "pie", "x": ["a", "b"], "series": [{"name": "s", "values": [1, 2.5]}]},
    {"type": "table", **TABLE},
    *({"type": "component", "name": name, "props": props} for name, props in PROPS.items()),
    {"type": "code", "language": "python", "code": "print(1)", "runnable": True},
    {"type": "media", "media": "image", "attachment_id": "att_1", "name": "a", "media_type": "image/png", "size": 9},
    {"type": "file", "kind": "pdf", "attachment_id": "att_1", "name": "a.pdf", "media_type": "application/pdf",
     "size": 9, "pages": 2, "characters": 80},
]  # fmt: skip


def block(language: str, body: object, fence: str = "```") -> str:
    return f"{fence}{language}\n{body if isinstance(body, str) else json.dumps(body)}\n{fence}\n"


def kinds(text: str) -> list[str]:
    return [part["type"] for part in split(text)]


# --- parts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", PARTS, ids=lambda raw: f"{raw['type']}-{raw.get('name', raw.get('chart', ''))}")
def test_every_kind_is_read_and_its_json_reads_as_the_same(raw: dict[str, Any]) -> None:
    part = parse(raw)
    assert part is not None
    assert parse(json.loads(part.model_dump_json())) == part
    assert raw.items() <= part.model_dump(exclude_unset=True).items()
    assert plain_text(part)


def test_what_is_not_known_is_left_out() -> None:
    part = parse({"type": "text", "text": "words", "onclick": "alert(1)"})
    assert part is not None
    assert part.model_dump() == {"type": "text", "text": "words"}


@pytest.mark.parametrize("raw", [None, 7, "text", [], {}, {"type": "iframe"}, {"type": None}, {"type": ["text"]}])
def test_what_is_no_part_is_none(raw: object) -> None:
    assert parse(raw) is None


@pytest.mark.parametrize(
    "change",
    [
        {"chart": "radar"}, {"x": []}, {"series": []}, {"x": ["Mon"]}, {"x": ["Mon", True]}, {"x": "Mo"},
        {"series": [{"name": "Visits", "values": ["3", "4"]}]},
        {"series": [{"name": "Visits", "values": [True, 1]}]},
        {"series": [{"name": "Visits", "values": [float("nan"), 1]}]},
        {"series": [{"name": "Visits", "values": [float("inf"), 1]}]},
        {"series": [{"name": "Visits", "values": [10**400, 1]}]},
        {"series": [{"name": "Visits", "values": [1e301, 1]}]},
        {"series": [{"values": [1, 2]}]},
        {"series": [{"name": "Visits", "values": [1, 2]}] * 13},
        {"x": list(range(1001)), "series": [{"name": "Visits", "values": [1] * 1001}]},
        {"title": "x" * 301}, {"title": 7}, {"title": "\ud800"},
        {"chart": "pie"},  # a slice without a value
        {"chart": "pie", "series": [{"name": "Visits", "values": [1, -1]}]},
        {"chart": "pie", "series": [{"name": "a", "values": [1, 1]}, {"name": "b", "values": [1, 1]}]},
        {"chart": "pie", "x": ["a"] * 31, "series": [{"name": "a", "values": [1] * 31}]},
    ],
)  # fmt: skip
def test_a_chart_that_cannot_be_drawn_is_refused(change: dict[str, Any]) -> None:
    assert parse({"type": "chart", **CHART})
    assert parse({"type": "chart", **CHART, **change}) is None


@pytest.mark.parametrize(
    "change",
    [
        {"columns": []}, {"columns": ["c"] * 31, "rows": []}, {"rows": [["Mon"]]}, {"rows": [["Mon", 3, 4]]},
        {"rows": [["Mon", 3]] * 1001}, {"rows": [["Mon", [3]]]}, {"rows": [["Mon", {"a": 1}]]},
        {"rows": [["Mon", "x" * 5001]]}, {"rows": [["Mon", float("nan")]]}, {"rows": {"Mon": 3}},
    ],
)  # fmt: skip
def test_a_table_out_of_its_limits_is_refused(change: dict[str, Any]) -> None:
    assert parse({"type": "table", **TABLE})
    assert parse({"type": "table", **TABLE, **change}) is None


def test_an_integer_that_browsers_round_is_kept_as_text() -> None:
    part = parse({"type": "table", "columns": ["id"], "rows": [[2**53 + 1], [2**53], [-(10**30)]]})
    assert part is not None
    assert part.model_dump()["rows"] == [[str(2**53 + 1)], [2**53], [f"-1{'0' * 30}"]]


def test_the_largest_chart_and_table_are_read() -> None:
    assert parse({"type": "chart", "chart": "line", "x": list(range(1000)),
                  "series": [{"name": "s", "values": [1.5] * 1000}] * 12})  # fmt: skip
    assert parse({"type": "table", "columns": ["c"] * 30, "rows": [[1] * 30] * 1000})


def test_every_component_has_a_sample_here() -> None:
    assert set(PROPS) == set(COMPONENTS)


@pytest.mark.parametrize(
    ("name", "props"),
    [
        ("iframe", {"src": "https://example.com"}), ("metric", {"label": "x"}), ("metric", []), ("metric", None),
        ("metric", {"label": "x", "value": True}), ("metrics", {"items": []}),
        ("metrics", {"items": [PROPS["metric"]] * 13}), ("callout", {"kind": "danger", "text": "x"}),
        ("steps", {"items": [{"title": "x", "done": "yes"}]}), ("steps", {"items": [{"title": "x"}] * 51}),
        ("progress", {"label": "x", "value": 1.01}), ("progress", {"label": "x", "value": -0.1}),
        ("progress", {"label": "x", "value": 62}), ("timeline", {"items": [{"title": "x"}]}),
        ("key_values", {"items": {"a": 1}}), ("", {}), (["metric"], {}),
    ],
)  # fmt: skip
def test_a_component_with_other_props_is_refused(name: object, props: object) -> None:
    assert parse({"type": "component", "name": name, "props": props}) is None


def test_only_code_that_can_be_run_is_runnable() -> None:
    assert parse({"type": "code", "language": "bash", "code": "rm -rf /", "runnable": True}) is None
    assert parse({"type": "code", "language": "bash", "code": "ls"})


def test_control_characters_are_cleaned_out() -> None:
    part = parse({"type": "table", "columns": ["a\x00b"], "rows": [["\x1b[31mred"]]})
    assert part is not None
    assert plain_text(part) == "ab\n[31mred"


def test_a_chart_is_a_table_too() -> None:
    part = parse({"type": "chart", **CHART, "title": "Week", "x_label": "Day"})
    assert isinstance(part, ChartPart)
    assert table_of(part) == (["Day", "Visits"], [["Mon", 3], ["Tue", None]])
    assert plain_text(part) == "Week\nDay\tVisits\nMon\t3\nTue\t"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metric", "Revenue: $1.2M (-3.5)"), ("metrics", "Users: 12"), ("callout", "Mind\nthe gap"),
        ("steps", "[x] Ask\n[ ] Try\nsoon"), ("progress", "Moved: 62%"), ("timeline", "May: Start"),
        ("key_values", "Owner: Ada\nRows: 12"),
    ],
)  # fmt: skip
def test_components_as_text(name: str, text: str) -> None:
    part = parse({"type": "component", "name": name, "props": PROPS[name]})
    assert part is not None
    assert plain_text(part) == text


# --- blocks in a text -----------------------------------------------------------------------------------------------


def test_blocks_become_parts_in_their_order() -> None:
    text = f"One\n\n{block('chart', CHART)}\ntwo\n{block('table', TABLE)}\n{block('component', METRIC)}three"
    assert kinds(text) == ["text", "chart", "text", "table", "component", "text"]
    assert [part["text"] for part in split(text) if part["type"] == "text"] == ["One\n\n", "\ntwo\n", "three"]


def test_a_part_is_stored_in_its_whole_shape() -> None:
    [part] = split(block("component", METRIC | {"type": "text", "onload": "x"}))
    assert part == {"type": "component", "name": "metric", "props": {"label": "Visits", "value": 3, "delta": None}}


@pytest.mark.parametrize("text", ["", "words", "```chart\n```", "```python\n{}\n```", "`chart`"])
def test_a_text_without_valid_blocks_stays_as_it_is(text: str) -> None:
    assert split(text) == ([{"type": "text", "text": text}] if text else [])


@pytest.mark.parametrize(
    "text",
    [
        block("chart", CHART, "~~~"),
        block("chart", CHART, "````"),
        block("charts", CHART),
        block("chart title=x", CHART),
        block("md", "\n" + block("chart", CHART), "````"),
        block("md", block("chart", CHART), "~~~"),
        block("chart", CHART)[:-5],  # not closed: the reply was cut
        block("chart", CHART)[:40],
        block("chart", json.dumps(CHART)[:-1]),
        block("chart", json.dumps(CHART) + ","),
        block("chart", [CHART]),
        block("chart", "null"),
        block("chart", TABLE),
        f"    {block('chart', CHART)}",
        f"words {block('chart', CHART)}",
        block("component", '{"name": "metric", "props": {"label": "x", "value": NaN}}'),
        block("component", '{"name": "metric", "props": {"label": "x", "value": -Infinity}}'),
        block("component", '{"name": "metric", "props": {"label": "x", "value": 1e999}}'),
        block("component", '{"name": "metric", "props": {"label": "x", "value": 1%s}}' % ("0" * 9_000)),
        block("component", '{"name": "metric", "props": {"label": "\\ud800", "value": 1}}'),
        block("chart", "[" * 200_000),
        block("chart", '{"x":' * 100_000),
    ],
    ids=range(22),
)  # fmt: skip
def test_what_is_no_valid_block_stays_text(text: str) -> None:
    assert split(text) == [{"type": "text", "text": text}]


@pytest.mark.parametrize("text", [block("chart", CHART).replace("\n", "\r\n"), block("chart", CHART).rstrip("\n"),
                                  f"1. item\n   {block('chart', CHART, chr(96) * 3)}",
                                  block("chart", json.dumps(CHART, indent=2)), block("chart ", CHART)])  # fmt: skip
def test_blocks_as_models_write_them_are_found(text: str) -> None:
    assert "chart" in kinds(text)


def test_a_bad_block_does_not_hide_a_good_one() -> None:
    assert kinds(block("chart", "{}") + block("chart", CHART)) == ["text", "chart"]


def test_there_are_at_most_twenty_blocks() -> None:
    found = kinds(block("component", METRIC) * 30)
    assert (found.count("component"), found.count("text")) == (20, 1)


def test_a_huge_block_is_refused_at_once() -> None:
    rows = ",".join(["[1,2]"] * 1_700_000)
    text = block("table", f'{{"columns": ["a", "b"], "rows": [{rows}]}}')
    start = time.perf_counter()
    assert kinds(text) == ["text"]
    assert len(text) > 10_000_000
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    "text", ["`" * 500_000, "\n" * 500_000, "```\n" * 100_000, "~~~`\n" * 100_000, "```chart\n" * 50_000]
)
def test_hostile_text_takes_no_time(text: str) -> None:
    start = time.perf_counter()
    assert kinds(text) == ["text"]
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    "text",
    [
        block("component", '{"name":"x","props":{}}') * 4_000,
        block("table", {"columns": ["c"], "rows": [[1]] * 1_001}) * 60,
        block("table", {"columns": ["c"] * 30, "rows": [[1] * 30] * 1_000}) * 10,
        block("chart", "{}") * 10_000,
        "```chart\n```\n" * 50_000,
        "```\n" * 250_000,
        "\n" * 1_000_000,
    ],
    ids=range(7),
)
def test_no_reply_keeps_the_loop_waiting(text: str) -> None:
    """Some times as long as this machine counts to half a million in this moment: 20 ms on one of today."""
    took, counting = (
        min(timeit.repeat(work, number=1, repeat=5, timer=time.thread_time))
        for work in (lambda: split(text), lambda: [number for number in range(500_000)])  # noqa: C416
    )
    assert took < 6 * counting


def test_after_a_hundred_blocks_and_a_hundred_thousand_characters_all_is_text() -> None:
    good, bad = block("chart", CHART), block("chart", "{}")
    assert kinds(bad * 99 + good) == ["text", "chart"]
    assert kinds(bad * 100 + good) == ["text"]
    assert kinds(block("chart", " " * 99_000) + good) == ["text", "chart"]
    assert kinds(block("chart", " " * 100_000) + good) == ["text"]


texts = st.lists(
    st.sampled_from(
        ["words ", "\n", "\n\n", "```", "````", "~~~", "```chart\n", "```table\n", "\n```\n", "```python\n", "{", "}",
         "  ", "\r\n", "`", "é🙂", json.dumps(CHART), "\n" + block("chart", CHART), block("table", TABLE),
         block("component", METRIC), block("chart", "{}"), block("chart", CHART, "~~~")]
    ),
    max_size=14,
).map("".join)  # fmt: skip


@given(texts)
@example(block("chart", CHART) * 2)
def test_the_pieces_are_the_whole_text(text: str) -> None:
    assert "".join(source for source, _ in pieces(text)) == text
    for source, part in pieces(text):
        assert part is None or source.lstrip().startswith("```")


@given(texts)
def test_parts_are_valid_and_texts_lose_nothing(text: str) -> None:
    parts = split(text)
    assert all(parse(part) for part in parts)
    assert parse({"type": "text", "text": text})
    said = [part["text"] for part in parts if part["type"] == "text"]
    assert said == [source for source, part in pieces(text) if part is None and (source.strip() or source == text)]
    if all(part["type"] == "text" for part in parts):
        assert "".join(said) == text


@given(st.text(max_size=200))
def test_any_text_is_kept(text: str) -> None:
    assert "".join(part["text"] for part in split(text)) == text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["chart", "x", "series", "name", "values", "columns", "rows", "props"]), inner
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(LANGUAGES), json_values)
def test_any_json_is_a_valid_part_or_text(language: str, value: object) -> None:
    text = block(language, value)
    for part in split(text):
        assert part["type"] in {language, "text"}
        assert parse(json.loads(json.dumps(part, allow_nan=False)))
