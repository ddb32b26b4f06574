"""What can be done to conversations on the history page, one or many at once, and the questions asked before."""

from collections.abc import Callable, Sequence
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations.history import FOLDER_LENGTH, HistoryRow
from chatcore.conversations.text import TITLE_LENGTH
from chatcore.errors import ChatcoreError
from pages.ui import confirm
from pages.ui.text import plain

LABELS: Final = {
    "rename": ":material/edit: Rename",
    "pin": ":material/keep: Pin",
    "unpin": ":material/keep_off: Unpin",
    "move": ":material/drive_file_move: Move",
    "archive": ":material/archive: Archive",
    "restore": ":material/unarchive: Restore",
    "delete": ":material/delete: Delete",
}
_DONE: Final = {"pin": "pinned", "unpin": "unpinned", "archive": "archived", "restore": "restored", "delete": "deleted"}
_TICK: Final = "history-tick-"
_ASKED: Final = "history_asked"
_NOTE: Final = "history_note"
_UNTICK: Final = "history_untick"  # ids of conversations whose boxes are emptied when the page is drawn next
_NAMED: Final = 5  # titles that the question before deleting names
_NO_FOLDER: Final = "No folder"


def verbs(rows: Sequence[HistoryRow]) -> list[str]:
    """What can be done to these, in the order of the menu."""
    fitting = ["rename"] if len(rows) == 1 else []
    fitting += ["pin"] if not all(row.pinned for row in rows) else ["unpin"]
    fitting += ["move", "archive" if not all(row.archived for row in rows) else "restore", "delete"]
    return fitting


def ticked(rows: Sequence[HistoryRow]) -> list[HistoryRow]:
    """The rows whose box is ticked."""
    return [row for row in rows if st.session_state.get(_TICK + row.id)]


def tick_key(conversation_id: str) -> str:
    """The key of a row's box."""
    return _TICK + conversation_id


def tick_all(rows: Sequence[HistoryRow], on: bool) -> None:
    for row in rows:
        st.session_state[_TICK + row.id] = on


def from_menu(principal: Principal, key: str, row: HistoryRow) -> None:
    """A menu's callback."""
    verb = st.session_state.get(key)
    if verb:
        act(principal, verb, [row])


def act(principal: Principal, verb: str, rows: Sequence[HistoryRow]) -> None:
    """Do it at once, or ask first: as a callback, so that the page is drawn with what became of it."""
    if verb in ("rename", "move", "delete"):
        st.session_state[_ASKED] = verb, tuple(rows)
        return
    _now(principal, verb, rows)


def _now(principal: Principal, verb: str, rows: Sequence[HistoryRow]) -> None:
    work = getattr(core().history, verb)
    try:
        work(principal, [row.id for row in rows])
    except ChatcoreError as error:
        st.session_state[_NOTE] = str(error), False
    else:
        _finished(rows, f"{count(len(rows))} {_DONE[verb]}.")


def begin() -> None:
    """Before the boxes are drawn: empty those that something was done with, and say what.

    A key that is only forgotten gets its tick back from the browser.
    """
    for conversation_id in st.session_state.pop(_UNTICK, ()):
        st.session_state[_TICK + conversation_id] = False
    note = st.session_state.pop(_NOTE, None)
    if note:
        text, fine = note
        if fine:
            st.toast(plain(text), icon=":material/check:")
        else:
            st.error(plain(text), icon=":material/error:")


def draw_question(principal: Principal) -> None:
    """The dialog that was asked for."""
    asked = st.session_state.pop(_ASKED, None)
    if asked:
        verb, rows = asked
        {"rename": _rename, "move": _move, "delete": _delete}[verb](principal, rows)


def count(number: int) -> str:
    return f"{number:,} conversation{'' if number == 1 else 's'}"


@st.dialog("Rename")
def _rename(principal: Principal, rows: Sequence[HistoryRow]) -> None:
    with st.form("history_rename", border=False):
        title = st.text_input("Title", value=rows[0].title, max_chars=TITLE_LENGTH)
        if st.form_submit_button("Save", type="primary"):
            _do(lambda: core().conversations.rename(principal, rows[0].id, title), rows, "Renamed.")


@st.dialog("Move to a folder")
def _move(principal: Principal, rows: Sequence[HistoryRow]) -> None:
    st.caption(f"{count(len(rows))}. A new name makes a new folder.")
    with st.form("history_move", border=False):
        known = [_NO_FOLDER, *core().history.folders(principal)]
        current = rows[0].folder if rows[0].folder in known else _NO_FOLDER
        name = st.selectbox("Folder", known, index=known.index(current or _NO_FOLDER), accept_new_options=True)
        if st.form_submit_button("Move", type="primary"):
            folder = None if name == _NO_FOLDER else str(name or "")[: FOLDER_LENGTH + 1]
            where = f"moved to {folder}" if folder else "taken out of their folder"
            ids = [row.id for row in rows]
            _do(lambda: core().history.move(principal, ids, folder), rows, f"{count(len(rows))} {where}.")


@st.dialog("Delete for good?")
def _delete(principal: Principal, rows: Sequence[HistoryRow]) -> None:
    if len(rows) == 1:
        st.markdown(f"“{plain(rows[0].title)}” and all its branches will be gone for everybody it is shared with.")
    else:
        st.markdown(f"**{count(len(rows))}** and all their branches will be gone for everybody they are shared with:")
        more = [f"- and {len(rows) - _NAMED:,} more"] if len(rows) > _NAMED else []
        st.markdown("\n".join([*(f"- {plain(row.title) or 'Untitled'}" for row in rows[:_NAMED]), *more]))
    st.markdown("This cannot be undone. What it cost stays on the usage page.")
    label = "Delete" if len(rows) == 1 else f"Delete {count(len(rows))}"
    if confirm.draw(label, "history_delete", on_click=_now, args=(principal, "delete", rows)):
        st.rerun()


def _do(work: Callable[[], None], rows: Sequence[HistoryRow], done: str) -> None:
    """Inside a dialog: do it and close, or say in it why not."""
    try:
        work()
    except ChatcoreError as error:
        st.error(str(error))
    else:
        _finished(rows, done)
        st.rerun()


def _finished(rows: Sequence[HistoryRow], done: str) -> None:
    st.session_state[_UNTICK] = [row.id for row in rows]
    st.session_state[_NOTE] = done, True
