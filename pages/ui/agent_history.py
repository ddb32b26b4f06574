"""The versions of an agent: who saved what and when, what it changed, and the way back."""

from collections.abc import Mapping
from functools import partial
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.agents import Change, OpenedAgent, Version, changes
from chatcore.bootstrap import core
from pages.ui import acts
from pages.ui.text import ago, plain

_PAGES: Final = "agent_history_pages"  # how many more are shown


def draw(principal: Principal, agent: OpenedAgent, names: Mapping[str, str]) -> None:
    """Newest first, each with what it changed folded away. `names`: of tools, knowledge bases and people."""
    found = list(core().agents.versions(principal, agent.id))
    for _ in range(st.session_state.get(_PAGES, 0)):
        found += core().agents.versions(principal, agent.id, found[-1].number)
    if found[0].number == 1:
        st.caption("Each save is a version. There is one so far.")
    for version in found:
        _draw_version(principal, agent, version, names)
    if found[-1].number > 1:
        st.button("Show earlier versions", key="agent_earlier", type="tertiary", on_click=_more)


def draw_changes(found: list[Change]) -> None:
    """A difference, as it can be read."""
    if not found:
        st.caption("Nothing is different.")
    for one in found:
        if one.lines:
            st.markdown(f"**{plain(one.label)}**")
            st.code("\n".join(one.lines), language="diff", wrap_lines=True)
        else:
            st.markdown(f"**{plain(one.label)}:** {plain(one.before)} → {plain(one.after)}")


def _draw_version(principal: Principal, agent: OpenedAgent, version: Version, names: Mapping[str, str]) -> None:
    now = version.number == agent.version
    said = [f"**Version {version.number}**", plain(version.person), ago(version.created_at), *(["now"] if now else [])]
    label = " · ".join(one for one in said if one)
    if version.note:
        label += f"  \n{plain(version.note)}"
    with st.expander(label, key=f"agent_version-{version.number}", on_change="rerun") as more:
        if not more.open:
            return
        content = core().agents.version(principal, agent.id, version.number)
        if version.number > 1:
            st.caption(f"Changed since version {version.number - 1}")
            draw_changes(changes(core().agents.version(principal, agent.id, version.number - 1), content, names))
        if not now:
            st.caption("Changed since, until now")
            draw_changes(changes(content, agent.content, names))
            st.button(
                f"Go back to version {version.number}", key=f"agent_back-{version.number}", icon=":material/undo:",
                on_click=_go_back, args=(principal, agent, version.number),
                help="Saved as a new version. Who may use the agent stays as it is.",
            )  # fmt: skip


def _go_back(principal: Principal, agent: OpenedAgent, number: int) -> None:
    roll_back = partial(core().agents.roll_back, principal, agent.id, number, agent.version)
    acts.act(roll_back, f"The agent is as version {number} was.")


def _more() -> None:
    st.session_state[_PAGES] = st.session_state.get(_PAGES, 0) + 1
