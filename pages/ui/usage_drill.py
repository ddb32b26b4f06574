"""From a number to the calls behind it: what was selected, the list of its calls, and one call in full."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError
from chatcore.usage import Call, Filter
from pages.ui import charts, session, usage_call
from pages.ui.charts import CONFIG, OTHERS
from pages.ui.text import plain
from pages.ui.usage_data import View, kept_choices, kept_totals, viewer_zone

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from pandas import DataFrame

_OPEN: Final = "usage_drill"
_PAGE: Final = 50
_FIELDS: Final = {
    "model": "models", "provider": "providers", "agent": "agents", "user": "user_ids", "team": "teams", "tier": "tiers",
    "purpose": "purposes",
}  # fmt: skip
_number: Final = st.column_config.NumberColumn


@dataclass(frozen=True)
class Narrow:
    """Which calls: those of a filter; where not empty, only these outcomes and kinds of error. `label`: in words."""

    label: str
    chosen: Filter
    outcomes: tuple[str, ...] = ()
    error_types: tuple[str, ...] = ()


Pick = Callable[[str, str], Narrow | None]
"""From a place on the time axis ('' for none) and a group to the calls behind it."""
Outcomes = Mapping[str, Sequence[str]]


def chart(figure: "go.Figure", name: str, alt: str, pick: Pick) -> None:
    """A drawing whose parts can be selected. A selection is taken once, as an event: it does not run the page again."""
    key = _key(name)

    def selected() -> None:
        points = st.session_state[key].selection.points
        if points:
            _take(name, pick(str(points[0].get("x", "")), str(points[0].get("legendgroup") or "")))

    st.plotly_chart(figure, config=CONFIG, key=key, alt=alt, on_select=selected, selection_mode="points")


def table(frame: Any, name: str, alt: str, picks: Sequence[Narrow | None], **more: Any) -> None:
    """A table whose rows can be selected; `picks`: the calls behind each row, in order."""
    key = _key(name)

    def selected() -> None:
        rows = st.session_state[key].selection.rows
        if rows:
            _take(name, picks[rows[0]] if rows[0] < len(picks) else None)

    st.dataframe(
        frame, key=key, alt=alt, on_select=selected, selection_mode="single-row", hide_index=True, placeholder="–",
        **more,
    )  # fmt: skip


def _key(name: str) -> str:
    """The key of a drawing or a table: another after each selection, so that nothing is selected in it then, and the
    same part can be selected again."""
    return f"{name}-{st.session_state.get(f'{name}-taken', 0)}"


def _take(name: str, narrow: Narrow | None) -> None:
    st.session_state[f"{name}-taken"] = st.session_state.get(f"{name}-taken", 0) + 1
    if narrow is not None:
        st.session_state[_OPEN] = narrow


def group(view: View, by: str, value: str, label: str) -> Narrow | None:
    """The calls of one group of a breakdown; None where it cannot be told, as of what was joined."""
    if by == "error":
        return Narrow(_ranged(label, view), view.chosen, error_types=(value,))
    if value == "others" or by not in _FIELDS:
        return None
    return Narrow(_ranged(label, view), _of(view.chosen, by, (value,)))


def everything(view: View) -> Narrow:
    """All calls of the range and the filters."""
    return Narrow(_ranged("All calls", view), view.chosen)


def by_group(view: View, by: str, groups: Sequence[str], colour: Mapping[str, str]) -> Pick:
    """Picks from a chart of the groups of a breakdown, those without a colour joined."""
    rest, names = tuple(one for one in groups if one not in colour), view.names(by)

    def pick(_place: str, part: str) -> Narrow | None:
        if part == OTHERS and rest and "others" not in rest and by in _FIELDS:
            return Narrow(_ranged(OTHERS, view), _of(view.chosen, by, rest))
        return group(view, by, part, names.get(part, part)) if part in groups else None

    return pick


def by_step(
    view: View, frame: "DataFrame", by: str, colour: Mapping[str, str], outcomes: Outcomes | None = None
) -> Pick:
    """Picks from a chart over time of `frame` (`start`, `group`). `outcomes`: those of a part that is no group."""
    starts = list(frame["start"].drop_duplicates())
    names_of_steps = charts.labels(frame["start"].drop_duplicates(), view.step).tolist()
    ends = view.ends(starts)
    rest = tuple(one for one in frame["group"].drop_duplicates() if one not in colour)
    names = view.names(by)

    def pick(x: str, part: str) -> Narrow | None:
        mine = [place for place, label in enumerate(names_of_steps) if label == x[: len(label)]]
        if not mine:
            return None
        start, end = max(starts[mine[0]], view.chosen.start), min(ends[mine[-1]], view.chosen.end)
        if start >= end:
            return None
        here, when = replace(view.chosen, start=start, end=end), _when(starts[mine[0]], view.step)
        if outcomes is not None:
            only = tuple(outcomes.get(part, ()))
            return Narrow(f"{part}, {when}" if only else when, here, outcomes=only)
        values = rest if part == OTHERS else (part,)
        if by in _FIELDS and part and "others" not in values:
            return Narrow(f"{names.get(part, part)}, {when}", _of(here, by, values))
        return Narrow(when, here)

    return pick


def days(view: View, start: datetime, end: datetime) -> str:
    """`26 Nov 2026` or `1 Nov – 26 Nov 2026`; `end` is not part of it."""
    first, last = start.astimezone(view.zone), (end - timedelta(microseconds=1)).astimezone(view.zone)
    if first.date() == last.date():
        return f"{last:%-d %b %Y}"
    return f"{first:{'%-d %b' if first.year == last.year else '%-d %b %Y'}} – {last:%-d %b %Y}"


def _ranged(label: str, view: View) -> str:
    """With the range that it is of."""
    return f"{label}, {days(view, view.chosen.start, view.chosen.end)}"


def _of(chosen: Filter, by: str, values: tuple[str, ...]) -> Filter:
    only: dict[str, Any] = {_FIELDS[by]: values}
    return replace(chosen, **only)


def open_if_asked() -> None:
    """The calls behind what was selected in this run, beside the page."""
    narrow = st.session_state.pop(_OPEN, None)
    if narrow is not None:
        st.session_state["usage_cursors"] = []
        _calls(narrow)


def ask(narrow: Narrow) -> None:
    """A callback: show these calls."""
    st.session_state[_OPEN] = narrow


@st.dialog("Calls", width="large", position="right", icon=":material/receipt_long:")
def _calls(narrow: Narrow) -> None:
    principal = session.require_principal()
    st.markdown(f"**{plain(narrow.label)}**")
    cursors = st.session_state.setdefault("usage_cursors", [])
    try:
        found = core().usage.calls(
            principal, narrow.chosen, _PAGE + 1, cursors[-1] if cursors else None, outcomes=narrow.outcomes,
            error_types=narrow.error_types,
        )  # fmt: skip
        rows = found[:_PAGE]
        if not rows:
            st.caption("No call is behind this number any more, or its rows have been deleted.")
            return
        zone = viewer_zone()
        names = {one.id: one.name for one in kept_choices(principal).people}
        selected = _list(rows, names, zone.key, principal.is_admin)
        more = len(found) > _PAGE
        _pages(cursors, rows, more, _number_of(principal, narrow) if cursors or more else len(rows))
        if selected is None:
            st.caption(f"Newest first, times of {zone.key}. Select a call to see all that is known of it.")
        else:
            usage_call.draw(core().usage.call(principal, selected.id), names, zone)
    except ChatcoreError as error:
        st.error(str(error), icon=":material/error:")


def _number_of(principal: Principal, narrow: Narrow) -> int | None:
    """How many calls there are in all; None where only reading them all would tell."""
    if narrow.error_types:
        return None
    sums = kept_totals(principal, narrow.chosen)
    return sum(getattr(sums, name) for name in narrow.outcomes) if narrow.outcomes else sums.calls


def _pages(cursors: list[Any], rows: Sequence[Call], more: bool, number: int | None) -> None:
    def older() -> None:
        cursors.append(rows[-1].cursor)

    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Newer", key="usage_newer", icon=":material/chevron_left:", disabled=not cursors, on_click=cursors.pop
        )
        st.button("Older", key="usage_older", icon=":material/chevron_right:", disabled=not more, on_click=older)
        first = len(cursors) * _PAGE
        of = "" if number is None else f" of {max(number, first + len(rows)):,}"
        st.caption(f"{first + 1:,}–{first + len(rows):,}{of}")


def _list(rows: Sequence[Call], names: Mapping[str, str], zone: str, with_people: bool) -> Call | None:
    """The rows, newest first; the one that is selected."""
    config: dict[str, Any] = {
        "at": st.column_config.DatetimeColumn("Time", format="D MMM, HH:mm:ss", timezone=zone, pinned=True),
        **({"person": "Person"} if with_people else {}),
        "model": "Model",
        "outcome": "Outcome",
        "tokens_in": _number("Tokens in", format="localized"),
        "tokens_out": _number("Tokens out", format="localized"),
        "cost": _number("Cost", format="$%.6f", help="Empty where the price was not known."),
        "first_word": _number("First word", format="%.2f s"),
        "seconds": _number("Duration", format="%.1f s"),
        "purpose": "Purpose",
        "source": st.column_config.TextColumn("Tokens from", help="`estimated`: counted by us, not by the provider."),
    }
    # A key of the page of rows: a selection is not taken along to the next.
    event = st.dataframe(
        [_row(row, names) for row in rows], column_order=list(config), column_config=config, hide_index=True,
        placeholder="–", key=f"usage_calls-{rows[0].id}", on_select="rerun", selection_mode="single-row",
        alt="The calls behind the number, newest first",
    )  # fmt: skip
    picked = event.selection.rows
    return rows[picked[0]] if picked and picked[0] < len(rows) else None


def _row(row: Call, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "at": row.created_at,
        "person": names.get(row.user_id) or row.username or row.user_id,
        "model": row.model,
        "purpose": row.purpose,
        "outcome": row.outcome if row.error_type in (None, row.outcome) else f"{row.outcome} ({row.error_type})",
        "tokens_in": row.prompt_tokens,
        "tokens_out": row.completion_tokens,
        "source": row.usage_source,
        "cost": None if row.cost_nano_usd is None else row.cost_nano_usd / 1e9,
        "first_word": None if row.ttft_ms is None else row.ttft_ms / 1000,
        "seconds": None if row.latency_ms is None else row.latency_ms / 1000,
    }


def _when(start: datetime, step: str) -> str:
    shown = {"hour": "%-d %b, %H:%M", "month": "%B %Y", "week": "the week of %-d %b %Y"}.get(step, "%-d %b %Y")
    return f"{start:{shown}}"
