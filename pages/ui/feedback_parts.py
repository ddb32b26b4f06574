"""Feedback: what the team thinks of the models' replies, without names, by model, agent and stars."""

from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations.ratings import ModelRating, Wanted
from pages.ui import rating_parts

_PAGE: Final = 20
_TOLD: Final = (
    "From one to five stars, as people gave them below replies. You see neither who they are nor their "
    "conversations, but what they chose to send along."
)


def draw(principal: Principal) -> None:
    """Filters, the mean, the models, and what people wrote."""
    st.subheader("Feedback")
    st.caption(_TOLD)
    models, agent_ids = core().ratings.choices(principal)
    if not models:
        st.info("No reply has been rated yet. People rate one with the menu below it.", icon=":material/star:")
        return
    wanted = _filters(principal, models, agent_ids)
    found = core().ratings.by_model(principal, wanted=wanted)
    if not found:
        st.info("No rating is like that. Choose fewer filters.", icon=":material/filter_alt_off:")
        return
    _mean(found)
    rating_parts.draw_models(found)
    _comments(principal, wanted)


def _filters(principal: Principal, models: list[str], agent_ids: list[str]) -> Wanted:
    names = {one.id: one.name for one in core().agents.list(principal)}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.multiselect("Models", models, key="feedback-models", placeholder="All", width=260)
        agents = st.multiselect(
            "Agents", agent_ids, format_func=lambda one: names.get(one, "A former agent"), key="feedback-agents",
            placeholder="All", width=260,
        )  # fmt: skip
        stars = st.pills(
            "Stars", range(1, 6), format_func=lambda one: "★" * one, selection_mode="multi", key="feedback-stars"
        )
    return Wanted(tuple(chosen), tuple(agents), tuple(stars))


def _mean(found: list[ModelRating]) -> None:
    count = sum(one.count for one in found)
    mean = sum(one.mean * one.count for one in found) / count
    low = sum(sum(one.histogram[:2]) for one in found)
    with st.grid(3, min_column_width=140):
        st.metric("Mean", f"{mean:.1f} ★", border=True)
        st.metric("Ratings", f"{count:,}", border=True)
        st.metric("One or two stars", f"{low / count:.0%}", border=True)


def _comments(principal: Principal, wanted: Wanted) -> None:
    shown = st.session_state.setdefault("feedback_shown", _PAGE)
    found = core().ratings.comments(principal, wanted=wanted, limit=shown + 1)
    if not found:
        st.caption("Nobody has written anything with these.")
        return
    st.markdown("**What people wrote**")
    for one in found[:shown]:
        rating_parts.draw_comment(one)
    if len(found) > shown and st.button("Show more", key="feedback-more"):
        st.session_state["feedback_shown"] = shown + _PAGE
        st.rerun()
