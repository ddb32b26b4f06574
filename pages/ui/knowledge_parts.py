"""Parts of the knowledge page: the list of bases, and the dialogs that make, change and delete one."""

from functools import partial
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError
from chatcore.knowledge import MAX_DESCRIPTION, MAX_NAME, Base, Visibility
from pages.ui import acts, confirm
from pages.ui.text import ago, plain

OPEN: Final = "base"
"""The query parameter that names the base which is open."""
_WHOSE: Final[dict[Visibility, str]] = {"own": "Only me", "team": "The whole team"}
_EMPTY: Final = (
    "A knowledge base holds documents that answers can rest on: manuals, policies, notes. Make one, upload PDF, Word, "
    "Markdown, HTML, text or CSV files, and give it to an agent. Its answers then name the passages they come from."
)


def draw_empty() -> None:
    """What the page is for, where there is no base yet."""
    st.info(_EMPTY, icon=":material/menu_book:")


def draw_list(principal: Principal, working: bool) -> None:
    """Every base that the person may read. `working`: something was being indexed when the page was drawn."""
    bases = core().knowledge.bases(principal)
    with st.container(key="knowledge_list", gap="small"):
        for base in bases:
            with st.container(border=True, key=f"base-{base.id}", gap=None):
                st.button(f"**{plain(base.name)}**{_mark(base)}", key=f"open-{base.id}", type="tertiary",
                          on_click=_open, args=(base.id,))  # fmt: skip
                if base.description:
                    st.markdown(plain(base.description))
                st.caption(" · ".join(facts(base)))
    if working and not any(base.working for base in bases):
        st.rerun()


def draw_back() -> None:
    """The way back to the list."""
    st.button("All knowledge bases", key="all_bases", type="tertiary", icon=":material/arrow_back:", on_click=_close)


def _open(base_id: str) -> None:
    st.query_params[OPEN] = base_id


def _close() -> None:
    st.query_params.pop(OPEN, None)


def draw_about(base: Base) -> None:
    """Whose it is, what for, and what is in it."""
    if base.description:
        st.markdown(plain(base.description))
    st.caption(_mark(base).strip() + " " + " · ".join(facts(base)))


def draw_actions(principal: Principal, base: Base) -> None:
    """The buttons that open the dialogs."""
    with st.container(horizontal=True, width="content", gap="small"):
        if st.button("Edit", key="edit_base", icon=":material/edit:"):
            edit(principal, base)
        if st.button("Delete", key="delete_base", icon=":material/delete:"):
            remove(principal, base)


def facts(base: Base) -> list[str]:
    """What lists say of a base."""
    whose = [] if base.is_own else [f"by {plain(base.owner)}" if base.owner else "the team's"]
    working = [f":blue[{base.working:,} being indexed]"] if base.working else []
    failed = [f":red[{base.failed:,} failed]"] if base.failed else []
    counts = [many(base.documents, "document"), many(base.passages, "passage")]
    return [*whose, *counts, *working, *failed, f"changed {ago(base.updated_at)}"]


def many(count: int, what: str) -> str:
    """`1 document`, `1,200 documents`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _mark(base: Base) -> str:
    return " :gray-badge[:material/group: team]" if base.visibility == "team" else ""


@st.dialog("Knowledge base")
def edit(principal: Principal, base: Base | None) -> None:
    """Change a base, or make one where it is None."""
    with st.form("base", border=False):
        name = st.text_input("Name", value=base.name if base else "", max_chars=MAX_NAME)
        about = st.text_area("What is in it", value=base.description if base else "", max_chars=MAX_DESCRIPTION,
                             height=96)  # fmt: skip
        locked = base is not None and not base.is_own
        whose = st.radio("Who can read it", list(_WHOSE), format_func=_WHOSE.__getitem__, horizontal=True,
                         index=list(_WHOSE).index(base.visibility) if base else 0, disabled=locked,
                         help="What the team can read, you and admins can change.")  # fmt: skip
        if not st.form_submit_button("Save", type="primary"):
            return
    try:
        if base is None:
            _open(core().knowledge.create(principal, name, about, whose))
        else:
            core().knowledge.change(principal, base.id, name, about, whose)
    except ChatcoreError as error:
        st.error(str(error))
    else:
        st.rerun()


@st.dialog("Delete for good?")
def remove(principal: Principal, base: Base) -> None:
    """Delete a base, after a word of warning."""
    whose = " for everybody of the team" if base.visibility == "team" else ""
    documents = many(base.documents + base.working + base.failed, "document")
    st.markdown(f"“{plain(base.name)}” will be gone{whose}, with {documents}. This cannot be undone.")
    st.caption("Replies keep the passages that they cite.")
    if not confirm.draw("Delete", "delete_base_yes"):
        return
    if acts.act(partial(core().knowledge.delete, principal, base.id), f"{base.name} is deleted."):
        _close()
    st.rerun()
