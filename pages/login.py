"""Signing in, and the forms behind one-time links. Drawn for every path while nobody is signed in."""

from collections.abc import Callable

import streamlit as st

from chatcore.accounts import OpenCode
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError
from pages.ui import session, sign_in_form
from pages.ui.text import plain


def say(error: ChatcoreError | str) -> None:
    st.error(str(error), icon=":material/error:")


def sign_in() -> None:
    accounts, address = core().accounts, session.address()
    try:
        found = sign_in_form.draw(lambda username: accounts.credentials(username, address))
        if isinstance(found, str):
            session.enter(accounts.ticket(found, address), session.destination())
        elif found is False:
            say("The username or the password is not right.")
    except ChatcoreError as error:
        say(error)


def passwords() -> tuple[str, str]:
    first = st.text_input("Password", type="password", autocomplete="new-password", help="At least 8 characters.")
    again = st.text_input("Password again", type="password", autocomplete="new-password")
    return first, again


def submit(label: str, chosen: tuple[str, str], use: Callable[[], str]) -> None:
    """The form's button; `use` uses the code up and returns a ticket."""
    if not st.form_submit_button(label, type="primary", width="stretch"):
        return
    if chosen[0] != chosen[1]:
        say("The two passwords differ.")
        return
    try:
        session.enter(use(), "/")
    except ChatcoreError as error:
        say(error)


def setup(code: str, _: OpenCode) -> None:
    st.subheader("Make the first account")
    st.caption("It runs this instance: it invites people, sees what models cost, and can make other operators.")
    username = st.text_input("Username", max_chars=64, autocomplete="username")
    name = st.text_input("Your name", max_chars=100, autocomplete="name")
    chosen = passwords()
    accounts, address = core().accounts, session.address()
    submit("Make account", chosen, lambda: accounts.setup_first_account(code, username, name, chosen[0], address))


def invite(code: str, opened: OpenCode) -> None:
    st.subheader("Join your team")
    st.markdown(f"You will sign in as **{plain(opened.username or '')}**.")
    name = st.text_input("Your name", value=opened.name or "", max_chars=100, autocomplete="name")
    chosen = passwords()
    submit("Join", chosen, lambda: core().accounts.accept_invite(code, name, chosen[0], session.address()))


def reset(code: str, opened: OpenCode) -> None:
    st.subheader("Choose a new password")
    st.markdown(f"For **{plain(opened.username or '')}**. All other browsers are signed out.")
    chosen = passwords()
    submit("Set password", chosen, lambda: core().accounts.reset_password(code, chosen[0], session.address()))


def by_link() -> bool:
    """The form of the one-time link in the address, if there is one that can still be used."""
    accounts = core().accounts
    for kind, draw in (("setup", setup), ("invite", invite), ("reset", reset)):
        code = st.query_params.get(kind)
        if code:
            try:
                opened = accounts.open_code(kind, code)  # type: ignore[arg-type] # the three kinds above
            except ChatcoreError as error:
                say(error)
                return False
            with st.form("link", enter_to_submit=True):
                draw(code, opened)
            return True
    return False


def page() -> None:
    with st.container(horizontal_alignment="center"), st.container(width=420):
        st.markdown("## Chatcore", text_alignment="center")
        st.caption("Your team’s chat with any model.", text_alignment="center")
        if by_link():
            return
        if session.current_principal() is not None:
            st.page_link("chat.py", label="Go on to the chat", icon=":material/arrow_forward:")
            return
        sign_in()


page()
