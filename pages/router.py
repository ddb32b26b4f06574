"""The script that every page run begins with: who is there, which page they asked for, and nothing else unguarded.

For someone who is not signed in every path exists and draws the sign-in form, so that a deep link is kept.
"""

from pathlib import Path

import streamlit as st

from chatcore.errors import ChatcoreError
from pages.ui import browser, session, sidebar

# A file of ours: for a named icon the browser would ask a server on the internet.
ICON = str(Path(__file__).parent / "ui" / "icon.png")
PAGES = (
    ("chat", "Chat"),
    ("usage", "Usage"),
    ("account", "Account"),
    ("admin", "People"),
)


def navigation(signed_in: bool) -> list[st.Page]:
    return [
        st.Page(
            f"{path}.py" if signed_in else "login.py",
            title=title if signed_in else "Sign in",
            url_path=path,
            default=path == "chat",
        )
        for path, title in PAGES
    ]


def run() -> None:
    principal = session.current_principal()
    by_link = any(kind in st.query_params for kind in session.CODE_KINDS)
    if principal is None and session.session_id() and not st.session_state.get("signed_out"):
        session.forget()
        st.session_state["signed_out"] = True
    page = st.navigation(navigation(principal is not None and not by_link), position="hidden")
    wide = page.url_path in ("usage", "admin") and principal is not None
    st.set_page_config(page_title=f"{page.title} · Chatcore", page_icon=ICON, layout="wide" if wide else "centered")
    if principal is not None and not by_link:
        browser.draw_style()
        session.hand_on(principal)
        if page.url_path:  # the chat page draws it itself, after the first words
            sidebar.draw_navigation(principal)
    st.logo(ICON, size="large")
    try:
        page.run()
    except ChatcoreError as error:
        st.error(str(error), icon=":material/error:")


run()
