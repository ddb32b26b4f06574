"""Knowledge bases: the list of them, and one with its documents."""

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.errors import NotFound
from chatcore.knowledge import Base
from pages.ui import acts, knowledge_documents, knowledge_parts, knowledge_search
from pages.ui.session import require_principal
from pages.ui.text import plain

_EVERY = 2.0  # seconds between two looks at what is being indexed


def page() -> None:
    principal = require_principal()
    base_id = st.query_params.get(knowledge_parts.OPEN)
    if base_id is None:
        everything(principal)
        return
    try:
        one(principal, core().knowledge.base(principal, base_id))
    except NotFound as error:
        st.error(str(error), icon=":material/error:")
        knowledge_parts.draw_back()


def everything(principal: Principal) -> None:
    """All bases, and a search in them."""
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        st.title("Knowledge", anchor=False, width="content")
        if st.button("New knowledge base", key="new_base", type="primary", icon=":material/add:"):
            knowledge_parts.edit(principal, None)
    acts.say()
    bases = core().knowledge.bases(principal)
    if not bases:
        knowledge_parts.draw_empty()
        return
    if any(base.passages for base in bases):
        knowledge_search.draw(principal, None)
    working = any(base.working for base in bases)
    st.fragment(knowledge_parts.draw_list, run_every=_EVERY if working else None)(principal, working)


def one(principal: Principal, base: Base) -> None:
    """A base with its documents."""
    knowledge_parts.draw_back()
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        st.title(plain(base.name), anchor=False, width="content")
        if base.can_edit:
            knowledge_parts.draw_actions(principal, base)
    knowledge_parts.draw_about(base)
    acts.say()
    if base.can_edit:
        knowledge_documents.draw_upload(principal, base)
    if base.passages:
        knowledge_search.draw(principal, base.id)
    every = _EVERY if base.working else None
    st.fragment(knowledge_documents.draw_list, run_every=every)(principal, base.id, bool(base.working))


page()
