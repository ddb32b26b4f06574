"""Erasing a person, for good: it asks for their username first."""

import streamlit as st

from chatcore.accounts import Person, Principal
from chatcore.accounts.validation import normal_username
from chatcore.bootstrap import core
from pages.ui.acts import act
from pages.ui.text import plain

_LATER = "The account of {name} is gone. What they wrote follows as soon as a reply to them has ended, within the hour."


def draw_erase(principal: Principal, person: Person) -> None:
    """The button that opens it, and what is in it."""
    with st.popover("Erase", key=f"erase-{person.id}"):
        st.markdown(
            f"**{plain(person.name)}** is removed for good: the account, all conversations and attachments, prompts, "
            "and what they wrote in others' conversations. What they cost stays in the charts, without their name."
        )
        st.caption(
            "Disable the account instead if they may come back, or if somebody may still need what they wrote. "
            "Agents are the team's and stay. Look on the Alerts tab whether notices go to an address of theirs, or a "
            "rule bears their name."
        )
        typed = st.text_input(
            f"Type {plain(person.username)} to go on", key=f"erase-name-{person.id}", autocomplete="off"
        )
        sure = normal_username(typed) == person.username
        if st.button("Erase for good", key=f"erase-yes-{person.id}", type="primary", disabled=not sure):
            with st.spinner("Erasing…"):
                _erase(principal, person, typed)
            st.rerun()


def _erase(principal: Principal, person: Person, typed: str) -> None:
    ended: list[bool] = []
    act(lambda: ended.append(core().people.erase(principal, person.id, typed)), f"{person.name} is erased.")
    if ended == [False]:
        act(lambda: None, _LATER.format(name=person.name))
