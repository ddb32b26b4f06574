"""The people of a tenant: who they are, what they may do, and the links that let them in."""

from collections.abc import Callable, Sequence
from typing import Final

import streamlit as st

from chatcore.accounts import ROLES, Link, Person, Principal
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError
from chatcore.flags import DEFAULT_LIMITS
from pages.ui import erase_parts, session
from pages.ui.text import ago, plain

_into_view = st.components.v2.component(
    "chatcore_into_view",
    js="""
export default function ({ parentElement }) {
  const place = parentElement.host || parentElement
  place.scrollIntoView({ block: "center" })
}
""",
)


_NO_TEAM: Final = ""
_FEW: Final = 10  # people among whom nobody needs a search


def draw(principal: Principal) -> None:
    """Everybody, one of them to change, and a form for one more."""
    note = st.session_state.pop("admin_note", None)
    if note:
        st.success(plain(note), icon=":material/check:")
    handed = st.session_state.pop("admin_link", None)
    if handed:
        show_link(*handed)
    everybody = core().accounts.people(principal)
    people = found(everybody)
    table(people)
    change(principal, people, everybody)
    invite(principal)


def roles_of(principal: Principal) -> list[str]:
    """The roles that they may give."""
    return [role for role in reversed(ROLES) if role != "operator" or principal.is_operator]


def tiers(people: Sequence[Person]) -> list[str]:
    """The tiers there are: those that limits are set for, and those that somebody is in."""
    rules = [*DEFAULT_LIMITS, *core().flags.now.limits]
    names = [rule.name for rule in rules if rule.scope == "tier"] + sorted({one.tier for one in people})
    return list(dict.fromkeys(names))


def found(people: list[Person]) -> list[Person]:
    """Those in whose line every word stands that is searched for; all where there are few to look through."""
    if len(people) <= _FEW:
        return people
    rule = "Name, username, team, role, tier or status"
    typed = st.text_input("Find people", key="people-search", placeholder=rule, icon=":material/search:")
    words = typed.casefold().split()
    kept = [one for one in people if all(word in _line(one) for word in words)]
    st.caption(f"{len(kept)} of {len(people)} people" if words else f"{len(people)} people")
    return kept


def _line(one: Person) -> str:
    return " ".join((one.name, one.username, one.team or "", one.role, one.tier, one.status, signs_in(one))).casefold()


def signs_in(person: Person) -> str:
    """How they can: with a password, with their company's account, with both, or not yet."""
    oidc = core().settings.own.oidc
    company = oidc.name if oidc else "company account"
    ways = [way for way, has in (("password", person.has_password), (company, person.has_company)) if has]
    return ", ".join(ways)


def table(people: list[Person]) -> None:
    """Who is there, and who was when."""
    by_company = core().settings.own.oidc is not None or any(one.has_company for one in people)
    rows = [
        {
            "Name": one.name,
            "Access": one.role if one.status == "active" else one.status,
            "Tier": one.tier,
            "Team": one.team or "",
            "Last seen": ago(one.last_seen_at),
            "Username": one.username,
            **({"Signs in with": signs_in(one)} if by_company else {}),
        }
        for one in people
    ]
    st.dataframe(rows, hide_index=True, key="people")


def invite(principal: Principal) -> None:
    """The form for one more. Where only the company's account lets in, it makes an account and no link."""
    oidc = core().settings.own.oidc
    by_company = oidc.name if oidc and not oidc.passwords else None
    st.subheader("Invite someone" if by_company is None else "Add someone")
    if oidc and by_company and not oidc.link_by_email:
        st.caption(f"People join by signing in with {plain(by_company)}.")
        return
    with st.form("invite", border=True):
        count = st.session_state.get("admin_invites", 0)  # fields with new keys are empty
        rule = "a to z, digits and . _ @ + -" if by_company is None else f"Their e-mail address at {by_company}"
        username = st.text_input("Username", max_chars=64, placeholder=rule, key=f"invite-username-{count}")
        name = st.text_input("Name", max_chars=100, key=f"invite-name-{count}")
        role = st.selectbox("Role", roles_of(principal))
        sent = st.form_submit_button("Make invite link" if by_company is None else "Add", type="primary")
    if sent and by_company is None:
        hand_out(lambda: core().accounts.invite(principal, username, name, role), name)
    elif sent:
        done = f"{name} can sign in with {by_company}."
        act(lambda: _invited(principal, username, name, role), done)


def _invited(principal: Principal, username: str, name: str, role: str) -> None:
    """The link that comes with it is handed to nobody."""
    core().accounts.invite(principal, username, name, role)
    st.session_state["admin_invites"] = st.session_state.get("admin_invites", 0) + 1


def change(principal: Principal, people: list[Person], everybody: list[Person]) -> None:
    """One of `people`. `everybody`: whose tiers and teams are offered."""
    st.subheader("Manage a person")
    known = {one.id: one for one in people}
    chosen = st.selectbox(
        "Person", list(known), index=None, format_func=lambda key: label(known[key]), key="person",
        placeholder="Choose a person",
    )  # fmt: skip
    if chosen is None:
        return
    person, offered = known[chosen], roles_of(principal)
    if person.role not in offered:
        st.caption("Only an operator can change an operator.")
        return
    _places(principal, person, offered, everybody)
    if person.id != principal.user_id:
        _entry(principal, person)


def _places(principal: Principal, person: Person, roles: list[str], people: Sequence[Person]) -> None:
    """Role, tier and team, saved together. One's own role is for another admin to change."""
    teams = [_NO_TEAM, *sorted({one.team for one in people if one.team})]
    offered = tiers(people)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        own = person.id == principal.user_id
        role = st.selectbox(
            "Role", roles, index=roles.index(person.role), key=f"role-{person.id}", width=160, disabled=own
        )
        tier = st.selectbox("Tier", offered, index=offered.index(person.tier), key=f"tier-{person.id}", width=160)
        team = st.selectbox(
            "Team", teams, index=teams.index(person.team or _NO_TEAM), key=f"team-{person.id}", width=220,
            format_func=lambda one: one or "No team", accept_new_options=True, help="Type a name for a new team.",
        )  # fmt: skip
        same = (role, tier, team) == (person.role, person.tier, person.team or _NO_TEAM)
        if not st.button("Save", key="person-save", disabled=same):
            return

    def save() -> None:
        accounts = core().accounts
        if role != person.role:
            accounts.set_role(principal, person.id, role)
        accounts.set_tier(principal, person.id, tier)
        accounts.set_team(principal, person.id, team)

    act(save, f"{person.name} is changed.")


def _entry(principal: Principal, person: Person) -> None:
    """What lets a person in, or shuts them out."""
    wanted = False
    with st.container(horizontal=True):
        if person.status == "disabled":
            if st.button("Enable"):
                enable = core().accounts.set_disabled
                act(lambda: enable(principal, person.id, False), f"{person.name} can sign in again.")
        else:
            if may_have_password(person):
                wanted = st.button("Make a new link" if person.status == "invited" else "Reset password")
            if person.status == "active":
                sign_out(principal, person)
            disable(principal, person)
        erase_parts.draw_erase(principal, person)
    if wanted:
        hand_out(lambda: core().accounts.reset_link(principal, person.id), person.name)


def may_have_password(person: Person) -> bool:
    """Whether a link to choose a password makes sense: not where it would not let them in."""
    oidc = core().settings.own.oidc
    open_to_them = oidc is None or oidc.passwords or person.role == "operator"
    return open_to_them and (person.has_password or not person.has_company)


def sign_out(principal: Principal, person: Person) -> None:
    """Asks first: whoever writes somewhere now sees the sign-in form next."""
    with st.popover("Sign out everywhere", key=f"sign-out-{person.id}"):
        st.markdown(f"{plain(person.name)} is signed out in every browser. They can sign in again; API keys stay.")
        if st.button("Yes, sign out", type="primary"):
            done = f"{person.name} is signed out everywhere."
            act(lambda: core().accounts.sign_out_person(principal, person.id), done)


def disable(principal: Principal, person: Person) -> None:
    """Asks first: it ends what the person is doing now."""
    with st.popover("Disable", key=f"disable-{person.id}"):
        st.markdown(f"{plain(person.name)} is signed out everywhere at once, and their API keys are refused.")
        if st.button("Yes, disable", type="primary"):
            done = f"{person.name} is shut out."
            act(lambda: core().accounts.set_disabled(principal, person.id, True), done)


def label(person: Person) -> str:
    """`Ada Lovelace (ada)`."""
    return f"{person.name} ({person.username})"


def show_link(link: Link, name: str) -> None:
    """The link, this one time: it is stored nowhere. Its copy button is there without a mouse, too."""
    what = "join" if link.kind == "invite" else "choose a new password"
    _into_view(key="into_view", height=0)  # the button that made it stands further down the page
    with st.container(border=True, key="new_link"):
        st.success(f"Send this link to {plain(name)}. It works once, until {link.expires_at:%-d %B, %H:%M} UTC.")
        st.code(f"{session.app_url()}/{link.query}", language=None, wrap_lines=True)
        st.caption(f"With it they can {what}. It is shown only now.")
    st.html(
        """<style>
          .st-key-new_link [data-testid="stCode"] div:has(button) { opacity: 1; visibility: visible; transform: none; }
          .st-key-new_link code { user-select: all; }
        </style>"""
    )


def hand_out(make: Callable[[], Link], name: str) -> None:
    """Make a link and draw the page anew with it on top, or say why not."""
    try:
        st.session_state["admin_link"] = make(), name
    except ChatcoreError as error:
        st.error(str(error))
    else:
        st.session_state["admin_invites"] = st.session_state.get("admin_invites", 0) + 1
        st.rerun()


def act(work: Callable[[], object], done: str) -> None:
    """Do it and draw the page anew with `done`, or say why not."""
    try:
        work()
    except ChatcoreError as error:
        st.error(str(error))
    else:
        st.session_state["admin_note"] = done
        st.rerun()
