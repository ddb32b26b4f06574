"""The documents of a knowledge base: uploading them, how far each is, and what can be done about it."""

from functools import partial
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError
from chatcore.knowledge import ENDINGS, MAX_MB, Base, Document
from pages.ui import acts, confirm
from pages.ui.knowledge_parts import many
from pages.ui.text import ago, plain

_ROWS: Final = 30
_VERSION: Final = "knowledge_upload_version"  # with another key it is another uploader: empty
_PROBLEMS: Final = "knowledge_problems"
_ICONS: Final = {"pdf": "picture_as_pdf", "word": "description", "csv": "table", "html": "language"}


def draw_upload(principal: Principal, base: Base) -> None:
    """Where files are dropped, and which of the last ones were not taken."""
    version = st.session_state.get(_VERSION, 0)
    key = f"knowledge_upload-{version}"
    st.file_uploader(
        "Upload documents", type=list(ENDINGS), accept_multiple_files=True, key=key, max_upload_size=MAX_MB,
        on_change=_take, args=(principal, base, key),
    )  # fmt: skip
    for problem in st.session_state.pop(_PROBLEMS, ()):
        st.error(plain(problem), icon=":material/error:")


def _take(principal: Principal, base: Base, key: str) -> None:
    new, known, problems = 0, 0, list[str]()
    for file in st.session_state[key] or ():
        try:
            added = core().knowledge.add(principal, base.id, file.name, file.getvalue())
        except ChatcoreError as error:
            problems.append(str(error))
        else:
            new, known = new + added.is_new, known + (not added.is_new)
    said = [f"{many(new, 'document')} added"] if new else []
    said += [f"{many(known, 'document')} there already"] if known else []
    if said:
        acts.act(lambda: None, f"{', '.join(said)}.")
    st.session_state[_PROBLEMS] = problems
    st.session_state[_VERSION] = st.session_state.get(_VERSION, 0) + 1


def draw_list(principal: Principal, base_id: str, working: bool) -> None:
    """The documents, page by page. `working`: something was being indexed when the page was drawn."""
    try:
        base = core().knowledge.base(principal, base_id)
        documents = core().knowledge.documents(principal, base_id)
    except ChatcoreError as error:
        st.info(str(error))
        return
    if working and not base.working:
        st.rerun()
    if not documents:
        text = "No documents yet. Drop some above." if base.can_edit else "No documents yet."
        st.caption(text)
        return
    pages = -(-len(documents) // _ROWS)
    key = f"knowledge_page-{base_id}"
    first = (min(st.session_state.get(key, 1), pages) - 1) * _ROWS
    with st.container(key="knowledge_documents", gap="small"):
        for document in documents[first : first + _ROWS]:
            _draw_row(principal, document, can_edit=base.can_edit)
    if pages > 1:
        st.pagination(pages, key=key)


def _draw_row(principal: Principal, document: Document, *, can_edit: bool) -> None:
    with st.container(border=True, key=f"document-{document.id}", gap="xxsmall"):
        with st.container(horizontal=True, vertical_alignment="center", wrap=False):
            icon = f":material/{_ICONS.get(document.kind, 'article')}:"
            st.markdown(f"{icon} **{plain(document.name)}**", width="stretch")
            if can_edit:
                _draw_buttons(principal, document)
        if document.state == "indexing" and document.passages:
            shown = f"{document.done:,} of {many(document.passages, 'passage')}"
            st.progress(min(document.done / document.passages, 1.0), text=f"Indexing: {shown}")
        if document.problem:
            st.markdown(f":red[{plain(document.problem)}]")
        st.caption(" · ".join(facts(document)))


def _draw_buttons(principal: Principal, document: Document) -> None:
    with st.container(horizontal=True, width="content", gap="small", wrap=False):
        if document.state == "failed":
            st.button("Try again", key=f"retry-{document.id}", icon=":material/refresh:", type="tertiary",
                      on_click=_retry, args=(principal, document))  # fmt: skip
        if st.button("", key=f"remove-{document.id}", icon=":material/delete:", type="tertiary",
                     help=f"Delete {plain(document.name)}"):  # fmt: skip
            remove(principal, document)


def facts(document: Document) -> list[str]:
    """What a row says of a document."""
    states = {
        "waiting": ":blue[Waiting]",
        "indexing": ":blue[Reading]" if document.passages is None else ":blue[Indexing]",
        "ready": "Ready",
        "failed": ":red[Failed]",
    }
    pages = [many(document.pages, "page")] if document.pages else []
    passages = [many(document.done, "passage")] if document.done else []
    person = [plain(document.person)] if document.person else []
    return [states[document.state], size(document.size), *pages, *passages, *person, ago(document.created_at)]


def size(count: int) -> str:
    """Bytes as people say them."""
    return f"{count / 2**20:,.1f} MB" if count >= 2**20 else f"{max(1, round(count / 1024)):,} KB"


def _retry(principal: Principal, document: Document) -> None:
    acts.act(partial(core().knowledge.retry, principal, document.id), f"{document.name} is tried again.")


@st.dialog("Delete this document?")
def remove(principal: Principal, document: Document) -> None:
    """Delete a document, after a word of warning."""
    st.markdown(f"“{plain(document.name)}” will be found no more. You can upload it again.")
    if not confirm.draw("Delete", "delete_document_yes"):
        return
    acts.act(partial(core().knowledge.remove, principal, document.id), f"{document.name} is deleted.")
    st.rerun()
