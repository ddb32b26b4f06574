"""The people of a tenant: who they are, what they may do, and the links that let them in."""

from collections.abc import Callable

import streamlit as st

from chatcore.accounts import ROLES, Link, Person, Principal
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError
from pages.ui import session
from pages.ui.text import ago, plain


def table(people: list[Person]) -> None:
    rows = [
        {
            "Name": one.name,
            "Access": one.role if one.status == "active" else one.status,
            "Last seen": ago(one.last_seen_at),
            "Username": one.username,
        }
        for one in people
    ]
    st.dataframe(rows, hide_index=True, key="people")


def show_link(link: Link, name: str) -> None:
    """The link, this one time: it is stored nowhere."""
    what = "join" if link.kind == "invite" else "choose a new password"
    st.success(f"Send this link to {plain(name)}. It works once, until {link.expires_at:%-d %B, %H:%M} UTC.")
    st.caption(f"With it they can {what}. It is shown only now.")
    st.code(f"{session.app_url()}/{link.query}", language=None, wrap_lines=True)


def roles_of(principal: Principal) -> list[str]:
    return [role for role in reversed(ROLES) if role != "operator" or principal.is_operator]


def invite(principal: Principal) -> None:
    st.subheader("Invite someone")
    with st.form("invite", border=True):
        username = st.text_input("Username", max_chars=64, help="For signing in: a to z, digits and . _ @ + -")
        name = st.text_input("Name", max_chars=100)
        role = st.selectbox("Role", roles_of(principal))
        sent = st.form_submit_button("Make invite link", type="primary")
    if sent:
        try:
            show_link(core().accounts.invite(principal, username, name, role), name)
        except ChatcoreError as error:
            st.error(str(error))


def change(principal: Principal, people: list[Person]) -> None:
    others = {one.id: one for one in people if one.id != principal.user_id}
    if not others:
        return
    st.subheader("Change someone")
    chosen = st.selectbox("Person", list(others), format_func=lambda key: _label(others[key]), key="person")
    person = others[chosen]
    offered = roles_of(principal)
    if person.role not in offered:
        st.caption("Only an operator can change an operator.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        role = st.selectbox("Role", offered, index=offered.index(person.role), key=f"role-{person.id}", width=180)
        if st.button("Save role", disabled=role == person.role):
            act(lambda: core().accounts.set_role(principal, person.id, role), f"{person.name} is now {role}.")
        closed = person.status == "disabled"
        if st.button("Enable" if closed else "Disable", help=None if closed else "Signs them out everywhere at once."):
            done = f"{person.name} can sign in again." if closed else f"{person.name} is shut out."
            act(lambda: core().accounts.set_disabled(principal, person.id, not closed), done)
        wanted = st.button("Make a new link" if person.status == "invited" else "Reset password", disabled=closed)
    if wanted:
        try:
            show_link(core().accounts.reset_link(principal, person.id), person.name)
        except ChatcoreError as error:
            st.error(str(error))


def act(work: Callable[[], None], done: str) -> None:
    """Do it and draw the page anew with `done`, or say why not."""
    try:
        work()
    except ChatcoreError as error:
        st.error(str(error))
    else:
        st.session_state["admin_note"] = done
        st.rerun()


def _label(person: Person) -> str:
    return f"{person.name} ({person.username})"


def page() -> None:
    principal = session.require_principal()
    st.title("People")
    if not principal.is_admin:
        st.info("This page is for admins. Ask one if you need something changed.", icon=":material/lock:")
        return
    note = st.session_state.pop("admin_note", None)
    if note:
        st.success(plain(note), icon=":material/check:")
    above = st.container(gap="medium")
    invite(principal)  # drawn below, but done first, so that whom it adds stands in the table
    people = core().accounts.people(principal)
    with above:
        table(people)
        change(principal, people)


page()
