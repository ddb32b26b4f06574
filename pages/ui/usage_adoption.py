"""Adoption: how many people use it, how much, and whether they like what they get."""

from typing import TYPE_CHECKING, Final

import streamlit as st

from chatcore.usage import Adoption, GroupBy
from pages.ui import charts, figures, rating_parts, usage_export
from pages.ui import usage_parts as parts
from pages.ui.usage_data import View

if TYPE_CHECKING:
    from pandas import DataFrame

_LINES: Final = {"Questions asked": "messages", "Conversations begun": "conversations"}
_COLOURS: Final = {"Questions asked": "#E69F00", "Conversations begun": "#009E73"}


def draw(view: View) -> None:
    now, before = view.adoption_summary(), view.adoption_before()
    _cards(now, before, view)
    parts.notes(view.totals())
    if now.ratings:
        thumbs = f":material/thumb_up: {now.thumbs_up:,} :material/thumb_down: {now.thumbs_down:,}"
        st.caption(f"{thumbs} of {now.ratings:,} ratings.")
    if view.totals().demo:
        st.caption("Demo data has no conversations and no ratings: only its calls are made up.")
    if view.choice.only.keys() - {"person", "team", "tier"}:
        st.caption("The cards and charts here count only the filters for people, teams and tiers.")
    frame = view.adoption()
    with st.grid(2 if view.principal.is_admin else 1, min_column_width=400):
        if view.principal.is_admin:
            title, counted = f"People with calls per {view.step}", frame[["start"]].assign(group="all")
            parts.bars(view, title, "none", counted, frame["people"], {"all": charts.ACCENT}, charts.count("people"))
        columns = {name: frame[column] for name, column in _LINES.items()}
        title = f"Questions and conversations per {view.step}"
        parts.curves(view, title, frame, columns, _COLOURS, charts.count("how many"))
    shown = _table(view, "user" if view.principal.is_admin else "agent")
    usage_export.draw(view, {f"Adoption per {view.step}": frame, "Table": shown})
    if view.principal.is_admin:
        rating_parts.draw_admin(view.principal, view.chosen.start)


def _cards(now: Adoption, before: Adoption, view: View) -> None:
    def card(label: str, name: str, note: str | None = None) -> parts.Card:
        mine, then = getattr(now, name), getattr(before, name)
        return parts.Card(label, figures.compact(mine), parts.change(mine, then), "normal", note)

    each = now.messages_per_person, before.messages_per_person
    stars = f"{now.thumbs_up:,} liked it (4 or 5 stars), {now.thumbs_down:,} did not (1 or 2)."
    mean, then = now.mean_stars, before.mean_stars
    shift = None if mean is None or then is None else round(mean - then, 1)
    everybody = card("People", "people", f"With at least one call; {now.new_people:,} of all accounts are new.")
    found = [
        *([everybody] if view.principal.is_admin else []),
        card("Questions", "messages", "Also in conversations that were deleted since."),
        card("Conversations", "conversations", "Begun in this range, and still there."),
        parts.Card("Per person", _each(each[0]), parts.change(*each), "normal", "Questions, of people with calls."),
        card("Agents used", "agents", "By at least one call."),
        parts.Card("Rating", "–" if mean is None else f"{mean:.1f} ★", shift or (0 if shift == 0 else None), "normal",
                   f"The mean of {now.ratings:,}. {stars}"),
    ]  # fmt: skip
    parts.cards(found, view)


def _each(number: float | None) -> str:
    return "–" if number is None else f"{number:.1f}" if number < 100 else figures.compact(number)


def _table(view: View, by: GroupBy) -> "DataFrame":
    """Who asks most; a member's own by agent."""
    frame = view.breakdown(by)
    frame = frame.sort_values(["calls", "group"], ascending=[False, True], ignore_index=True)
    columns = {
        "Calls": (frame["calls"], parts.number(format="localized", width=80)),
        "Share": parts.parts_of(frame["calls"]),
        "Tokens": (frame["prompt_tokens"] + frame["completion_tokens"], parts.number(format="localized")),
        "Cost": (frame["cost_nano_usd"], parts.number()),
    }
    return parts.groups(view, by, frame, columns, "usage-adoption-table", {"Cost": parts.dollars})
