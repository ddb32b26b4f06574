"""One workshop: its head, its steps, and the step that is shown with its conversation and notes."""

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.errors import NotFound
from chatcore.workshops import OpenStep, Workshop
from pages.ui import composer, workshop_acts, workshop_notes, workshop_people, workshop_talk
from pages.ui.markdown import segments
from pages.ui.text import plain


def draw(principal: Principal, session_id: str) -> None:
    """The whole page of a workshop. Its run lasts until the running reply has ended."""
    try:
        workshop = core().workshops.open(principal, session_id)
        here = workshop.step(st.query_params.get(workshop_acts.STEP))
        # Read first: what changes while the page is drawn is seen by the next look.
        pulse = core().workshops.pulse(principal, workshop.id, here.step.id)
        talk = workshop_talk.find(principal, here)
    except NotFound as error:
        st.info(str(error), icon=":material/search_off:")
        workshop_acts.draw_back()
        return
    _draw_head(principal, workshop)
    _draw_steps(workshop, here)
    left, right = st.columns([3, 2], gap="large")
    with left:
        _draw_guidance(here, begun=bool(talk.window.messages))
        workshop_talk.draw_messages(principal, workshop, talk)
    with right, st.container(key="workshop_notes"):
        workshop_notes.draw(principal, workshop, here, busy=bool(talk.turns))
        _draw_done(principal, workshop, here)
    composer.draw_problem()
    workshop_talk.draw_input(principal, workshop, here, talk)
    with left:
        workshop_talk.follow(principal, talk)
    workshop_talk.watch(principal, workshop.id, here.step.id, pulse)


def _draw_head(principal: Principal, workshop: Workshop) -> None:
    workshop_acts.draw_back()
    with st.container(
        key="workshop_bar", horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
    ):
        st.title(plain(workshop.title), anchor=False, width="content")
        with st.container(horizontal=True, width="content", vertical_alignment="center", gap="small"):
            workshop_people.draw(principal, workshop)
            workshop_people.draw_export(principal, workshop)
            workshop_people.draw_menu(principal, workshop)
    if workshop.is_over:
        state = "is in the archive" if workshop.archived_at is not None else "has ended"
        st.info(f"This workshop {state}. It can be read and exported.", icon=":material/lock:")


def _draw_steps(workshop: Workshop, here: OpenStep) -> None:
    """All steps in a row, which a phone scrolls sideways."""
    with st.container(key="workshop_steps", horizontal=True, gap="small"):
        for number, one in enumerate(workshop.steps, 1):
            is_here = one.step.id == here.step.id
            icon = ":material/check_circle:" if one.done_at else ":material/radio_button_unchecked:"
            if not one.done_at and (one.conversation_id or one.notes):
                icon = ":material/pending:"
            st.button(
                f"{number}. {plain(one.step.title)}", key=f"workshop_step-{one.step.id}", icon=icon,
                type="primary" if is_here else "secondary", help=_state(one),
                on_click=workshop_acts.open_session, args=(workshop.id, one.step.id),
            )  # fmt: skip


def _state(one: OpenStep) -> str:
    if one.done_at:
        return "Done"
    return "Begun" if one.conversation_id or one.notes else "Not begun"


def _draw_guidance(here: OpenStep, *, begun: bool) -> None:
    if not here.step.guidance:
        return
    with st.expander("What to do in this step", expanded=not begun, icon=":material/lightbulb:",
                     key=f"workshop_guidance-{here.step.id}-{begun}"):  # fmt: skip
        for segment in segments(here.step.guidance):
            st.markdown(segment)


def _draw_done(principal: Principal, workshop: Workshop, here: OpenStep) -> None:
    """Done or not, and the way to the next step."""
    ids = [one.step.id for one in workshop.steps]
    later = workshop.steps[ids.index(here.step.id) + 1 :]
    then = later[0].step if later else None
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if not workshop.is_over:
            st.button(
                "Open again" if here.done_at else "Mark as done", key="workshop_done",
                icon=":material/undo:" if here.done_at else ":material/check:",
                on_click=workshop_acts.set_done, args=(principal, workshop.id, here.step.id),
                kwargs={"done": here.done_at is None, "then": then.id if then and not here.done_at else None},
            )  # fmt: skip
        if then:
            st.button(f"Next: {plain(then.title)}", key="workshop_next", type="tertiary",
                      icon=":material/arrow_forward:",
                      on_click=workshop_acts.open_session, args=(workshop.id, then.id))  # fmt: skip
