"""What an agent was used for in the last 30 days, and what people thought of it."""

import streamlit as st

from chatcore.accounts import Principal
from chatcore.agents import Figures
from chatcore.bootstrap import core
from pages.ui.figures import compact, percent, usd


def draw(principal: Principal, agent_id: str) -> None:
    """Cards; a sentence where the figures are not theirs to see."""
    found = core().agents.figures(principal, [agent_id]).get(agent_id)
    if found is None:
        st.info("Only its owner and admins see how an agent is used.", icon=":material/lock:")
        return
    people = core().agents.people(principal, agent_id)
    st.caption("The last 30 days")
    with st.container(key="agent_figures", horizontal=True):
        st.metric("Calls", compact(found.calls), border=True, help="To models, titles among them.")
        counted = "There are too many calls to look through." if people is None else "By at least one call."
        st.metric("People", "–" if people is None else compact(people), border=True, help=counted)
        st.metric("Tokens", compact(found.tokens), border=True, help="In and out.")
        missing = f"Without {found.unpriced:,} calls whose cost is unknown." if found.unpriced else None
        st.metric("Cost", usd(found.cost_nano_usd) if found.calls else "$0", border=True, help=missing)
        st.metric("Rating", _stars(found), border=True, help=_rated(found))


def line(found: Figures) -> str:
    """`42 calls · $0.12 · ★ 4.5` for a card; '' where nobody used it."""
    if not found.calls:
        return ""
    said = [f"{compact(found.calls)} calls", usd(found.cost_nano_usd) if found.cost_nano_usd is not None else ""]
    said += [f"★ {found.mean_stars:.1f}"] if found.mean_stars is not None else []
    return " · ".join(one for one in said if one).replace("$", "\\$")


def _stars(found: Figures) -> str:
    return "–" if found.mean_stars is None else f"★ {found.mean_stars:.1f}"


def _rated(found: Figures) -> str:
    if found.good is None:
        return "No reply of it was rated."
    return f"{found.ratings:,} ratings, {percent(found.good)} of them with four or five stars."
