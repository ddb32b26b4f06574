"""The chat page's dialogs: one at a time, asked for by a callback and opened at the end of the run."""

from collections.abc import Callable
from typing import Any, Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations import Conversation, Totals
from chatcore.errors import ChatcoreError
from pages.ui import chat_sidebar, composer, export_parts, rating_parts, share_parts
from pages.ui.figures import usd, whole
from pages.ui.session import require_principal
from pages.ui.text import plain

_WANTED: Final = "chat_dialog"  # what is open or was asked for: its name and the message it is about


def ask_for(name: str, message_id: str | None = None) -> None:
    """Open a dialog in the run that follows this callback."""
    st.session_state[_WANTED] = (name, message_id)


def is_open() -> bool:
    """Whether a dialog is on the page."""
    return _WANTED in st.session_state


def draw(conversation: Conversation | None, *, streaming: bool) -> None:
    """Open what was asked for, again in each run until it is done. `streaming`: a dialog would be dead meanwhile, so
    it waits for the reply's end."""
    name, message_id = st.session_state.get(_WANTED, (None, None))
    if name == "shortcuts":
        _shortcuts()
    elif name is None or conversation is None:
        _done()
    elif streaming:
        st.toast("This opens when the reply has ended.", icon=":material/hourglass_top:")
    elif name == "share":
        _done()
        share_parts.dialog(require_principal(), conversation, message_id)
    else:
        _DIALOGS[name](conversation if message_id is None else message_id)


def _done() -> None:
    st.session_state.pop(_WANTED, None)


def _close() -> None:
    _done()
    st.rerun()


def _dialog(title: str, **options: Any) -> Callable[[Callable[[Principal, Any], None]], Callable[[Any], None]]:
    """A dialog that asks again who is there, as it may have been open for long, and says what fails in a sentence."""

    def make(body: Callable[[Principal, Any], None]) -> Callable[[Any], None]:
        @st.dialog(title, on_dismiss=_done, **options)
        def opened(about: Any) -> None:
            try:
                body(require_principal(), about)
            except ChatcoreError as error:
                st.error(plain(str(error)), icon=":material/error:")

        return opened

    return make


@st.dialog("Keyboard shortcuts", on_dismiss=_done)
def _shortcuts() -> None:
    rows = [
        ("New chat", "Ctrl + Shift + O"),
        ("Search", "Ctrl + K"),
        ("Stop the reply", "Esc"),
        ("Regenerate or retry the last reply", "Alt + G"),
        ("Send", "Enter"),
        ("New line", "Shift + Enter"),
        ("This list", "Alt + K"),
    ]
    lines = "\n".join(f"| {what} | `{keys}` |" for what, keys in rows)
    st.markdown(f"| What | Keys |\n|:--|--:|\n{lines}")
    st.caption("On a Mac, Cmd stands for Ctrl and Option for Alt.")


@_dialog("Rename")
def _rename(principal: Principal, conversation: Conversation) -> None:
    with st.form("rename", border=False):
        title = st.text_input("Title", conversation.title, max_chars=100, label_visibility="collapsed")
        if not st.form_submit_button("Save", type="primary"):
            return
    core().conversations.rename(principal, conversation.id, title)
    _close()


@_dialog("Tokens and cost")
def _details(principal: Principal, conversation: Conversation) -> None:
    branch, everything = core().conversations.totals(principal, conversation.id)
    for heading, totals in (("This branch", branch), ("The whole conversation", everything)):
        st.markdown(f"**{heading}**")
        with st.container(horizontal=True):
            st.metric("Cost", _money(totals), width="content")
            st.metric("Tokens in", whole(totals.prompt_tokens), width="content")
            st.metric("Tokens out", whole(totals.completion_tokens), width="content")
            st.metric("Messages", whole(totals.messages), width="content")
    unknown = everything.unknown
    if unknown:
        st.caption(f"The cost of {whole(unknown)} {'reply is' if unknown == 1 else 'replies are'} not known.")
    st.caption("Replies only. Titles and summaries stand on the usage page.")


def _money(totals: Totals) -> str:
    return usd(totals.cost_nano_usd).replace("$", "\\$")


@_dialog("Summary", width="medium")
def _summary(principal: Principal, conversation: Conversation) -> None:
    known: Any = core().conversations.get(principal, conversation.id).summary or {}
    if known:
        text = st.text_area("Summary", known.get("text", ""), height="content", label_visibility="collapsed")
        st.caption(_about(known))
    else:
        text = ""
        st.markdown("A summary of the visible branch, made by a model and kept with the conversation. You can edit it.")
    changed = bool(known) and text != known.get("text")
    with st.container(horizontal=True):
        make = st.button("Update summary" if known else "Summarise", icon=":material/summarize:", disabled=changed)
        save = known and st.button("Save changes", type="primary", disabled=not changed)
    model = core().gateway.catalog.find(chat_sidebar.model_name())
    st.caption(f"Asks {plain(model.display_name if model else '')} and is billed like a question.")
    if make:
        with st.spinner("Summarising…"):
            core().turns.summarise(principal, conversation.id, model=chat_sidebar.model_name())
    elif save:
        core().conversations.edit_summary(principal, conversation.id, text)
    if make or save:
        st.rerun(scope="fragment")


def _about(summary: Any) -> str:
    facts = [f"By {plain(str(summary.get('model', '')))}"]
    if cost := summary.get("cost_nano_usd"):
        facts.append(usd(cost).replace("$", "\\$"))
    if summary.get("edited"):
        facts.append("edited")
    return " · ".join(facts)


@_dialog("Export")
def _export(principal: Principal, conversation: Conversation) -> None:
    export_parts.draw(principal, conversation.id)


@_dialog("Delete for good?")
def _delete(principal: Principal, conversation: Conversation) -> None:
    st.markdown(
        f"“{plain(conversation.title)}” and all its branches will be gone for everybody it is shared with. "
        "This cannot be undone. What it cost stays on the usage page."
    )
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Cancel"):
            _close()
        wanted = st.button("Delete", type="primary", icon=":material/delete:")
    if wanted:
        core().history.delete(principal, [conversation.id])
        chat_sidebar.open_conversation(None)
        _close()


@_dialog("Regenerate with another model")
def _other_model(principal: Principal, message_id: str) -> None:
    models = {model.name: model for model in chat_sidebar.choices(principal) if model.available}
    chosen = st.selectbox("Model", list(models), format_func=lambda name: models[name].display_name, index=None)
    if st.button("Regenerate", type="primary", icon=":material/refresh:", disabled=chosen is None):
        composer.again(principal, message_id, continuing=False, model=chosen)
        _close()


@_dialog("Rate this reply")
def _rate(principal: Principal, message_id: str) -> None:
    rating_parts.draw(principal, message_id)


_DIALOGS: Final = {
    "rename": _rename,
    "details": _details,
    "summary": _summary,
    "export": _export,
    "delete": _delete,
    "other": _other_model,
    "rate": _rate,
}
