"""The chat page's dialogs: one at a time, asked for by a callback and opened at the end of the run."""

from typing import Any, Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations import Conversation, Totals
from chatcore.errors import ChatcoreError
from pages.ui import chat_sidebar, composer, export_parts, rating_parts, share_parts
from pages.ui.figures import usd, whole
from pages.ui.text import plain

_WANTED: Final = "chat_dialog"


def ask_for(name: str, message_id: str | None = None) -> None:
    """Open a dialog in the run that follows this callback."""
    st.session_state[_WANTED] = (name, message_id)


def draw(principal: Principal, conversation: Conversation | None) -> None:
    """Open what was asked for, once."""
    name, message_id = st.session_state.pop(_WANTED, (None, None))
    if name == "shortcuts":
        _shortcuts()
    elif conversation is None or name is None:
        return
    elif name == "share":
        share_parts.dialog(principal, conversation, message_id)
    elif message_id is not None:
        {"other": _other_model, "rate": _rate}[name](principal, message_id)
    else:
        {"rename": _rename, "details": _details, "summary": _summary, "export": _export, "delete": _delete}[name](
            principal, conversation
        )


@st.dialog("Keyboard shortcuts")
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
    st.markdown(f"| | |\n|:--|--:|\n{lines}")
    st.caption("On a Mac, Cmd stands for Ctrl and Option for Alt.")


@st.dialog("Rename")
def _rename(principal: Principal, conversation: Conversation) -> None:
    with st.form("rename", border=False):
        title = st.text_input("Title", conversation.title, max_chars=100, label_visibility="collapsed")
        if not st.form_submit_button("Save", type="primary"):
            return
    try:
        core().conversations.rename(principal, conversation.id, title)
    except ChatcoreError as error:
        st.error(str(error))
    else:
        st.rerun()


@st.dialog("Tokens and cost")
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


@st.dialog("Summary", width="medium")
def _summary(principal: Principal, conversation: Conversation) -> None:
    known: Any = core().conversations.get(principal, conversation.id).summary or {}
    if known:
        text = st.text_area("Summary", known.get("text", ""), height="content", label_visibility="collapsed")
        st.caption(_about(known))
    else:
        text = ""
        st.markdown("A summary of the visible branch, made by a model and kept with the conversation. You can edit it.")
    with st.container(horizontal=True):
        make = st.button("Summarise" if not known else "Bring up to date", icon=":material/summarize:")
        save = known and st.button("Save changes", type="primary", disabled=text == known.get("text"))
    st.caption(f"Asks {plain(chat_sidebar.model_name())} and is billed like a question.")
    try:
        if make:
            with st.spinner("Summarising…"):
                core().turns.summarise(principal, conversation.id, model=chat_sidebar.model_name())
        elif save:
            core().conversations.edit_summary(principal, conversation.id, text)
    except ChatcoreError as error:
        st.error(str(error))
        return
    if make or save:
        st.rerun(scope="fragment")


def _about(summary: Any) -> str:
    facts = [f"By {plain(str(summary.get('model', '')))}"]
    if cost := summary.get("cost_nano_usd"):
        facts.append(usd(cost).replace("$", "\\$"))
    if summary.get("edited"):
        facts.append("edited")
    return " · ".join(facts)


@st.dialog("Export")
def _export(principal: Principal, conversation: Conversation) -> None:
    export_parts.draw(principal, conversation.id)


@st.dialog("Delete for good?")
def _delete(principal: Principal, conversation: Conversation) -> None:
    st.markdown(
        f"“{plain(conversation.title)}” and all its branches will be gone for everybody it is shared with. "
        "This cannot be undone. What it cost stays on the usage page."
    )
    if not st.button("Delete", type="primary", icon=":material/delete:"):
        return
    try:
        core().history.delete(principal, [conversation.id])
    except ChatcoreError as error:
        st.error(str(error))
    else:
        chat_sidebar.open_conversation(None)
        st.rerun()


@st.dialog("Regenerate with another model")
def _other_model(principal: Principal, message_id: str) -> None:
    models = {model.name: model for model in core().gateway.catalog.models() if model.available}
    chosen = st.selectbox("Model", list(models), format_func=lambda name: models[name].display_name, index=None)
    if st.button("Regenerate", type="primary", icon=":material/refresh:", disabled=chosen is None):
        composer.again(principal, message_id, continuing=False, model=chosen)
        st.rerun()


@st.dialog("Rate this reply")
def _rate(principal: Principal, message_id: str) -> None:
    rating_parts.draw(principal, message_id)
