"""The people of a tenant: who they are, what they may do, and the links that let them in."""

import streamlit as st

from chatcore.accounts import ROLES, Person, Principal
from chatcore.bootstrap import core
from pages.ui import session
from pages.ui.people_parts import act, hand_out, show_link, table
from pages.ui.text import plain


def roles_of(principal: Principal) -> list[str]:
    return [role for role in reversed(ROLES) if role != "operator" or principal.is_operator]


def invite(principal: Principal) -> None:
    st.subheader("Invite someone")
    with st.form("invite", border=True):
        count = st.session_state.get("admin_invites", 0)  # fields with new keys are empty
        rule = "a to z, digits and . _ @ + -"
        username = st.text_input("Username", max_chars=64, placeholder=rule, key=f"invite-username-{count}")
        name = st.text_input("Name", max_chars=100, key=f"invite-name-{count}")
        role = st.selectbox("Role", roles_of(principal))
        sent = st.form_submit_button("Make invite link", type="primary")
    if sent:
        hand_out(lambda: core().accounts.invite(principal, username, name, role), name)


def change(principal: Principal, people: list[Person]) -> None:
    others = {one.id: one for one in people if one.id != principal.user_id}
    if not others:
        return
    st.subheader("Manage a person")
    chosen = st.selectbox(
        "Person",
        list(others),
        index=None,
        format_func=lambda key: _label(others[key]),
        key="person",
        placeholder="Choose a person",
    )
    if chosen is None:
        return
    person = others[chosen]
    offered = roles_of(principal)
    if person.role not in offered:
        st.caption("Only an operator can change an operator.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        role = st.selectbox("Role", offered, index=offered.index(person.role), key=f"role-{person.id}", width=180)
        if st.button("Save role", disabled=role == person.role):
            act(lambda: core().accounts.set_role(principal, person.id, role), f"{person.name} is now {role}.")
        if person.status == "disabled":
            if st.button("Enable"):
                enable = core().accounts.set_disabled
                act(lambda: enable(principal, person.id, False), f"{person.name} can sign in again.")
            return
        wanted = st.button("Make a new link" if person.status == "invited" else "Reset password")
        disable(principal, person)
    if wanted:
        hand_out(lambda: core().accounts.reset_link(principal, person.id), person.name)


def disable(principal: Principal, person: Person) -> None:
    """Asks first: it ends what the person is doing now."""
    with st.popover("Disable", key=f"disable-{person.id}"):
        st.markdown(f"{plain(person.name)} is signed out everywhere at once, and their API keys are refused.")
        if st.button("Yes, disable", type="primary"):
            done = f"{person.name} is shut out."
            act(lambda: core().accounts.set_disabled(principal, person.id, True), done)


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
    handed = st.session_state.pop("admin_link", None)
    if handed:
        show_link(*handed)
    people = core().accounts.people(principal)
    table(people)
    change(principal, people)
    invite(principal)


page()
