"""Trying a search in knowledge bases: the passages that an answer would rest on."""

from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations.words import snippet
from chatcore.errors import ChatcoreError
from chatcore.knowledge import Found, marked
from pages.ui import history_parts
from pages.ui.text import plain

_SHOWN: Final = 5
_AROUND: Final = 160  # characters on either side of a word that was found


def draw(principal: Principal, base_id: str | None) -> None:
    """The field, and below it what is found: in one base, or in all for None."""
    question = st.text_input(
        "Try a search", key=f"knowledge_question-{base_id}", icon=":material/search:",
        placeholder="Ask as you would ask a colleague",
    )  # fmt: skip
    if not question.strip():
        return
    try:
        found = core().knowledge.search(principal, [base_id] if base_id else None, question, _SHOWN)
    except ChatcoreError as error:
        st.info(str(error), icon=":material/search_off:")
        return
    if not found:
        st.info("No passage has any of these words.", icon=":material/search_off:")
    with st.container(key="knowledge_found", gap="small"):
        for number, one in enumerate(found, 1):
            _draw(number, one, question)


def _draw(number: int, found: Found, question: str) -> None:
    with st.container(border=True, key=f"found-{number}", gap="xxsmall"):
        place = f" :gray[{plain(found.place)}]" if found.place else ""
        st.markdown(f"**{number}. {plain(found.title)}**{place}")
        pieces = snippet(found.text, marked(question), _AROUND)
        st.markdown(history_parts.marked(pieces), anchors=False)
        with st.expander("Whole passage", type="compact", key=f"passage-{number}"):
            st.text(found.text)
