"""What only the browser can do on the chat page: keep a draft over a reload, tell that the connection is down, copy."""

import secrets
from pathlib import Path
from typing import Final

import streamlit as st

_COPIED: Final = "chat_copied"
_HERE = Path(__file__).parent
_element = st.components.v2.component(
    "chatcore_browser",
    html="""<div class='banner' role='status' hidden></div>
<button class='end' type='button' aria-label='Jump to the end' title='Jump to the end' hidden>
<svg viewBox='0 0 24 24' width='20' height='20' aria-hidden='true'><path d='M12 5v13m-6-6 6 6 6-6'/></svg></button>""",
    css=(_HERE / "browser.css").read_text(),
    js=(_HERE / "browser.js").read_text(),
)
_copy = st.components.v2.component(
    "chatcore_copy",
    html="""<button type='button' aria-label='Copy reply' title='Copy reply'>
<svg viewBox='0 0 24 24' width='16' height='16' aria-hidden='true'><path
 d='M9 9h10v11H9zM15 9V4H5v11h4'/></svg><span role='status'></span></button>""",
    css=(_HERE / "copy.css").read_text(),
    js=(_HERE / "copy.js").read_text(),
)
_STYLE = (_HERE / "style.css").read_text()


def draw(
    user_id: str,
    conversation_id: str,
    returned: dict[str, str] | None = None,
    *,
    target: str | None = None,
    editing: str | None = None,
) -> None:
    """Watch the connection and keep what is typed for this conversation (`new` for none) in the browser's storage.

    `returned`: an `id` and a `text` that is put into the input, once, behind what stands there. `target`: the id of
    the message that is scrolled to, once. `editing`: that of the question whose editor is scrolled to, once.
    """
    once = {"target": target, "editing": editing, "copied": st.session_state.pop(_COPIED, None)}
    data = {"draft": f"chatcore-draft:{user_id}:{conversation_id}", "returned": returned, **once}
    _element(data=data, key="browser", height=0)


def copy(text: str) -> None:
    """Put `text` into the clipboard when the page is drawn next."""
    st.session_state[_COPIED] = {"id": secrets.token_hex(4), "text": text}


def draw_copy(text: str) -> None:
    """A button that copies `text`."""
    _copy(data={"text": text}, key="copy", height="content", width="content")


def draw_style() -> None:
    """The few rules that the theme's settings cannot say."""
    st.html(f"<style>{_STYLE}</style>")
