"""Tabs that do not fit on a phone: the open one is scrolled into sight, also where an address has opened it."""

import streamlit as st

_in_sight = st.components.v2.component(
    "chatcore_tab_in_sight",
    js="""
export default function () {
  const open = document.querySelector('[data-testid="stTabs"] [role="tab"][aria-selected="true"]')
  if (open) open.scrollIntoView({ block: "nearest", inline: "center" })
}
""",
)


def show_open() -> None:
    """Call it behind the tabs."""
    _in_sight(key="tab_in_sight", height=0)
