"""Parts of the page of people: the table, a link that is shown once, and acts that draw the page anew."""

from collections.abc import Callable

import streamlit as st

from chatcore.accounts import Link, Person
from chatcore.errors import ChatcoreError
from pages.ui import session
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


def table(people: list[Person]) -> None:
    """Who is there, and who was when."""
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


def act(work: Callable[[], None], done: str) -> None:
    """Do it and draw the page anew with `done`, or say why not."""
    try:
        work()
    except ChatcoreError as error:
        st.error(str(error))
    else:
        st.session_state["admin_note"] = done
        st.rerun()
