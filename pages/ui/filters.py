"""The usage page's filters. Their state is the URL, so a view can be bookmarked, sent and gone back to.

`?range=24h|7d|30d|90d|365d|month|last-month|2026-01-05..2026-01-20`, `&step=hour|day|week|month`, `&by=model|…`, and
once for each chosen one `&model=`, `&person=`, `&provider=`, `&agent=`, `&team=`, `&tier=`. What cannot be understood,
or is not theirs to ask, is dropped and the URL set right; a value of a filter that was dropped is told. Other
parameters, as the open tab, stay. The widgets are not
bound to the URL by Streamlit itself (`bind="query-params"`), as their keys would have to be `model` and `range` and
meet the chat page's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final, get_args

import streamlit as st

from chatcore.usage import Filter, Step, default_step, steps, zones
from pages.ui.text import plain

Known = Mapping[str, Mapping[str, str]]
"""What can be chosen: for each kind its values with their names."""

DEFAULT_RANGE: Final = "30d"
MAX_DAYS: Final = 7_305  # 20 years
AUTO: Final = "auto"
_FIRST_DAY: Final = date(2000, 1, 1)  # before there was anything to count
KINDS: Final = {
    "model": ("Models", "All models"),
    "provider": ("Providers", "All providers"),
    "agent": ("Agents", "With any agent or none"),
    "person": ("People", "Everybody"),
    "team": ("Teams", "All teams"),
    "tier": ("Tiers", "All tiers"),
}
BYS: Final = {
    "model": "model", "provider": "provider", "agent": "agent", "user": "person", "team": "team", "tier": "tier"
}  # fmt: skip
_RANGES: Final = {
    "24h": "Last 24 hours", "7d": "Last 7 days", "30d": "Last 30 days", "90d": "Last 90 days", "365d": "Last 365 days",
    "month": "This month", "last-month": "Last month", "custom": "Custom days",
}  # fmt: skip
_STEPS: Final = get_args(Step)
_OWN: Final = ("range", "step", "by", *KINDS)


@dataclass(frozen=True)
class Choice:
    """What the filters say. `dates`: first and last day of a custom range, both part of it. `only`: by kind, what
    alone counts. `step`: a step, or `auto`. `by`: what the charts are split by."""

    range: str = DEFAULT_RANGE
    dates: tuple[date, date] | None = None
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    step: str = AUTO
    by: str = "model"

    def params(self) -> dict[str, list[str]]:
        """As URL query parameters; what is as by default is left out."""
        text = f"{self.dates[0]}..{self.dates[1]}" if self.range == "custom" and self.dates else self.range
        values = {
            "range": [] if text == DEFAULT_RANGE else [text],
            "step": [] if self.step == AUTO else [self.step],
            "by": [] if self.by == "model" else [self.by],
            **{kind: [*self.only.get(kind, ())] for kind in KINDS},
        }
        return {name: value for name, value in values.items() if value}

    def days(self, today: date) -> tuple[date, date]:
        """First and last day, both part of the range."""
        if self.range == "custom" and self.dates:
            return self.dates
        if self.range == "month":
            return today.replace(day=1), today
        if self.range == "last-month":
            last = today.replace(day=1) - timedelta(days=1)
            return last.replace(day=1), last
        length = 1 if self.range == "24h" else int(self.range.removesuffix("d"))
        return today - timedelta(days=length - 1), today

    def filter(self, now: datetime, zone: tzinfo = UTC) -> Filter:
        """The question to the ledger: whole days of the zone; for the last 24 hours, those up to the next full one."""
        if self.range == "24h":
            end = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
            start = end - timedelta(hours=24)
        else:
            first, last = self.days(now.astimezone(zone).date())
            start, end = zones.begin(first, zone), zones.begin(last + timedelta(days=1), zone)
        only = self.only.get
        return Filter(
            start, end, only("model", ()), only("person", ()),
            providers=only("provider", ()), agents=only("agent", ()), teams=only("team", ()), tiers=only("tier", ()),
        )  # fmt: skip

    def before(self, chosen: Filter, now: datetime, zone: tzinfo = UTC) -> Filter:
        """What to compare with: the range just before; for a month the month before, as much of it as has passed."""
        if self.range not in ("month", "last-month"):
            return chosen.previous(now, zone)
        first = chosen.start.astimezone(zone)
        start = zones.month_start(first - timedelta(days=1), zone).astimezone(zone)
        if now >= chosen.end:
            return replace(chosen, start=start, end=chosen.start)
        passed = now.astimezone(zone) - first  # by the clock on the wall, whatever it was set to meanwhile
        return replace(chosen, start=start, end=min(start + passed, chosen.start))

    def step_in(self, chosen: Filter) -> Step:
        """The step that was chosen where the range allows it, else the range's own."""
        allowed = steps(chosen)
        return next((one for one in allowed if one == self.step), default_step(chosen, self.by))


def parse(params: Mapping[str, Sequence[str]], known: Known, today: date, zone: tzinfo = UTC) -> Choice:
    """The choice that a URL asks for, without what does not exist. `today`: in `zone`."""
    text = _last(params, "range", DEFAULT_RANGE)
    dates = _dates(text, today)
    name = text if text in _RANGES and text != "custom" else DEFAULT_RANGE
    only = {
        kind: tuple(value for value in offered(known).get(kind, ()) if value in params.get(kind, ()))
        for kind in KINDS
    }  # fmt: skip
    step, by = _last(params, "step", AUTO), _last(params, "by", "model")
    choice = Choice(
        range="custom" if dates else name,
        dates=dates,
        only={kind: values for kind, values in only.items() if values},
        by=by if by in bys(known) else "model",
    )
    allowed = steps(choice.filter(datetime.combine(today, datetime.min.time(), zone), zone))
    return Choice(choice.range, choice.dates, choice.only, step if step in allowed else AUTO, choice.by)


def gone(params: Mapping[str, Sequence[str]], known: Known) -> list[str]:
    """The values of filters in a URL that are none here: gone, never there, or not theirs to ask for."""
    return [value for kind in KINDS for value in params.get(kind, ()) if value not in known.get(kind, ())]


def offered(known: Known) -> Known:
    """What there is to choose from: kinds with more than one value; always models."""
    return {kind: names for kind, names in known.items() if kind == "model" or len(names) > 1}


def bys(known: Known) -> list[str]:
    """What a chart can be split by: kinds of which there is anything to tell apart."""
    return [by for by, kind in BYS.items() if by == "model" or offered(known).get(kind)]


def draw(known: Known, now: datetime, zone: tzinfo) -> Choice:
    """Draw the filters in one row and return what they say. A kind with nothing to choose from has no filter."""
    today = now.astimezone(zone).date()
    asked = {name: st.query_params.get_all(name) for name in _OWN if name in st.query_params}
    afresh = st.session_state.get("usage_url") != asked
    _seed(parse(asked, known, today, zone), today, afresh)
    choice = _widgets(offered(known), now, zone)
    wanted = choice.params()
    _tell_gone(gone(asked, known) if afresh else None, changed=asked != wanted)
    if asked != wanted:
        for name in _OWN:  # one by one: what else the URL holds is not ours
            if name in wanted:
                st.query_params[name] = wanted[name]
            elif name in asked:
                del st.query_params[name]
    st.session_state["usage_url"] = wanted
    return choice


def _tell_gone(found: list[str] | None, changed: bool) -> None:
    """What was asked for and is none, until the filters change: the numbers are of more than was asked for.

    `found`: None where the URL is as we left it.
    """
    if found is not None or changed:
        st.session_state["usage_gone"] = found or []
    told = st.session_state.get("usage_gone")
    if told:
        names = ", ".join(f"“{plain(one[:60])}”" for one in told[:5])
        text = f"Nothing is known here of {names}: filtering by that was left out, and all else counts."
        st.warning(text, icon=":material/filter_list_off:")


def draw_by(known: Known) -> None:
    """The choice what charts are split by, where it is needed; `Choice.by` says what it is."""
    st.segmented_control("By", bys(known), format_func=BYS.__getitem__, key="usage_by", required=True, wrap=True)


def _widgets(known: Known, now: datetime, zone: tzinfo) -> Choice:
    today = now.astimezone(zone).date()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="usage_filters"):
        chosen = st.selectbox("Range", list(_RANGES), format_func=_RANGES.__getitem__, key="usage_range", width=160)
        dates = st.session_state["usage_dates"]
        if chosen == "custom":
            dates = st.date_input("Days", key="usage_dates", max_value=today, width=260)
        narrow = Choice(chosen, _ordered(dates, today))
        step = _step(narrow.filter(now, zone))
        only = _only(known)
    _badges(known, only)
    return Choice(chosen, narrow.dates, only, step, st.session_state["usage_by"])


def _step(chosen: Filter) -> str:
    own, allowed = default_step(chosen, st.session_state["usage_by"]), [AUTO, *steps(chosen)]
    if st.session_state["usage_step"] not in allowed:
        st.session_state["usage_step"] = AUTO
    names = {AUTO: f"Auto ({own})", **{step: step.capitalize() for step in _STEPS}}
    return st.selectbox("Per", allowed, format_func=names.__getitem__, key="usage_step", width=150)


def _only(known: Known) -> dict[str, tuple[str, ...]]:
    """The other filters, folded away, with the number of those that hold."""
    used = sum(bool(st.session_state[f"usage_{kind}"]) for kind in KINDS)
    found: dict[str, tuple[str, ...]] = {}
    with st.popover(f"Filters ({used})" if used else "Filters", icon=":material/filter_list:", key="usage_more"):
        for kind, (label, nobody) in KINDS.items():
            names = known.get(kind, {})
            if names:
                key, show = f"usage_{kind}", names.__getitem__
                if any(value not in names for value in st.session_state[key]):  # it went while the page was open
                    st.session_state[key] = [value for value in st.session_state[key] if value in names]
                found[kind] = tuple(st.multiselect(label, list(names), format_func=show, key=key, placeholder=nobody))
        st.button("Clear all", key="usage_clear", on_click=_clear, disabled=not used)
    return {kind: values for kind, values in found.items() if values}


def _clear() -> None:
    for kind in KINDS:
        st.session_state[f"usage_{kind}"] = []


def _badges(known: Known, only: Mapping[str, tuple[str, ...]]) -> None:
    """What holds, in the open: a filter that is folded away must not be forgotten."""
    texts = []
    for kind, values in only.items():
        names = [known[kind][value] for value in values]
        told = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        texts.append(f":blue-badge[:material/filter_list: {plain(told)}]")
    if texts:
        st.markdown("Only " + " ".join(texts))


def _seed(choice: Choice, today: date, afresh: bool) -> None:
    """The widgets' state from the URL: all of it when the URL is new, else what was lost by not being drawn."""
    values = {
        "range": choice.range, "dates": choice.days(today), "step": choice.step, "by": choice.by,
        **{kind: [*choice.only.get(kind, ())] for kind in KINDS},
    }  # fmt: skip
    for name, value in values.items():
        if afresh or f"usage_{name}" not in st.session_state:
            st.session_state[f"usage_{name}"] = value


def _last(params: Mapping[str, Sequence[str]], name: str, default: str) -> str:
    return (params.get(name) or [default])[-1]


def _dates(text: str, today: date) -> tuple[date, date] | None:
    try:
        first, last = (date.fromisoformat(part) for part in text.split(".."))
    except ValueError:
        return None
    return _ordered((first, last), today)


def _ordered(days: Sequence[date], today: date) -> tuple[date, date] | None:
    """First and last of the days, none in the future, at most 20 years apart. A calendar half picked is one day."""
    if not days:
        return None
    last = max(min(max(days), today), _FIRST_DAY)
    return max(min(min(days), last), last - timedelta(days=MAX_DAYS - 1), _FIRST_DAY), last
