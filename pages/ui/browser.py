"""What only the browser can do on the chat page: keep a draft over a reload, tell that the connection is down."""

from pathlib import Path

import streamlit as st

_element = st.components.v2.component(
    "chatcore_browser",
    html="<div class='banner' role='status' hidden></div>",
    css=Path(__file__).with_name("browser.css").read_text(),
    js=Path(__file__).with_name("browser.js").read_text(),
)


def draw(user_id: str, conversation_id: str) -> None:
    """Watch the connection and keep what is typed for this conversation (`new` for none) in the browser's storage."""
    _element(data={"draft": f"chatcore-draft:{user_id}:{conversation_id}"}, key="browser", height=0)


def draw_style() -> None:
    """The few rules that the theme's settings cannot say."""
    st.html(f"<style>{_STYLE}</style>")


_STYLE = Path(__file__).with_name("style.css").read_text()
