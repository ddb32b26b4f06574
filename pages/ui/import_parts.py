"""Import and export on the history page: choose a file, follow it, read what came of it; everything as one file."""

import time
from functools import partial
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations.exchange import MOST_BYTES, ImportProgress
from chatcore.db.tables import utcnow
from chatcore.errors import ChatcoreError
from pages.ui import session
from pages.ui.text import plain

_PROBLEM: Final = "import_problem"
_SEEN: Final = "import_seen"  # the id of the last import whose result was put away
_EXPORT: Final = "export_everything"  # Streamlit forgets a button when another page is drawn
_LASTING: Final = 600.0  # seconds that a result stands at most
_MOST_KNOWN: Final = 1_000
_ended: dict[str, float] = {}  # imports of this process whose result was drawn: since when
_VERSION: Final = "import_version"  # with other keys they are another popover and uploader: closed and empty
_EVERY: Final = 1.0  # seconds
_HOW: Final = f"""
Conversations of ChatGPT, Open WebUI or Chatcore, as JSON or ZIP, up to {MOST_BYTES // 2**20} MB. A file can be imported
again: only what is new is added.

- **ChatGPT:** Settings → Data controls → Export data. A link to the ZIP comes by mail.
- **Open WebUI:** Settings → Data Controls → Export Chats.
- **Chatcore:** Export everything, or one conversation as JSON.
"""


def draw(principal: Principal) -> None:
    """The buttons, and below them the import that runs or has just ended."""
    draw_buttons(principal)
    draw_progress(principal)


def draw_buttons(principal: Principal) -> None:
    """Import and Export everything."""
    if _EXPORT not in st.session_state:
        _forget_seen(principal)
    version = st.session_state.get(_VERSION, 0)
    with st.container(horizontal=True, key="import_export"):
        with st.popover("Import", icon=":material/upload:", key=f"import_popover-{version}"):
            st.markdown(_HOW)
            key = f"import_file-{version}"
            st.file_uploader(
                "Export file to import", type=["json", "zip"], key=key, max_upload_size=MOST_BYTES // 2**20,
                on_change=_chosen, args=(principal, key),
            )  # fmt: skip
        st.download_button(
            "Export everything", partial(_everything, principal), f"chatcore-{utcnow():%Y-%m-%d}.json",
            "application/json", key=_EXPORT, icon=":material/download:", on_click="ignore",
            help="All your conversations but temporary ones, with their files, as one JSON file.",
        )  # fmt: skip


def draw_progress(principal: Principal) -> None:
    """The import that runs, drawn anew every second, or what came of the last one; nothing where there is none."""
    if problem := st.session_state.pop(_PROBLEM, None):
        st.error(problem, icon=":material/error:")
    if shown := _shown(principal):
        running = shown.state == "running"
        st.fragment(_draw_import, run_every=_EVERY if running else None)(running)


def _chosen(principal: Principal, key: str) -> None:
    file = st.session_state[key]
    if file is None:
        return
    try:
        core().imports.start(principal, file.name, file)
    except ChatcoreError as error:
        st.session_state[_PROBLEM] = str(error)
    st.session_state[_VERSION] = st.session_state.get(_VERSION, 0) + 1


def _everything(principal: Principal) -> bytes:
    return "".join(core().imports.export_all(principal)).encode()


def _forget_seen(principal: Principal) -> None:
    """On arriving at the page: a result that was drawn before has been read."""
    newest = next(iter(core().imports.mine(principal)), None)
    if newest is not None and newest.id in _ended:
        st.session_state[_SEEN] = newest.id


def _shown(principal: Principal) -> ImportProgress | None:
    """The newest import, unless its result was put away or has stood long enough."""
    newest = next(iter(core().imports.mine(principal)), None)
    if newest is None or newest.state == "running":
        return newest
    if newest.id == st.session_state.get(_SEEN):
        return None
    if len(_ended) >= _MOST_KNOWN and newest.id not in _ended:
        _ended.pop(next(iter(_ended)))
    since = _ended.setdefault(newest.id, time.monotonic())
    return newest if time.monotonic() - since < _LASTING else None


def _draw_import(was_running: bool) -> None:
    principal = session.require_principal()
    found = _shown(principal)
    if found is None:
        return
    if found.state == "running":
        st.progress(found.fraction, f"Importing {plain(found.name)}: {_counts(found)}")
        st.button("Cancel", key="import_cancel", on_click=_cancel, args=(principal, found.id))
        return
    if was_running:
        st.rerun()  # the list of conversations is another one now, and nothing needs to be looked at every second
    with st.container(key="import_note", gap="xsmall"):
        _draw_result(found)
        st.button("Dismiss", key="import_dismiss", type="tertiary", icon=":material/close:", on_click=_dismiss,
                  args=(found.id,))  # fmt: skip


def _draw_result(found: ImportProgress) -> None:
    problems = list(found.problems)
    if found.state == "failed":
        st.error(f"{plain(found.name)} was not imported. {plain(problems.pop(0))}", icon=":material/error:")
        if found.conversations:
            st.markdown(f"Kept: {_counts(found)}.")
    elif found.state == "cancelled":
        st.info(f"The import of {plain(found.name)} was cancelled. Kept: {_counts(found)}.", icon=":material/cancel:")
    else:
        st.success(f"{plain(found.name)} is imported: {_counts(found)}.", icon=":material/check_circle:")
    if problems:
        with st.expander(f"{len(problems)} {'note' if len(problems) == 1 else 'notes'}"):
            st.markdown("\n".join(f"- {plain(problem)}" for problem in problems))


def _counts(found: ImportProgress) -> str:
    """`3 new conversations, 1 with new messages, 20 unchanged, 140 messages`."""
    pieces = [f"{found.added:,} new {'conversation' if found.added == 1 else 'conversations'}"]
    named = ((found.updated, "with new messages"), (found.unchanged, "unchanged"), (found.skipped, "skipped"))
    pieces += [f"{count:,} {what}" for count, what in named if count]
    return ", ".join([*pieces, f"{found.messages:,} {'message' if found.messages == 1 else 'messages'}"])


def _cancel(principal: Principal, import_id: str) -> None:
    try:
        core().imports.cancel(principal, import_id)
    except ChatcoreError as error:
        st.session_state[_PROBLEM] = str(error)


def _dismiss(import_id: str) -> None:
    st.session_state[_SEEN] = import_id
