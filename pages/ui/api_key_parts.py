"""One's own API keys on the account page: which there are, each with its end, and a form that makes another."""

from typing import Final, cast

import streamlit as st

from chatcore.accounts import Principal
from chatcore.accounts.keys import KeyInfo, Scope
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError
from pages.ui import session
from pages.ui.text import ago, plain

_SCOPES: Final[dict[Scope, str]] = {
    "chat": "Ask and change", "read": "Read", "usage": "Count usage", "admin": "Act as an admin",
}  # fmt: skip
_LIVES: Final[dict[int | None, str]] = {30: "30 days", 90: "90 days", 365: "A year", None: "Until it is revoked"}
_NEW: Final = "api_key_new"  # the key itself: for one run, and never again
_SAID: Final = "api_key_said"


def draw(principal: Principal) -> None:
    """The section."""
    st.subheader("Your API keys")
    st.caption(f"For programs that read and change what is yours. [What they can do]({session.base_path()}/api/docs).")
    _shown_once()
    if said := st.session_state.pop(_SAID, None):
        st.success(said, icon=":material/check:")
    keys = [one for one in core().accounts.keys(principal) if one.lives]
    if keys:
        with st.container(border=True):
            for one in keys:
                _row(principal, one)
    _form(principal)


def _shown_once() -> None:
    key = st.session_state.pop(_NEW, None)
    if key is None:
        return
    st.success("Copy your new key now: it is not shown again.", icon=":material/key:")
    st.code(key, language=None, wrap_lines=True)
    st.code(f"curl -H 'Authorization: Bearer {key}' {session.app_url()}/api/v1/me", language="sh", wrap_lines=True)


def _row(principal: Principal, one: KeyInfo) -> None:
    used = f"used {ago(one.last_used_at)}" if one.last_used_at else "never used"
    ends = f" · until {one.expires_at:%Y-%m-%d}" if one.expires_at else ""
    scopes = ", ".join(_SCOPES[scope].lower() for scope in one.scopes)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        with st.container(width="stretch", gap=None):
            st.text(one.name)
            st.caption(plain(f"{one.prefix}… · {scopes} · made {ago(one.created_at)} · {used}{ends}"))
        with st.popover("Revoke", key=f"api-key-revoke-{one.id}"):
            st.markdown("Programs that use this key are refused from now on.")
            if st.button("Yes, revoke", key=f"api-key-revoke-yes-{one.id}", type="primary"):
                _revoke(principal, one)


def _revoke(principal: Principal, one: KeyInfo) -> None:
    try:
        core().accounts.revoke_key(principal, one.id)
    except ChatcoreError as error:
        st.error(str(error))
        return
    st.session_state[_SAID] = f"The key “{one.name}” is revoked."
    st.rerun()


def _form(principal: Principal) -> None:
    offered = [scope for scope in _SCOPES if scope != "admin" or principal.is_admin]
    with st.form("api-key", border=False, clear_on_submit=True):
        name = st.text_input("Name", max_chars=100, placeholder="What uses it", key="api_key_name")
        scopes = st.pills(
            "It may", offered, selection_mode="multi", default=["chat", "read"], format_func=_SCOPES.__getitem__,
            key="api_key_scopes",
        )  # fmt: skip
        days = st.selectbox("It lives", list(_LIVES), index=1, format_func=_LIVES.__getitem__, key="api_key_days")
        if not st.form_submit_button("Make key", key="api_key_make"):
            return
    try:
        _, key = core().accounts.create_key(principal, name, cast("list[Scope]", scopes), days)
    except ChatcoreError as error:
        st.error(str(error))
        return
    st.session_state[_NEW] = key
    st.rerun()
