"""Handing a conversation out as a file."""

import logging
from collections.abc import Callable
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations.export import ExportFile
from chatcore.errors import ChatcoreError
from pages.ui.text import plain

log = logging.getLogger("chatcore.pages")

_FORMATS: Final = {
    "pdf": ("PDF", ":material/picture_as_pdf:"),
    "markdown": ("Markdown", ":material/article:"),
    "json": ("JSON", ":material/data_object:"),
}
_HOW: Final = """
PDF to print or to send, Markdown for notes and wikis: the messages that are shown. JSON is complete, with every branch,
and Chatcore can import it again.
"""


@st.fragment
def draw(principal: Principal, conversation_id: str) -> None:
    """Three formats; a file is made when its button is pressed, and handed out by a second one."""
    thoughts = st.checkbox(
        "With the models' thinking", key="export_thinking", help="In the PDF and in Markdown. JSON always holds it."
    )
    asked = None
    with st.container(horizontal=True, key="export_formats"):
        for kind, (label, icon) in _FORMATS.items():
            if st.button(label, key=f"export_{kind}", icon=icon):
                asked = kind
    st.caption(_HOW)
    if asked is None:
        return
    with st.spinner(f"Making the {_FORMATS[asked][0]} file…"):
        file = _tried(lambda: _made(principal, conversation_id, asked, thoughts))
    if file is not None:
        st.download_button(
            f"Download {_FORMATS[asked][0]} ({_size(len(file.data))})", file.data, file.name, file.media_type,
            key="export_download", type="primary", icon=":material/download:", on_click="ignore", help=plain(file.name),
        )  # fmt: skip


def _made(principal: Principal, conversation_id: str, kind: str, thoughts: bool) -> ExportFile:
    exports = core().exports
    if kind == "json":
        return exports.json(principal, conversation_id)
    labels = {model.name: model.display_name for model in core().gateway.catalog.models()}
    make = exports.pdf if kind == "pdf" else exports.markdown
    return make(principal, conversation_id, labels=labels, with_reasoning=thoughts)


def _tried(make: Callable[[], ExportFile]) -> ExportFile | None:
    """The file; None when it could not be made, after saying why."""
    try:
        return make()
    except ChatcoreError as error:
        st.error(str(error), icon=":material/error:")
    except Exception:
        log.exception("an export failed")
        st.error("Something went wrong on our side, and no file was made. Try again.", icon=":material/error:")
    return None


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(1, round(count / 1e3))} KB"
