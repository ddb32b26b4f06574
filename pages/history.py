"""All of one's conversations: find words in them, filter, and tidy up, one or many at once."""

from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError
from pages.ui import history_acts, history_filters, history_parts, import_parts
from pages.ui.session import require_principal

ROWS: Final = 30
HITS: Final = 40  # places; many may be in one conversation


def page() -> None:
    principal = require_principal()
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.title("History", anchor=False, width="content")
        with st.container(width="content"):
            import_parts.draw_buttons(principal)
    import_parts.draw_progress(principal)
    history_acts.begin()
    try:
        agents = core().agents.list(principal)
        choice = history_filters.draw(principal, agents)
        if choice.state == "team":
            history_parts.draw_shared(core().history.shared_with_me(principal))
        elif choice.words:
            results(principal, choice)
        else:
            conversations(principal, choice)
        history_acts.draw_question(principal)
    except ChatcoreError as error:
        st.error(str(error), icon=":material/error:")


def results(principal: Principal, choice: history_filters.Choice) -> None:
    """What a search found, and more of it when asked."""
    if st.session_state.get("history_hits_of") != choice:
        st.session_state["history_hits_of"], st.session_state["history_hits"] = choice, HITS
    shown = st.session_state["history_hits"]
    found = core().history.find(principal, choice.words, choice.filters, shown)
    more = len(found.hits) == shown
    history_parts.draw_found(found, choice.words, more=more)
    if more:
        st.button("Show more", key="history_more", type="tertiary", on_click=_show_more)


def conversations(principal: Principal, choice: history_filters.Choice) -> None:
    """The list, page by page."""
    key = f"history_page-{hash((choice.state, choice.filters))}"
    number = st.session_state.get(key, 1)
    listed = core().history.page(principal, choice.filters, offset=(number - 1) * ROWS, limit=ROWS)
    if not listed.total:
        _nothing(choice)
        return
    models = {model.name: model.display_name for model in core().gateway.catalog.models()}
    agents = core().agents.names(principal, [row.agent_id for row in listed.rows if row.agent_id])
    chosen = history_acts.ticked(listed.rows)
    if chosen:
        history_parts.draw_bulk(principal, listed.rows, chosen)
    else:
        st.caption(history_acts.count(listed.total))
    with st.container(key="history_list", gap=None):
        for row in listed.rows:
            history_parts.draw_row(principal, row, agents, models)
    pages = -(-listed.total // ROWS)
    if pages > 1:
        st.pagination(pages, key=key)


def _nothing(choice: history_filters.Choice) -> None:
    if choice.narrowed:
        history_parts.draw_nothing("No conversation fits these filters", "Choose fewer of them.")
    elif choice.state == "archived":
        history_parts.draw_nothing("Nothing is archived", "Archived conversations leave the list and stay to be found.")
    elif choice.state == "shared":
        history_parts.draw_nothing("You share nothing", "Open a conversation and choose Share.")
    else:
        history_parts.draw_nothing("No conversations yet", "Ask something in a chat, and it stands here.")


def _show_more() -> None:
    st.session_state["history_hits"] += HITS


page()
