"""Where one is on the page of workshops, and what its buttons do there."""

from collections.abc import Callable
from functools import partial
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError
from pages.ui import acts, message_actions

SESSION: Final = "w"
STEP: Final = "step"
PLAYBOOK: Final = "p"
EDIT: Final = "edit"
"""Parameters of the address: a session, one of its steps, a playbook, and which notes of the step are being changed."""
NEW: Final = "new"
"""In place of a playbook's id: one that is made."""


def open_session(session_id: str, step_id: str | None = None) -> None:
    """Show a session, at the first step that is not done or at the one named."""
    st.query_params.clear()
    st.query_params[SESSION] = session_id
    if step_id:
        st.query_params[STEP] = step_id
    message_actions.end_editing()


def open_playbook(playbook_id: str) -> None:
    """Show a playbook."""
    st.query_params.clear()
    st.query_params[PLAYBOOK] = playbook_id


def close() -> None:
    """Show the list."""
    st.query_params.clear()
    message_actions.end_editing()


def draw_back(label: str = "All workshops") -> None:
    """The way to the list."""
    st.button(label, key="workshop_back", icon=":material/arrow_back:", type="tertiary", on_click=close)


def begin(principal: Principal, playbook_id: str, title: str, people: list[str], *, open_to_team: bool) -> str | None:
    """Make a session and invite people; why it was not made stays on the page."""
    workshops = core().workshops
    try:
        made = workshops.create(principal, playbook_id, title, open_to_team=open_to_team)
        if people:
            workshops.invite(principal, made, people)
    except ChatcoreError as error:
        st.error(str(error), icon=":material/error:")
        return None
    return made


def rename(principal: Principal, session_id: str, key: str) -> None:
    """Give a session the title that stands in a field."""
    title = str(st.session_state[key])
    acts.act(partial(core().workshops.rename, principal, session_id, title), "The workshop has its new title.")


def set_open(principal: Principal, session_id: str, key: str) -> None:
    """Open a session to the team, or close it, as a switch says."""
    is_open = bool(st.session_state[key])
    said = "Everybody of your team who opens the link takes part." if is_open else "Only who is invited takes part."
    acts.act(partial(core().workshops.open_to_team, principal, session_id, is_open=is_open), said)


def end(principal: Principal, session_id: str, *, ended: bool) -> None:
    """End a session, or go on with it."""
    said = "The workshop has ended." if ended else "The workshop goes on."
    acts.act(partial(core().workshops.end, principal, session_id, ended=ended), said)


def archive(principal: Principal, session_id: str, *, archived: bool) -> None:
    """Put a session into the archive, or bring it back."""
    said = "The workshop is in the archive." if archived else "The workshop is back."
    work = partial(core().workshops.archive, principal, session_id, archived=archived)
    if acts.act(work, said) and archived:
        close()


def leave(principal: Principal, session_id: str) -> None:
    """Take part no longer."""
    if acts.act(partial(core().workshops.leave, principal, session_id), "You left the workshop."):
        close()


def invite(principal: Principal, session_id: str, key: str) -> None:
    """Let those take part who were chosen in a field."""
    chosen = list(st.session_state.get(key) or ())
    said = "They take part now." if len(chosen) > 1 else "One more takes part now."
    if chosen and acts.act(partial(core().workshops.invite, principal, session_id, chosen), said):
        st.session_state[key] = []


def remove(principal: Principal, session_id: str, user_id: str) -> None:
    """Somebody no longer takes part."""
    work = partial(core().workshops.remove, principal, session_id, user_id)
    acts.act(work, "They no longer take part, and the link lets them in no more.")


def set_done(principal: Principal, session_id: str, step_id: str, *, done: bool, then: str | None = None) -> None:
    """Mark a step; `then`: the step that is shown next."""
    work = partial(core().workshops.set_done, principal, session_id, step_id, done=done)
    if acts.act(work, "The step is done." if done else "The step is open again.") and then:
        open_session(session_id, then)


def copy_playbook(principal: Principal, playbook_id: str) -> None:
    """A copy of one's own, opened."""
    made: list[str] = []
    work: Callable[[], object] = lambda: made.append(core().workshops.copy_playbook(principal, playbook_id))  # noqa: E731
    if acts.act(work, "The copy is yours to change."):
        open_playbook(made[0])


def archive_playbook(principal: Principal, playbook_id: str, *, archived: bool) -> None:
    """Put a playbook into the archive, or bring it back."""
    said = "The playbook is in the archive. Workshops that run go on." if archived else "The playbook is back."
    work = partial(core().workshops.archive_playbook, principal, playbook_id, archived=archived)
    if acts.act(work, said) and archived:
        close()
