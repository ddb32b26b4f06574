"""Signing in, and the forms behind one-time links. Drawn for every path while nobody is signed in."""

from collections.abc import Callable

import streamlit as st

from chatcore.accounts import OpenCode
from chatcore.accounts.validation import clean_name, clean_username
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError
from pages.ui import company, session, sign_in_form
from pages.ui.entrance import Fields, draw_frame, passwords, problems, say
from pages.ui.text import plain


def sign_in() -> None:
    """By the company's account where there is one, and by password where that is open."""
    oidc = company.provider()
    if oidc is not None:
        company.draw(oidc)
        if not oidc.passwords and "password" not in st.query_params:
            return
        st.caption("or", text_alignment="center")
    by_password()


def by_password() -> None:
    accounts, address = core().accounts, session.address()
    try:
        found = sign_in_form.draw(lambda username: accounts.credentials(username, address))
        if isinstance(found, str):
            session.enter(accounts.ticket(found, address), session.destination())
        elif found is False:
            say("The username or the password is not right.")
    except ChatcoreError as error:
        say(error)


def submit(label: str, chosen: Fields, use: Callable[[], str], *checks: Callable[[], str]) -> None:
    """The form's button; `use` uses the code up and returns a ticket. `checks`: those of the other fields."""
    above = st.container()  # below the button it could stand outside a small window
    if not st.form_submit_button(label, type="primary", width="stretch"):
        return
    wrong = problems(chosen, *checks)
    with above:
        if wrong:
            say("\n\n".join(wrong))
            return
        try:
            session.enter(use(), "/")
        except ChatcoreError as error:
            say(error)


def setup(code: str, _: OpenCode) -> None:
    st.subheader("Make the first account", anchor=False)
    st.caption("It runs this instance: it invites people, sees what models cost, and can make other operators.")
    rule = "a to z, digits and . _ @ + -"
    username = st.text_input("Username", max_chars=64, autocomplete="username", placeholder=rule)
    name = st.text_input("Your name", max_chars=100, autocomplete="name")
    chosen = passwords()
    accounts, address = core().accounts, session.address()
    submit(
        "Make account",
        chosen,
        lambda: accounts.setup_first_account(code, username, name, chosen[0], address),
        *(lambda: clean_username(username), lambda: clean_name(name)),
    )


def invite(code: str, opened: OpenCode) -> None:
    st.subheader("Join your organisation", anchor=False)
    st.markdown(f"You will sign in as **{plain(opened.username or '')}**.")
    name = st.text_input("Your name", value=opened.name or "", max_chars=100, autocomplete="name")
    chosen = passwords()
    accounts, address = core().accounts, session.address()
    submit("Join", chosen, lambda: accounts.accept_invite(code, name, chosen[0], address), lambda: clean_name(name))


def reset(code: str, opened: OpenCode) -> None:
    st.subheader("Choose a new password", anchor=False)
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
    with draw_frame():
        if by_link():
            return
        if session.current_principal() is not None:
            if st.button("Go on to the chat", icon=":material/arrow_forward:", type="primary", width="stretch"):
                session.go_to(f"{session.base_path()}/")
            return
        if st.session_state.get("signed_out"):
            st.info("You were signed out.", icon=":material/logout:")
        sign_in()


page()
