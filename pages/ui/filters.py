"""The usage page's filters. Their state is the URL, so a view can be bookmarked, sent and gone back to.

`?range=7d|30d|90d|month|2026-01-05..2026-01-20`, `&model=` and `&person=` once for each chosen one. What cannot be
understood, or is not theirs to ask, is dropped and the URL set right. The widgets are not bound to the URL by
Streamlit itself (`bind="query-params"`), as their keys would have to be `model` and `range` and meet the chat page's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from chatcore.usage import Filter, Person

DEFAULT_RANGE: Final = "30d"
MAX_DAYS: Final = 366
_RANGES: Final = {"7d": "7 days", "30d": "30 days", "90d": "90 days", "month": "This month", "custom": "Custom"}
_KEYS: Final = ("usage_range", "usage_dates", "usage_models", "usage_people")


@dataclass(frozen=True)
class Choice:
    """What the filters say. `dates`: first and last day of a custom range, both part of it."""

    range: str = DEFAULT_RANGE
    dates: tuple[date, date] | None = None
    models: tuple[str, ...] = ()
    people: tuple[str, ...] = ()

    def params(self) -> dict[str, list[str]]:
        """As URL query parameters; what is as by default is left out."""
        text = f"{self.dates[0]}..{self.dates[1]}" if self.range == "custom" and self.dates else self.range
        values = {"range": [] if text == DEFAULT_RANGE else [text], "model": [*self.models], "person": [*self.people]}
        return {name: value for name, value in values.items() if value}

    def days(self, today: date) -> tuple[date, date]:
        """First and last day, both part of the range."""
        if self.range == "custom" and self.dates:
            return self.dates
        if self.range == "month":
            return today.replace(day=1), today
        return today - timedelta(days=int(self.range.removesuffix("d")) - 1), today

    def filter(self, today: date) -> Filter:
        """The question to the ledger: whole days in UTC."""
        first, last = self.days(today)
        midnight = [datetime.combine(day, time(), UTC) for day in (first, last + timedelta(days=1))]
        return Filter(midnight[0], midnight[1], self.models, self.people)


def parse(params: Mapping[str, Sequence[str]], models: Sequence[str], people: Sequence[str], today: date) -> Choice:
    """The choice that a URL asks for, without what does not exist."""
    text = (params.get("range") or [DEFAULT_RANGE])[-1]
    dates = _dates(text, today)
    known = text if text in _RANGES and text != "custom" else DEFAULT_RANGE
    return Choice(
        range="custom" if dates else known,
        dates=dates,
        models=tuple(name for name in models if name in params.get("model", ())),
        people=tuple(one for one in people if one in params.get("person", ())),
    )


def draw(models: Sequence[str], people: Sequence[Person], today: date) -> Choice:
    """Draw the filters in a row and return what they say. The person filter is there for more than one person only."""
    names = {person.id: person.name for person in people} if len(people) > 1 else {}
    asked = {name: st.query_params.get_all(name) for name in st.query_params}
    _seed(parse(asked, models, tuple(names), today), today, afresh=st.session_state.get("usage_url") != asked)
    choice = _widgets(models, names, today)
    if asked != choice.params():
        st.query_params.from_dict(choice.params())
    st.session_state["usage_url"] = choice.params()
    return choice


def _widgets(models: Sequence[str], names: Mapping[str, str], today: date) -> Choice:
    row = _row()
    chosen = row.segmented_control(
        "Range", list(_RANGES), format_func=_RANGES.__getitem__, key="usage_range", required=True, wrap=True
    )
    dates = st.session_state["usage_dates"]
    if chosen == "custom":
        dates = row.date_input("Days (UTC)", key="usage_dates", max_value=today, width=270)
    if chosen == "custom" or names:  # three in a row would leave no room for the names of what is chosen
        row = _row()
    picked = row.multiselect("Models", models, key="usage_models", placeholder="All models")
    persons: list[str] = []
    if names:
        show = names.__getitem__
        persons = row.multiselect("People", list(names), format_func=show, key="usage_people", placeholder="Everybody")
    return Choice(chosen or DEFAULT_RANGE, _ordered(dates, today), tuple(picked), tuple(persons))


def _row() -> DeltaGenerator:
    return st.container(horizontal=True, vertical_alignment="bottom", gap="small")


def _seed(choice: Choice, today: date, afresh: bool) -> None:
    """The widgets' state from the URL: all of it when the URL is new, else what was lost by not being drawn."""
    values = (choice.range, choice.days(today), list(choice.models), list(choice.people))
    for key, value in zip(_KEYS, values, strict=True):
        if afresh or key not in st.session_state:
            st.session_state[key] = value


def _dates(text: str, today: date) -> tuple[date, date] | None:
    try:
        first, last = (date.fromisoformat(part) for part in text.split(".."))
    except ValueError:
        return None
    return _ordered((first, last), today)


def _ordered(days: Sequence[date], today: date) -> tuple[date, date] | None:
    """First and last of the days, none in the future, at most a year apart. A calendar half picked is one day."""
    if not days:
        return None
    last = min(max(days), today)
    return max(min(min(days), last), last - timedelta(days=MAX_DAYS - 1)), last
