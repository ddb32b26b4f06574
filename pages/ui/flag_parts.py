"""Flags: what an operator switches while the app runs, for the whole instance."""

from collections.abc import Mapping
from typing import Any, Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from pages.ui.acts import act
from pages.ui.text import plain

_SWITCHES: Final[Mapping[str, tuple[str, str]]] = {
    "streaming": ("Streaming", "Off: a reply comes whole, when it is finished."),
    "gateway": ("Gateway", "Off: one direct call for each question, without cache, failover and breaker."),
    "cache": ("Cache", "A question that was asked before gets the reply it had, at no cost."),
    "failover": ("Failover", "When a model fails, its fallbacks are asked. Off: only the model that was chosen."),
    "auto_failover": (
        "Failover by alerts",
        "A provider that an alert finds failing is asked last until it works again.",
    ),
    "tools": ("Tools", "Off: no model is offered any, whatever its agent has."),
    "execute_code": (
        "Running code",
        "Agents may run Python in a sandbox, on a machine that can hold one. The documentation says what it keeps in.",
    ),
    "rate_limits": ("Rate limits", "Off: nobody is limited in requests and tokens. Budgets hold all the same."),
}
_PROVIDERS: Final = "disabled_providers"
_NAMES: Final = {name: label for name, (label, _) in _SWITCHES.items()} | {
    _PROVIDERS: "The list of switched off providers", "primary": "The model of new chats", "fallback": "The fallback",
}  # fmt: skip
_CONFIGURED: Final = ""
_ASKED: Final = "flag_asked"


def draw(principal: Principal) -> None:
    """One line for each flag. What is changed holds within two seconds in every process."""
    st.caption("Saved at once, for the whole instance; running replies go on as they began.")
    for name in _SWITCHES:
        _switch(principal, name)
    _providers(principal)
    _model(principal, "primary", "Model of new chats", "Chosen in a new chat, where a person may use it.")
    _model(principal, "fallback", "Fallback of every model", "Asked last, when a model and its own fallbacks fail.")
    asked = st.session_state.pop(_ASKED, None)
    if asked == "gateway":
        _ask_gateway(principal)
    elif asked:
        _ask_providers(principal, asked)


def _switch(principal: Principal, name: str) -> None:
    label, does = _SWITCHES[name]
    key = f"flag-{name}"
    st.session_state[key] = getattr(core().flags.now, name)  # what holds, whoever changed it
    with st.container(key=f"admin-row-{name}", horizontal=True, vertical_alignment="center"):
        with st.container(gap=None):
            st.toggle(label, key=key, on_change=_switched, args=(principal, name))
            st.caption(does)
        _changed(principal, name)


def _switched(principal: Principal, name: str) -> None:
    wanted = bool(st.session_state[f"flag-{name}"])
    if name == "gateway" and not wanted:
        st.session_state[_ASKED] = "gateway"
    else:
        _set(principal, name, wanted, f"{_NAMES[name]} is {'on' if wanted else 'off'}.")


def _providers(principal: Principal) -> None:
    off = core().flags.now.disabled_providers
    known = dict.fromkeys([*(model.provider for model in core().gateway.catalog.models()), *off])
    key = f"flag-{_PROVIDERS}"
    st.session_state[key] = list(off)
    with st.container(key=f"admin-row-{_PROVIDERS}", horizontal=True, vertical_alignment="bottom"):
        with st.container():
            st.multiselect(
                "Providers that are switched off", list(known), key=key, placeholder="None", on_change=_chosen,
                args=(principal,), help="Their models are asked for nothing, and are not offered.",
            )  # fmt: skip
        _changed(principal, _PROVIDERS)


def _chosen(principal: Principal) -> None:
    wanted = list(st.session_state[f"flag-{_PROVIDERS}"])
    if set(wanted) - set(core().flags.now.disabled_providers):
        st.session_state[_ASKED] = wanted
    else:
        _set(principal, _PROVIDERS, wanted, "The provider is switched on again.")


def _model(principal: Principal, name: str, label: str, does: str) -> None:
    catalog = core().gateway.catalog
    now = getattr(core().flags.now, name)
    aliases = catalog.aliases() if name == "primary" else []
    titles = {model.name: model.display_name for model in [*aliases, *catalog.models()]}
    options = dict.fromkeys([_CONFIGURED, *titles, now or _CONFIGURED])
    key = f"flag-{name}"
    st.session_state[key] = now or _CONFIGURED
    with st.container(key=f"admin-row-{name}", horizontal=True, vertical_alignment="bottom"):
        with st.container():
            st.selectbox(
                label, list(options), format_func=lambda one: _titled(one, titles, name), key=key, help=does,
                on_change=_picked, args=(principal, name),
            )  # fmt: skip
        _changed(principal, name)


def _titled(model: str, titles: Mapping[str, str], name: str) -> str:
    if model != _CONFIGURED:
        return titles.get(model, f"{model} (no longer in the configuration)")
    default = core().gateway.catalog.default if name == "primary" else None
    return f"As configured ({default.display_name})" if default else "As configured"


def _picked(principal: Principal, name: str) -> None:
    _set(principal, name, st.session_state[f"flag-{name}"] or None, f"{_NAMES[name]} is changed.")


def _changed(principal: Principal, name: str) -> None:
    """A mark where something else holds than the config file says, and the way back to it."""
    if getattr(core().flags.now, name) != getattr(core().flags.configured, name):
        with st.container(horizontal=True, vertical_alignment="center", width="content"):
            st.badge("changed", color="orange", help="The config file says otherwise.")
            st.button(
                "Take back", key=f"flag-back-{name}", type="tertiary", icon=":material/undo:", on_click=_set,
                args=(principal, name, None, f"{_NAMES[name]} is as configured."),
            )  # fmt: skip


def _set(principal: Principal, name: str, value: Any, done: str) -> None:
    act(lambda: core().flags.set(principal, **{name: value}), done)


@st.dialog("Switch the gateway off?")
def _ask_gateway(principal: Principal) -> None:
    st.markdown(
        "Each question becomes one direct call to the model that was chosen. When it fails nothing else is asked, "
        "broken deployments are called again and again, and no reply comes from the cache. Calls still stand in the "
        "ledger, and limits and budgets hold."
    )
    _foot(principal, "gateway", False, "The gateway is off.")


@st.dialog("Switch providers off?")
def _ask_providers(principal: Principal, wanted: list[str]) -> None:
    new = [one for one in wanted if one not in core().flags.now.disabled_providers]
    names = {model.display_name for model in core().gateway.catalog.models() if model.provider in new}
    st.markdown(
        f"**{plain(', '.join(new))}** is asked for nothing more, and nobody can choose its models "
        f"({plain(', '.join(sorted(names)) or 'none now')}). Chats that use one of them need another model."
    )
    _foot(principal, _PROVIDERS, wanted, f"{', '.join(new)} is switched off.")


def _foot(principal: Principal, name: str, value: Any, done: str) -> None:
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Cancel", key="flag_cancel"):
            st.rerun()
        if st.button("Switch off", key="flag_off", type="primary", on_click=_set, args=(principal, name, value, done)):
            st.rerun()
