"""The script that every page run begins with: who is there, which page they asked for, and nothing else unguarded.

For someone who is not signed in every path exists and draws the sign-in form, so that a deep link is kept.
"""

import re
from pathlib import Path

import streamlit as st

from chatcore.errors import ChatcoreError
from pages.ui import browser, chat_sidebar, session, sidebar, temporary

# A file of ours: for a named icon the browser would ask a server on the internet.
ICON = str(Path(__file__).parent / "ui" / "icon.png")
_A_PATH = re.compile(r"[A-Za-z0-9._~-]{1,100}")
PAGES = (
    ("chat", "Chat"),
    ("history", "History"),
    ("agents", "Agents"),
    ("knowledge", "Knowledge"),
    ("workshops", "Workshops"),
    ("prompts", "Prompts"),
    ("shared", "Shared"),
    ("usage", "Usage"),
    ("account", "Account"),
    ("admin", "Admin"),
)


def navigation(signed_in: bool, asked: str) -> list[st.Page]:
    """The pages, and one for the path `asked` that says that it is none: Streamlit's own dialog names files."""
    pages = [
        st.Page(
            f"{path}.py" if signed_in else "login.py",
            title=title if signed_in else "Sign in",
            url_path=path,
            default=path == "chat",
        )
        for path, title in PAGES
    ]
    if _A_PATH.fullmatch(asked) and asked not in dict(PAGES):
        pages.append(
            st.Page(nowhere, title="Not found", url_path=asked)
            if signed_in
            else st.Page("login.py", title="Sign in", url_path=asked)
        )
    return pages


def nowhere() -> None:
    st.info("There is no such page.", icon=":material/search_off:")


def run() -> None:
    principal = session.current_principal()
    by_link = any(kind in st.query_params for kind in session.CODE_KINDS)
    if principal is None and session.session_id() and not st.session_state.get("signed_out"):
        session.forget()
        st.session_state["signed_out"] = True
    inside = principal is not None and not by_link
    page = st.navigation(navigation(inside, session.path().strip("/")), position="hidden")
    wide = page.url_path in ("usage", "admin") and principal is not None
    st.set_page_config(page_title=f"{page.title} · Chatcore", page_icon=ICON, layout="wide" if wide else "centered")
    try:
        if principal is None or by_link:
            page.run()
            return
        browser.draw_style()
        temporary.leave_others(principal, st.query_params.get("c") if page.url_path == "" else None)
        if page.url_path:  # the chat page draws them itself, after the first words
            chat_sidebar.draw_elsewhere(principal)
            sidebar.draw_navigation(principal)
        st.logo(ICON, size="large")
        with session.handed_on(principal):
            page.run()
    except ChatcoreError as error:
        st.error(str(error), icon=":material/error:")


run()
