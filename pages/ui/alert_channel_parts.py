"""The channels of alerts: where notices go, a test of each, and the fields of a new one."""

from typing import Final, Literal

import streamlit as st

from chatcore.accounts import Principal
from chatcore.alerts.channel_kinds import KINDS, Field
from chatcore.alerts.channels import ChannelInfo
from chatcore.alerts.rules import INSTANCE
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError
from pages.ui import acts, confirm
from pages.ui.acts import act
from pages.ui.text import ago, plain

_ICONS: Final = {"slack": "tag", "email": "mail", "pagerduty": "notifications_active", "webhook": "webhook"}
_SCOPES: Final = {False: "Your organisation", True: "Whole instance"}
_TRIED: Final = "alert_channel_tried"
_OPEN: Final = "alert_channel_open"


def draw(principal: Principal) -> None:
    """Every channel that the principal keeps, and the way to another."""
    st.subheader("Channels")
    st.caption("Addresses are kept encrypted and are not shown again.")
    channels = core().alerts.channels(principal)
    for channel in channels:
        _row(principal, channel)
    if not channels:
        st.caption("There is none yet: alerts are only shown here.")
    st.button("Add a channel", icon=":material/add:", key="alert_channel_add", on_click=_open, args=(True,))
    if st.session_state.get(_OPEN):
        _add(principal)


def _row(principal: Principal, channel: ChannelInfo) -> None:
    whole = " :gray-badge[whole instance]" if principal.is_operator and channel.tenant_id == INSTANCE else ""
    tried = st.session_state.get(_TRIED, {}).get(channel.id)
    with st.container(key=f"admin-row-{channel.id}", horizontal=True, vertical_alignment="center"):
        with st.container(gap=None):
            st.markdown(f":material/{_ICONS[channel.kind]}: **{plain(channel.name)}**{whole}")
            st.caption(plain(f"{KINDS[channel.kind][0]} · {channel.shown} · added {ago(channel.updated_at)}"))
            if tried is not None:
                sent, words = tried
                said = "A test was sent." if sent else f"The test was not sent. {words}"
                st.caption(f":{'green' if sent else 'red'}[{plain(said)}]")
        with st.container(horizontal=True, width="content"):
            st.button("Send test", key=f"alert-channel-try-{channel.id}", on_click=_try, args=(principal, channel.id))
            if st.button("Delete", key=f"alert-channel-delete-{channel.id}"):
                _delete(principal, channel)


def _try(principal: Principal, channel_id: str) -> None:
    """A callback; it may take ten seconds."""
    try:
        outcome = core().alerts.try_channel(principal, channel_id)
        said = outcome.sent, outcome.words
    except ChatcoreError as error:
        said = False, str(error)
    st.session_state[_TRIED] = {**st.session_state.get(_TRIED, {}), channel_id: said}


def _open(is_open: bool) -> None:
    """A callback. The dialog stays until it is dismissed or the channel is added."""
    st.session_state[_OPEN] = is_open


@st.dialog("Add a channel", on_dismiss=lambda: _open(False))
def _add(principal: Principal) -> None:
    instance = False
    if principal.is_operator:
        instance = st.segmented_control(
            "For",
            list(_SCOPES),
            format_func=_SCOPES.__getitem__,
            default=True,
            key="alert-channel-scope",
            required=True,
        )
    kind = st.selectbox("Kind", list(KINDS), format_func=lambda one: KINDS[one][0], key="alert-channel-kind")
    name = st.text_input("Name", key=f"alert-channel-name-{kind}", placeholder=KINDS[kind][0], max_chars=100)
    fields = {field.name: _field(field, kind) for field in KINDS[kind][1]}
    if st.button("Add channel", type="primary", key="alert_channel_save"):
        done = "The channel is added; send a test to see that it works."
        if act(lambda: core().alerts.add_channel(principal, kind, name, fields, instance=bool(instance)), done):
            _open(False)
            st.rerun()
        acts.say()


def _field(field: Field, kind: str) -> str:
    key = f"alert-channel-{kind}-{field.name}"
    if field.choices:
        return str(st.selectbox(field.label, field.choices, key=key))
    kept: Literal["password", "default"] = "password" if field.secret else "default"
    off = "new-password" if field.secret else "off"
    return st.text_input(field.label, key=key, type=kept, placeholder=field.hint or None, autocomplete=off)


@st.dialog("Delete the channel?")
def _delete(principal: Principal, channel: ChannelInfo) -> None:
    st.markdown(f"No notice goes to **{plain(channel.name)}** any more, and rules that use it go on without it.")
    if confirm.draw("Delete", "alert_channel_delete", on_click=_deleted, args=(principal, channel.id)):
        st.rerun()


def _deleted(principal: Principal, channel_id: str) -> None:
    act(lambda: core().alerts.delete_channel(principal, channel_id), "The channel is deleted.")
