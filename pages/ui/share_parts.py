"""Parts of sharing: the dialog that makes and revokes shares, and a shared conversation as its reader sees it."""

from datetime import datetime
from typing import Final
from urllib.parse import urlencode

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations import WINDOW, Conversation, Window
from chatcore.conversations.sharing import Kind, Share
from chatcore.conversations.shown import Shared
from chatcore.db.tables import utcnow
from chatcore.errors import ChatcoreError
from pages.ui import session
from pages.ui.messages import draw_messages
from pages.ui.text import ago, plain

_KINDS: Final[dict[Kind, str]] = {
    "team": ":material/group: Your whole team",
    "link": ":material/link: Link, for colleagues who are signed in",
}
_WHO: Final[dict[Kind, str]] = {
    "team": "Every colleague can read it, and finds it on the page Shared.",
    "link": "Every colleague to whom you give the link can read it. Nobody outside your team can.",
}
_ENDS: Final = {1: "After a day", 7: "After 7 days", 30: "After 30 days", None: "Never"}
_PROBLEM: Final = "share_problem"
_SEEN: Final = "They see your name, and no costs."
_MOMENT: Final = "%-d %B, %H:%M"


@st.dialog("Share", width="medium")
def dialog(principal: Principal, conversation: Conversation, message_id: str | None = None) -> None:
    """Share one's own conversation, live or up to a message, and revoke what is shared. `message_id`: up to here."""
    st.markdown(f"**{plain(conversation.title)}**")
    if problem := st.session_state.pop(_PROBLEM, None):
        st.error(problem)
    made = _draw_form(principal, conversation, message_id)
    try:
        shares = core().shares.of(principal, conversation.id)
    except ChatcoreError as error:
        st.error(str(error))
        return
    new, known = ([one for one in shares if (one.id == made) is is_new] for is_new in (True, False))
    for heading, some in (("Shared", new), ("Also shared" if new else "Shared now", known)):
        if some:
            st.subheader(heading, anchor=False)
        for share in some:
            _draw_share(principal, share)


def address(handle: str) -> str:
    """The full address at which a share is read."""
    return f"{session.app_url()}/shared?{urlencode({'s': handle})}"


def _draw_form(principal: Principal, conversation: Conversation, message_id: str | None) -> str | None:
    """What is shared with whom; returns the id of the share that was made in this run."""
    key = f"share-{conversation.id}"
    kind = st.radio("Who can read it", list(_KINDS), format_func=_KINDS.__getitem__, captions=list(_WHO.values()),
                    key=f"{key}-kind")  # fmt: skip
    until = message_id or conversation.head_message_id
    fixed = "Only up to this message" if message_id else "Only what is there now"
    live = st.radio(
        "What they see", (False, True) if until else (True,), key=f"{key}-live",
        format_func=lambda is_live: "Live: what is said later, too" if is_live else fixed,
    )  # fmt: skip
    can_reply, days = False, None
    if kind == "link":
        days = st.selectbox("The link ends", list(_ENDS), index=1, format_func=_ENDS.__getitem__, key=f"{key}-days")
    elif live:
        can_reply = st.toggle("They may reply", key=f"{key}-reply", help="What they ask is billed to them.")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        asked = st.button("Share", key=f"{key}-create", type="primary", icon=":material/share:")
        st.caption(_SEEN)
    if not asked:
        return None
    try:
        return core().shares.create(
            principal, conversation.id, kind=kind, can_reply=can_reply, days=days,
            up_to_message_id=None if live else until,
        ).id  # fmt: skip
    except ChatcoreError as error:
        st.error(str(error))
        return None


def _draw_share(principal: Principal, share: Share) -> None:
    with st.container(border=True, key=f"share-row-{share.id}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            with st.container(width="stretch", gap=None):
                st.markdown(_KINDS[share.kind])
                st.caption(" · ".join(_facts(share)))
            st.button(
                "Revoke", key=f"revoke-{share.id}", icon=":material/link_off:", on_click=_revoke,
                args=(principal, share.id),
            )  # fmt: skip
        st.code(address(share.handle), language=None, wrap_lines=True)


def _facts(share: Share) -> list[str]:
    what = f"as of {_moment(share.created_at)}" if share.up_to_message_id else "live"
    facts = [what, "may reply" if share.can_reply else "read-only"]
    if share.expires_at is not None:
        facts.append(f"ends {share.expires_at:{_MOMENT}} UTC")
    return facts if share.up_to_message_id else [*facts, f"shared {ago(share.created_at)}"]


def _moment(moment: datetime) -> str:
    """`21:12 UTC` for today, else with its date."""
    return f"{moment:%H:%M} UTC" if moment.date() == utcnow().date() else f"{moment:{_MOMENT}} UTC"


def _revoke(principal: Principal, share_id: str) -> None:
    try:
        core().shares.revoke(principal, share_id)
    except ChatcoreError as error:
        st.session_state[_PROBLEM] = str(error)


def draw_shared(principal: Principal, handle: str, shared: Shared) -> None:
    """A shared conversation to read, with what its reader can do."""
    st.title(plain(shared.title), anchor=False)
    facts = [f"Shared by {plain(shared.author)}", "live" if shared.is_live else f"as of {_moment(shared.created_at)}"]
    if shared.expires_at is not None:
        facts.append(f"until {shared.expires_at:{_MOMENT}} UTC")
    st.caption(" · ".join(facts))
    with st.container(horizontal=True, key="shared_actions"):
        if shared.conversation_id is not None:
            label = "Reply in this conversation, billed to you"
            if st.button(label, key="reply_shared", icon=":material/reply:"):
                st.switch_page("chat.py", query_params={"c": shared.conversation_id})
        if st.button("Continue in a copy of my own", key="copy_shared", icon=":material/content_copy:"):
            _copy(principal, handle)
    if shared.earlier:
        st.button("Show earlier messages", key="earlier", type="tertiary", icon=":material/expand_less:",
                  on_click=_show_earlier, args=(handle,))  # fmt: skip
    if not shared.messages and not shared.running:
        st.info("Nothing has been said here yet.", icon=":material/chat_bubble:")
    labels = {model.name: model.display_name for model in core().gateway.catalog.models()}
    draw_messages(Window(shared.messages, shared.earlier), labels=labels, acts=None, share=handle)
    if shared.running:
        st.markdown(":gray[:material/hourglass_top: A reply is being written. It is shown here when it has ended.]")


def shown(handle: str) -> int:
    """How many messages of this share are drawn."""
    of, count = st.session_state.get("shared_shown", ("", 0))
    return int(count) if of == handle else WINDOW


def _show_earlier(handle: str) -> None:
    st.session_state["shared_shown"] = (handle, shown(handle) + WINDOW)


def _copy(principal: Principal, handle: str) -> None:
    try:
        made = core().shares.copy(principal, handle)
    except ChatcoreError as error:
        st.error(str(error), icon=":material/error:")
    else:
        st.switch_page("chat.py", query_params={"c": made})
