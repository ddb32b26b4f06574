"""One's own account: name, preferences, password, and where one is signed in."""

from collections.abc import Callable

import streamlit as st

from chatcore.accounts import Principal, SessionInfo
from chatcore.accounts.preferences import MAX_INSTRUCTIONS, Prefs
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError
from pages.ui import allowance, api_key_parts, company, key_parts, session
from pages.ui.text import ago, device, plain


def name_form(principal: Principal) -> None:
    st.subheader("Name")
    with st.form("name", border=False):
        name = st.text_input(
            "Name", value=principal.name, max_chars=100, autocomplete="name", label_visibility="collapsed"
        )
        if st.form_submit_button("Save name"):
            save("Your name is saved.", lambda: core().accounts.rename(principal, name))


def instructions_form(principal: Principal, prefs: Prefs) -> None:
    st.subheader("Custom instructions")
    st.caption("Told to every model with each of your questions: who you are, how you like to be answered.")
    with st.form("instructions", border=False):
        text = st.text_area(
            "Custom instructions",
            value=prefs.instructions,
            max_chars=MAX_INSTRUCTIONS,
            height=140,
            label_visibility="collapsed",
        )
        if st.form_submit_button("Save instructions"):
            save("Your instructions are saved.", lambda: core().preferences.save(principal, instructions=text))


def titles_switch(principal: Principal, prefs: Prefs) -> None:
    """Only where an admin has configured a model for it: else there is nothing to switch."""
    if core().settings.own.title_model is None:
        return
    st.subheader("Better titles")
    st.caption("A cheap model names your new chats after the first reply. It costs a little, and is billed to you.")
    wanted = st.toggle("Better titles", value=prefs.better_titles, label_visibility="collapsed")
    if wanted != prefs.better_titles:
        note = "Your new chats get better titles." if wanted else "Your new chats keep their first words as title."
        save(note, lambda: core().preferences.save(principal, better_titles=wanted))


def save(note: str, work: Callable[[], None]) -> None:
    """Do it and draw the page anew with `note`, or say why not."""
    try:
        work()
    except ChatcoreError as error:
        st.error(str(error))
    else:
        st.session_state["account_note"] = note
        st.rerun()


def password_form(principal: Principal) -> None:
    st.subheader("Password")
    st.caption("Changing it signs you out in all other browsers.")
    with st.form("password", border=False, clear_on_submit=True):
        old = st.text_input("Current password", type="password", autocomplete="current-password")
        rule = "At least 8 characters"
        new = st.text_input("New password", type="password", autocomplete="new-password", placeholder=rule)
        again = st.text_input("New password again", type="password", autocomplete="new-password")
        if not st.form_submit_button("Change password"):
            return
    if new != again:
        st.error("The two new passwords differ.")
        return
    done = "Your password is changed. Other browsers are signed out."
    save(done, lambda: core().accounts.change_password(principal, old, new, session.address()))


def browser_row(principal: Principal, one: SessionInfo) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        with st.container(width="stretch", gap=None):
            st.text(device(one.user_agent))
            where = f"{one.address} · " if one.address else ""
            st.caption(plain(where + ("this browser" if one.is_current else f"last seen {ago(one.last_seen_at)}")))
        if not one.is_current and st.button("Sign out", key=f"revoke-{one.id}"):
            core().accounts.revoke_session(principal, one.id)
            st.rerun()


def browsers(principal: Principal) -> None:
    st.subheader("Where you are signed in")
    with st.container(border=True):
        for one in core().accounts.sessions(principal):
            browser_row(principal, one)
    if st.button("Sign out everywhere", icon=":material/logout:", help="In this browser too."):
        core().accounts.sign_out_everywhere(principal, keep_current=False)
        session.sign_out()
        st.stop()


def page() -> None:
    principal = session.require_principal()
    st.title("Account")
    st.caption(f"{plain(principal.username)} · {principal.role}")
    note = st.session_state.pop("account_note", None)
    if note:
        st.success(note, icon=":material/check:")
    name_form(principal)
    allowance.draw(principal)
    prefs = core().preferences.get(principal)
    instructions_form(principal, prefs)
    titles_switch(principal, prefs)
    key_parts.draw(principal, for_tenant=False)
    api_key_parts.draw(principal)
    if company.has_password(principal):
        password_form(principal)
    browsers(principal)


page()
