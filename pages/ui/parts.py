"""The parts of a message as they are drawn. What is not valid, or of no known kind, is not drawn and breaks nothing."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st

from chatcore.conversations.part_components import Callout, KeyValues, Metric, Metrics, Progress, Steps, Timeline
from chatcore.conversations.parts import (
    Cell,
    ChartPart,
    CitationsPart,
    CodePart,
    ComponentPart,
    ErrorPart,
    MarkdownPart,
    ReasoningPart,
    TablePart,
    TextPart,
    ToolCallPart,
    parse,
    table_of,
)
from pages.ui import part_charts
from pages.ui.figures import seconds
from pages.ui.markdown import segments
from pages.ui.text import plain

_MOST_RESULT: Final = 4_000  # characters of a tool's arguments or result
_TALL: Final = 1_000  # characters over which it scrolls
_SMALL_TABLE: Final = (12, 5)  # rows and columns up to which all of a table is shown without scrolling
_MOST_TITLE: Final = 40
_LABELS: Final = {
    "search_knowledge": ("Search knowledge", "question"),
    "query_database": ("Query a database", "database"),
    "describe_database": ("Look at a database", "database"),
    "generate_report": ("Generate a report", "title"),
    "execute_code": ("Run code", ""),
    "analyze_video": ("Analyze a video", "question"),
}
_STATES: Final = {
    "pending": (":material/build:", ""),
    "success": (":material/check_circle:", ""),
    "error": (":material/error:", " (failed)"),
}


def draw(part: Mapping[str, Any], *, key: str) -> bool:
    """Draw one part; `key` tells it from all others on the page. False where nothing was drawn.

    Attachments (media and files) are drawn elsewhere.
    """
    match parse(part):
        case TextPart(text=text) | MarkdownPart(text=text):
            _draw_markdown(text)
        case ReasoningPart():
            draw_reasoning(part)
        case ToolCallPart():
            draw_tool_call(part)
        case ErrorPart(message=message):
            st.error(plain(message), icon=":material/error:")
        case ChartPart() as chart:
            _draw_chart(chart, key)
        case TablePart() as table:
            _draw_title(table.title)
            _draw_table(table.columns, table.rows, table.title or "Table")
        case ComponentPart(props=props):
            _draw_component(props, key)
        case CodePart(code=code, language=language):
            st.code(code, language=language or None)
        case CitationsPart() as citations:
            _draw_citations(citations)
        case _:
            return False
    return True


def draw_reasoning(part: Mapping[str, Any]) -> None:
    """What a model thought, folded."""
    reasoning = parse(part)
    if isinstance(reasoning, ReasoningPart):
        took = reasoning.duration_ms
        with st.expander(f"Thought for {seconds(took)}" if took else "Thought", type="compact"):
            _draw_markdown(reasoning.text)


def draw_tool_call(part: Mapping[str, Any], *, running: bool = False) -> None:
    """A tool's call as a step, with what went in and what came out folded. `running`: it may run just now."""
    call = parse(part)
    if not isinstance(call, ToolCallPart):
        return
    icon, outcome = _STATES[call.state]
    took = f" · {seconds(call.duration_ms)}" if call.duration_ms else ""
    label = tool_label(part)
    if running and call.state == "pending":
        label, icon = f":shimmer[{label}…]", ":material/hourglass_top:"
    with st.expander(f"{label}{outcome}{took}", type="step", icon=icon):
        st.caption("Arguments")
        _draw_cut(call.arguments or "{}")
        if call.result is not None:
            st.caption("Result")
            _draw_cut(call.result)


def tool_label(part: Mapping[str, Any]) -> str:
    """What a call does, for people, as Markdown."""
    known, argument = _LABELS.get(str(part.get("name")), (f"Tool call: {plain(str(part.get('name')))}", ""))
    try:
        given = json.loads(part.get("arguments") or "{}").get(argument) if argument else None
    except (ValueError, AttributeError, RecursionError):
        given = None  # shown as it came, below
    return f"{known}: {plain(' '.join(str(given).split())[:80])}" if given else known


def _draw_citations(citations: CitationsPart) -> None:
    """The passages that a reply may rest on: each opens."""
    st.caption("Sources")
    with st.container(horizontal=True, gap="xsmall"):
        for one in citations.items:
            title = one.title if len(one.title) <= _MOST_TITLE else f"{one.title[:_MOST_TITLE]}…"
            with st.popover(f"{one.number} · {plain(title)}", type="secondary"):
                st.markdown(f"**{plain(one.title)}**" + (f" :gray[· {plain(one.place)}]" if one.place else ""))
                st.text(one.text)


def _draw_cut(text: str) -> None:
    """A tool's words as code, indented where they are JSON, and cut where they are long."""
    language = None
    if len(text) <= _MOST_RESULT:
        try:
            text, language = json.dumps(json.loads(text), indent=2, ensure_ascii=False), "json"
        except (ValueError, RecursionError):
            pass  # shown as it came
    tall = len(text) > _TALL or text.count("\n") > 15
    st.code(text[:_MOST_RESULT], language=language, wrap_lines=True, height=320 if tall else "content")
    if len(text) > _MOST_RESULT:
        st.caption(f"The first {_MOST_RESULT:,} of {len(text):,} characters.")


def _draw_markdown(text: str) -> None:
    for segment in segments(text):
        st.markdown(segment)


def _draw_title(title: str) -> None:
    if title:
        st.markdown(f"**{plain(title)}**")


def _draw_chart(chart: ChartPart, key: str) -> None:
    _draw_title(chart.title)
    if legend := part_charts.legend(chart):
        st.html(legend)
    st.plotly_chart(part_charts.figure(chart), key=key, config=part_charts.CONFIG, alt=part_charts.describe(chart))
    with st.expander("As a table", type="compact"):
        _draw_table(*table_of(chart), chart.title or "The chart's figures")


def _draw_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], name: str) -> None:
    import pandas as pd  # half a second, and most chats have no table

    few = len(rows) <= _SMALL_TABLE[0] and len(columns) <= _SMALL_TABLE[1]
    shown = {title: _column([row[place] for row in rows], few) for place, title in enumerate(_titles(columns, few))}
    frame = pd.DataFrame(shown, columns=list(shown))
    if few:
        styled = frame.style.format("{:.10g}", subset=frame.select_dtypes("number").columns, na_rep="")
        st.table(styled, border="horizontal", hide_index=True, width="content")
    else:
        st.dataframe(frame, hide_index=True, alt=f"{name}: {len(rows):,} rows of {', '.join(columns)}")


def _titles(columns: Sequence[str], markdown: bool) -> list[str]:
    """A title for each column, no two the same."""
    found: list[str] = []
    for place, column in enumerate(columns, 1):
        title = " ".join(column.split()) or "Column"
        while title in found:
            title = f"{title} {place}"
        found.append(title)
    return [plain(title) for title in found] if markdown else found


def _column(cells: Sequence[Cell], markdown: bool) -> list[Any]:
    """Numbers where all are numbers, so that they stand to the right; else text."""
    known = [cell for cell in cells if cell is not None]
    if known and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in known):
        return list(cells)
    words = ["" if cell is None else str(cell) for cell in cells]
    return [plain(word) for word in words] if markdown else words


def _draw_component(props: object, key: str) -> None:
    match props:
        case Metric():
            _draw_metric(props)
        case Metrics(items=metrics):
            with st.container(horizontal=True, key=key):
                for metric in metrics:
                    _draw_metric(metric)
        case Callout(kind=kind, title=title, text=text):
            box = {"info": st.info, "success": st.success, "warning": st.warning, "error": st.error}[kind]
            box("\n\n".join(segments(text)), title=plain(title) or None, icon=_CALLOUTS[kind])
        case Steps(items=steps):
            for step in steps:
                icon = ":green[:material/check_circle:]" if step.done else ":gray[:material/radio_button_unchecked:]"
                _draw_item(icon, step.title, "done" if step.done else "to do", step.text)
        case Progress(label=label, value=value):
            st.progress(value, text=f"{plain(label)}: {value:.0%}")
        case Timeline(items=events):
            for event in events:
                _draw_item(":gray[:material/schedule:]", event.title, event.when, event.text)
        case KeyValues(items=pairs):
            rows = {"Key": [f"**{plain(pair.key)}**" for pair in pairs], "Value": [plain(f"{p.value}") for p in pairs]}
            st.table(rows, border="horizontal", hide_index=True, hide_header=True, width="content")


_CALLOUTS: Final = {
    "info": ":material/info:",
    "success": ":material/check_circle:",
    "warning": ":material/warning:",
    "error": ":material/error:",
}


def _draw_metric(metric: Metric) -> None:
    value = plain(metric.value) if isinstance(metric.value, str) else f"{metric.value:,.10g}"
    delta = _signed(metric.delta) if isinstance(metric.delta, str) else metric.delta
    st.metric(plain(metric.label), value, delta, border=True, height="stretch")


def _signed(delta: str) -> str:
    """A change as plain text; its minus stays bare, since `st.metric` reads from it which way the arrow points."""
    delta = delta.strip().replace("\N{MINUS SIGN}", "-")
    return "-" + plain(delta[1:]) if delta.startswith("-") else plain(delta)


def _draw_item(icon: str, title: str, note: str, text: str) -> None:
    line = f"{icon} **{plain(title)}** :gray[· {plain(note)}]"
    more = "\n\n".join(segments(text))
    st.markdown(f"{line}  \n{more}" if more else line)
