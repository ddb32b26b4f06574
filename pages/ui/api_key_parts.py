"""API keys: one's own on the account page, the tenant's for its admins, who also make those of services."""

from collections.abc import Callable, Sequence
from functools import partial
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
    """One's own: which there are, each with its end, and a form that makes another."""
    st.subheader("Your API keys")
    st.caption(f"For programs that read and change what is yours. [What they can do]({session.base_path()}/api/docs).")
    _shown_once()
    if said := st.session_state.pop(_SAID, None):
        st.success(said, icon=":material/check:")
    keys = [one for one in core().accounts.keys(principal) if one.lives]
    if keys:
        with st.container(border=True):
            for one in keys:
                _row(one, one.name, lambda one=one: core().accounts.revoke_key(principal, one.id))  # type: ignore[misc]
    offered = [scope for scope in _SCOPES if scope != "admin" or principal.is_admin]
    _form("Make key", "What uses it", offered, partial(core().accounts.create_key, principal))


def draw_tenant(principal: Principal) -> None:
    """Everybody's of the tenant, for an admin: who has which, each with its end, and a form for a service's."""
    st.subheader("API keys")
    st.caption("Of people and services. A service is a program that is nobody's: its usage is counted by its own name.")
    _shown_once()
    if said := st.session_state.pop(_SAID, None):
        st.success(said, icon=":material/check:")
    found = core().accounts.tenant_keys(principal)
    if found:
        with st.container(border=True):
            for one in found:
                owner = f"{one.owner} (service)" if one.is_service else f"{one.owner}: {one.info.name}"
                revoke = partial(core().accounts.revoke_tenant_key, principal, one.info.id)
                _row(one.info, owner, revoke)
    else:
        st.caption("Nobody has one yet.")
    offered = [scope for scope in _SCOPES if scope != "admin"]
    _form("Make a service's key", "The service's name", offered, partial(core().accounts.create_service_key, principal))


def _shown_once() -> None:
    key = st.session_state.pop(_NEW, None)
    if key is None:
        return
    st.success("Copy your new key now: it is not shown again.", icon=":material/key:")
    st.code(key, language=None, wrap_lines=True)
    st.code(f"curl -H 'Authorization: Bearer {key}' {session.app_url()}/api/v1/me", language="sh", wrap_lines=True)


def _row(one: KeyInfo, title: str, revoke: Callable[[], None]) -> None:
    used = f"used {ago(one.last_used_at)}" if one.last_used_at else "never used"
    ends = f" · until {one.expires_at:%Y-%m-%d}" if one.expires_at else ""
    scopes = ", ".join(_SCOPES[scope].lower() for scope in one.scopes)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        with st.container(width="stretch", gap=None):
            st.text(title)
            st.caption(plain(f"{one.prefix}… · {scopes} · made {ago(one.created_at)} · {used}{ends}"))
        with st.popover("Revoke", key=f"api-key-revoke-{one.id}"):
            st.markdown("Programs that use this key are refused from now on.")
            if st.button("Yes, revoke", key=f"api-key-revoke-yes-{one.id}", type="primary"):
                _revoke(one, revoke)


def _revoke(one: KeyInfo, revoke: Callable[[], None]) -> None:
    try:
        revoke()
    except ChatcoreError as error:
        st.error(str(error))
        return
    st.session_state[_SAID] = f"The key “{one.name}” is revoked."
    st.rerun()


def _form(label: str, placeholder: str, offered: Sequence[Scope], make: Callable[..., tuple[KeyInfo, str]]) -> None:
    with st.form("api-key", border=False, clear_on_submit=True):
        name = st.text_input("Name", max_chars=100, placeholder=placeholder, key="api_key_name")
        scopes = st.pills(
            "It may", offered, selection_mode="multi", default=["chat", "read"], format_func=_SCOPES.__getitem__,
            key="api_key_scopes",
        )  # fmt: skip
        days = st.selectbox("It lives", list(_LIVES), index=1, format_func=_LIVES.__getitem__, key="api_key_days")
        if not st.form_submit_button(label, key="api_key_make"):
            return
    try:
        _, key = make(name, cast("list[Scope]", scopes), days)
    except ChatcoreError as error:
        st.error(str(error))
        return
    st.session_state[_NEW] = key
    st.rerun()
