"""The script that every page run begins with: who is there, which page they asked for, and nothing else unguarded.

For someone who is not signed in every path exists and draws the sign-in form, so that a deep link is kept.
"""

import streamlit as st

from chatcore.errors import ChatcoreError
from pages.ui import session, sidebar

PAGES = (
    ("chat", "Chat", ":material/chat_bubble:"),
    ("usage", "Usage", ":material/bar_chart:"),
    ("account", "Account", ":material/person:"),
    ("admin", "People", ":material/group:"),
)


def navigation(signed_in: bool) -> list[st.Page]:
    return [
        st.Page(
            f"{path}.py" if signed_in else "login.py",
            title=title if signed_in else "Sign in",
            icon=icon,
            url_path=path,
            default=path == "chat",
        )
        for path, title, icon in PAGES
    ]


def run() -> None:
    principal = session.current_principal()
    by_link = any(kind in st.query_params for kind in session.CODE_KINDS)
    if principal is None and session.session_id() and not st.session_state.get("signed_out"):
        session.forget()
        st.session_state["signed_out"] = True
    page = st.navigation(navigation(principal is not None and not by_link), position="hidden")
    wide = page.url_path in ("usage", "admin") and principal is not None
    st.set_page_config(
        page_title=f"{page.title} · Chatcore", page_icon=":material/forum:", layout="wide" if wide else "centered"
    )
    if principal is not None and not by_link:
        sidebar.draw_navigation(principal)
        session.hand_on(principal)
    try:
        page.run()
    except ChatcoreError as error:
        st.error(str(error), icon=":material/error:")


run()
