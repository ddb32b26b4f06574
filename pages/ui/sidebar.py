"""The sidebar's frame: where one can go, and who one is."""

from collections.abc import Callable

import streamlit as st

from chatcore.accounts import Principal
from pages.ui import firing, session
from pages.ui.text import plain


def draw_navigation(principal: Principal, on_shortcuts: Callable[[], None] | None = None) -> None:
    """Links to the pages this person has, and their name with Sign out. `on_shortcuts`: opens the list of shortcuts."""
    with st.sidebar, st.container(key="navigation", gap="xxsmall"):
        st.page_link("chat.py", label="Chat", icon=":material/chat_bubble:")
        st.page_link("history.py", label="History", icon=":material/history:")
        st.page_link("shared.py", label="Shared", icon=":material/group:")
        st.page_link("agents.py", label="Agents", icon=":material/smart_toy:")
        st.page_link("workshops.py", label="Workshops", icon=":material/design_services:")
        st.page_link("knowledge.py", label="Knowledge", icon=":material/menu_book:")
        st.page_link("prompts.py", label="Prompts", icon=":material/library_books:")
        st.page_link("usage.py", label="Usage", icon=":material/bar_chart:")
        st.page_link("account.py", label="Account", icon=":material/person:")
        if principal.is_admin:
            st.page_link("admin.py", label=f"Admin{firing.badge(principal)}", icon=":material/manage_accounts:")
        st.divider()
        with st.container(horizontal=True, vertical_alignment="center", gap="xxsmall"):
            st.caption(plain(principal.name), width="stretch")
            if on_shortcuts is not None:
                st.button(
                    "Keyboard shortcuts", key="shortcuts", icon=":material/keyboard:", type="tertiary",
                    on_click=on_shortcuts, shortcut="Alt+K",
                )  # fmt: skip
            leaves = st.button("Sign out", key="sign_out", icon=":material/logout:", type="tertiary")
        if leaves:
            session.sign_out()
            st.stop()
