"""The notes of a workshop's step: read, written by hand or by a model, and what they were before.

Which notes are being changed stands in the address, so that the form comes back after a restart of the server, and
the browser puts in again what was typed.
"""

from functools import partial
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.workshops import MAX_NOTES, Notes, OpenStep, Workshop
from pages.ui import acts, composer, workshop_talk
from pages.ui.markdown import segments
from pages.ui.text import ago, plain
from pages.ui.workshop_acts import EDIT

_EMPTY: Final = "What the team found out and decided here. Later steps build on it, and their model reads it."


def draw(principal: Principal, workshop: Workshop, here: OpenStep, *, busy: bool) -> None:
    """The whole panel. `busy`: a reply is being written, so that it would be summarised without its end."""
    stands = core().workshops.notes(principal, workshop.id, here.step.id) if here.notes else None
    st.subheader("Notes", anchor=False)
    over = _edited()
    if over is not None and not workshop.is_over:
        _draw_form(principal, workshop.id, here.step.id, over, stands)
        return
    _draw_text(stands)
    if not workshop.is_over and _draw_buttons(principal, workshop.id, here, stands, busy=busy):
        model = workshop_talk.model_name()
        work = partial(core().turns.summarise_step, principal, workshop.id, here.step.id, model=model)
        with st.spinner("Summarising…"):
            acts.act(work, "Summarised.")
        st.rerun()


def _edited() -> int | None:
    """The number of the notes that are being changed, 0 for none; None where nothing is."""
    found = st.query_params.get(EDIT, "")
    return int(found) if found.isascii() and found.isdecimal() and len(found) < 10 else None


def _draw_text(stands: Notes | None) -> None:
    if stands is None or not stands.text:
        st.caption(_EMPTY)
        return
    with st.container(key="workshop_said", border=True):
        for segment in segments(stands.text):
            st.markdown(segment)
    st.caption(_about(stands))


def _about(notes: Notes) -> str:
    who = plain(notes.author or "A former teammate")
    return f"{f'{plain(notes.model)}, for {who}' if notes.model else who}, {ago(notes.created_at)}"


def _draw_buttons(principal: Principal, session_id: str, here: OpenStep, stands: Notes | None, *, busy: bool) -> bool:
    """Whether a summary is wanted."""
    step_id = here.step.id
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.button("Edit" if stands and stands.text else "Write notes", key="workshop_edit", icon=":material/edit:",
                  on_click=_edit, args=(stands.number if stands else 0,))  # fmt: skip
        wanted = st.button(
            "Summarise", key="workshop_summarise", icon=":material/summarize:",
            disabled=busy or here.conversation_id is None,
            help="A model writes the notes from the conversation and from the notes so far. Billed like a question.",
        )  # fmt: skip
        if stands is not None and stands.number > 1:
            _draw_versions(principal, session_id, step_id, stands)
    return wanted


def _draw_versions(principal: Principal, session_id: str, step_id: str, stands: Notes) -> None:
    with st.popover("Earlier", icon=":material/history:", key="workshop_versions", on_change="rerun") as more:
        if not more.open:
            return
        for one in core().workshops.versions(principal, session_id, step_id):
            if one.number == stands.number:
                continue
            st.caption(_about(one))
            st.text(one.text[:2_000] or "Empty")
            st.button("Use these again", key=f"workshop_use-{one.number}", type="tertiary", icon=":material/undo:",
                      on_click=_use, args=(principal, session_id, step_id, one.text, stands.number))  # fmt: skip


def _draw_form(principal: Principal, session_id: str, step_id: str, over: int, stands: Notes | None) -> None:
    """The editor. It is never filled anew while it is open: what is typed is the person's."""
    number = stands.number if stands else 0
    overtaken = stands is not None and number != over
    if overtaken and stands is not None:
        st.warning(f"{plain(stands.author or 'Somebody')} saved other notes of this step while you write, "
                   f"{ago(stands.created_at)}. Yours are not saved yet.", icon=":material/group:")  # fmt: skip
        with st.expander("What they saved"):
            st.text(stands.text)
    key = f"workshop_text-{session_id}-{step_id}-{over}"
    with st.form("workshop_notes_form", border=False):
        st.text_area("Notes of this step", _before(principal, session_id, step_id, over, stands), key=key, height=320,
                     max_chars=MAX_NOTES, label_visibility="collapsed", help="Markdown")  # fmt: skip
        with st.container(horizontal=True, gap="small"):
            st.form_submit_button("Save mine as the newest" if overtaken else "Save", type="primary",
                                  key="workshop_save", icon=":material/check:", on_click=_save,
                                  args=(principal, session_id, step_id, key, number))  # fmt: skip
            st.form_submit_button("Take theirs" if overtaken else "Cancel", key="workshop_cancel", on_click=_close)


def _before(principal: Principal, session_id: str, step_id: str, over: int, stands: Notes | None) -> str:
    """What the notes were when the editor was opened."""
    if stands is None or stands.number == over:
        return stands.text if stands else ""
    versions = core().workshops.versions(principal, session_id, step_id)
    return next((one.text for one in versions if one.number == over), "")


def _edit(number: int) -> None:
    st.query_params[EDIT] = str(number)


def _close() -> None:
    st.query_params.pop(EDIT, None)


def _save(principal: Principal, session_id: str, step_id: str, key: str, over: int) -> None:
    text = str(st.session_state[key])
    if composer.tried(partial(core().workshops.save_notes, principal, session_id, step_id, text, over)):
        _close()


def _use(principal: Principal, session_id: str, step_id: str, text: str, over: int) -> None:
    composer.tried(partial(core().workshops.save_notes, principal, session_id, step_id, text, over))
