"""What colleagues share: one conversation to read, or the list of those that the team may see."""

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations.sharing import TeamShare
from chatcore.errors import ChatcoreError, NotFound
from pages.ui import session, share_parts
from pages.ui.text import ago, plain

_WATCH_EVERY = 3.0  # seconds after which a live share notices what was said, and any share that it was revoked


def page() -> None:
    principal = session.require_principal()
    handle = st.query_params.get("s") or st.query_params.get("team")
    if not handle:
        overview(principal)
        return
    try:
        shared = core().shares.open(principal, handle, share_parts.shown(handle))
    except NotFound as error:
        st.info(str(error), icon=":material/link_off:")
        st.button("What the team shares", key="team_list", icon=":material/group:", on_click=st.query_params.clear)
        return
    share_parts.draw_shared(principal, handle, shared)
    watch(handle, shared.version)


@st.fragment(run_every=_WATCH_EVERY)
def watch(handle: str, version: str) -> None:
    """Draw the page anew when the shared conversation went on, or the share has ended."""
    principal = session.require_principal()
    try:
        changed = core().shares.version(principal, handle) != version
    except NotFound:
        changed = True
    except ChatcoreError:
        return  # the next look tells
    if changed:
        st.rerun()


def overview(principal: Principal) -> None:
    st.title("Shared with the team")
    shares = core().shares.with_team(principal)
    if not shares:
        st.info("Nothing is shared yet. Open a conversation of yours and choose Share.", icon=":material/group:")
        return
    st.caption("What colleagues let everybody of the team read. The newest stand first.")
    with st.container(key="team_shares", gap="xsmall"):
        for share in shares:
            line(share)


def line(share: TeamShare) -> None:
    with st.container(border=True, gap=None):
        st.button(f"**{plain(share.title)}**", key=f"open-{share.handle}", type="tertiary", on_click=open_share,
                  args=(share.handle,))  # fmt: skip
        facts = [plain(share.author), ago(share.created_at), *(["may reply"] if share.can_reply else [])]
        st.caption(" · ".join(facts))


def open_share(handle: str) -> None:
    st.query_params["s"] = handle


page()
