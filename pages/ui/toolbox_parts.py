"""Tools as an admin sees them: which there are, which cannot be used and why, and how the MCP servers do."""

from datetime import UTC, datetime
from functools import partial
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError
from chatcore.tools.mcp import Health
from pages.ui import acts, session
from pages.ui.text import ago, plain

_REFRESH: Final = 3  # seconds
_STATES: Final = {
    "ready": (":green[:material/check_circle:]", "answers"),
    "starting": (":gray[:material/hourglass_top:]", "is being connected to"),
    "away": (":red[:material/error:]", "away"),
}


def draw(principal: Principal) -> None:
    """The built-in tools, then the servers, which look again by themselves."""
    st.subheader("Tools")
    st.caption("What agents can be given. Who makes an agent chooses among these.")
    for choice in core().toolbox.choices(principal):
        if choice.name.startswith("mcp/"):
            continue
        with st.container(key=f"admin-row-tool-{choice.name}", gap=None):
            st.markdown(f"{choice.icon} **{plain(choice.label)}**")
            st.caption(plain(choice.description))
            if choice.why_not:
                st.caption(f":orange[:material/block: {plain(choice.why_not)}]")
    _servers()


@st.fragment(run_every=_REFRESH)
def _servers() -> None:
    principal = session.require_principal()
    if not principal.is_admin:
        return
    acts.say()
    st.subheader("MCP servers")
    try:
        found = core().mcp.health(principal)
    except ChatcoreError as error:
        st.error(str(error), icon=":material/error:")
        return
    if not found:
        st.caption("None is configured. They stand in the config file, under `mcp_servers`.")
    for health in found:
        _row(principal, health)


def _row(principal: Principal, health: Health) -> None:
    icon, word = _STATES[health.state]
    since = ago(datetime.fromtimestamp(health.since, UTC))
    with st.container(key=f"admin-row-mcp-{health.server}", horizontal=True, vertical_alignment="center"):
        with st.container(gap=None):
            st.markdown(f"{icon} **{plain(health.server)}** :gray[· {word}, since {since}]")
            st.caption(_facts(health))
            if health.said:
                st.caption(f":orange[{plain(health.said)}]")
        if principal.is_operator:
            st.button(
                f"Connect {plain(health.server)} anew", key=f"mcp-again-{health.server}", icon=":material/refresh:",
                type="tertiary", on_click=partial(_again, principal, health.server),
            )  # fmt: skip


def _facts(health: Health) -> str:
    facts = [f"{health.tools} tools"]
    if health.kept_out:
        facts.append(f"{health.kept_out} kept out, as their description cannot be used")
    if health.round_trip_ms is not None:
        facts.append(f"{health.round_trip_ms} ms to its last answer")
    return " · ".join(facts)


def _again(principal: Principal, server: str) -> None:
    acts.act(lambda: core().mcp.reconnect(principal, server), f"{server} is being connected to anew.")
