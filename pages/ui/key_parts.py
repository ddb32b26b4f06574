"""Keys of model providers: one's own on the account page, the tenant's for its admins."""

from collections.abc import Callable
from typing import Final, NoReturn

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError
from chatcore.gateway import keyring
from chatcore.gateway.keyring import KeyInfo, Source
from pages.ui.text import ago, plain

_KEYLESS: Final = frozenset({"unknown", "demo", "ollama", "ollama_chat"})
_NAMES: Final = {
    "openai": "OpenAI", "anthropic": "Anthropic", "gemini": "Google Gemini", "xai": "xAI", "groq": "Groq",
    "openrouter": "OpenRouter", "mistral": "Mistral", "deepseek": "DeepSeek", "cohere": "Cohere", "azure": "Azure",
    "together_ai": "Together AI", "perplexity": "Perplexity", "fireworks_ai": "Fireworks AI", "cerebras": "Cerebras",
    "huggingface": "Hugging Face", "nvidia_nim": "NVIDIA NIM", "replicate": "Replicate",
}  # fmt: skip
_OWN: Final = "Used for your questions before the shared key. The provider bills you, and no budget counts it."
_WHERE_NONE: Final = " Where you have none, your organisation's key is used."
_TEAMS: Final = "Used before the shared key, for everybody of the organisation who has no key of their own."


def draw(principal: Principal, *, for_tenant: bool) -> None:
    """The section: which keys there are, each with its removal, and a form for another.

    `for_tenant`: the tenant's keys, for an admin; else the principal's own.
    """
    listed = core().keyring.list(principal)
    st.subheader("The organisation's provider keys" if for_tenant else "Your own provider keys")
    has_teams = any(one.source == "tenant" for one in listed)
    st.caption(_TEAMS if for_tenant else _OWN + _WHERE_NONE * has_teams)
    _say(for_tenant)
    keys = [one for one in listed if one.source == _mark(for_tenant)]
    if keys:
        with st.container(border=True):
            for one in keys:
                _row(principal, one, for_tenant)
    _form(principal, for_tenant)


def _row(principal: Principal, one: KeyInfo, for_tenant: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        with st.container(width="stretch", gap=None):
            st.text(_name(one.provider))
            st.caption(plain(f"···{one.last4} · saved {ago(one.updated_at)}"))
        with st.popover("Remove", key=f"remove-{one.id}"):
            st.markdown(f"Calls to {plain(_name(one.provider))} no longer use this key.")
            if st.button("Yes, remove", key=f"remove-yes-{one.id}", type="primary"):
                remove = core().keyring.remove
                done = f"The key for {_name(one.provider)} is removed."
                _act(lambda: remove(principal, one.provider, for_tenant=for_tenant), done, for_tenant)


def _form(principal: Principal, for_tenant: bool) -> None:
    mark, providers = _mark(for_tenant), _providers()
    if not providers:
        st.caption("None of the models takes a key.")
        return
    count = st.session_state.get(
        f"keys_tried_{mark}", 0
    )  # with a new name the field is empty, and the old one forgotten
    with st.form(f"provider-key-{mark}", border=False):
        provider = st.selectbox("Provider", providers, format_func=_name, key=f"key-provider-{mark}")
        typed = st.text_input("Key", type="password", autocomplete="off", key=f"key-secret-{mark}-{count}")
        if not st.form_submit_button("Save key", key=f"key-save-{mark}"):
            return
    st.session_state[f"keys_tried_{mark}"] = count + 1
    save = core().turns.save_key
    done = f"The key for {_name(provider)} works and is saved."
    with st.spinner("Trying the key…"):
        _act(lambda: save(principal, provider, typed.strip(), for_tenant=for_tenant), done, for_tenant)


def _act(work: Callable[[], object], done: str, for_tenant: bool) -> NoReturn:
    """Do it and draw the page anew, with `done` or with why not."""
    try:
        work()
    except ChatcoreError as error:
        said = False, str(error)
    else:
        said = True, done
    st.session_state[f"keys_said_{_mark(for_tenant)}"] = said
    st.rerun()


def _say(for_tenant: bool) -> None:
    """What came of the last act."""
    fine, words = st.session_state.pop(f"keys_said_{_mark(for_tenant)}", (True, ""))
    if not words:
        return
    if fine:
        st.success(plain(words), icon=":material/check:")
    else:
        st.error(plain(words))


def _mark(for_tenant: bool) -> Source:
    return "tenant" if for_tenant else "person"


def _providers() -> list[str]:
    """The providers that a key would be used for: of each model's deployments those up to the first that can be called
    without one."""
    slots: list[str] = []
    for model in core().gateway.catalog.models():
        for one in core().gateway.catalog.deployments(model.name):
            if one.provider not in _KEYLESS:
                slots.append(one.key_slot)
            if one.available:
                break
    return [slot for slot in dict.fromkeys(slots) if keyring.is_provider(slot)]


def _name(slot: str) -> str:
    """`OpenAI`, or `OpenAI at host:port` for a server that is not the provider's own."""
    provider, _, server = slot.partition("@")
    return (_NAMES.get(provider) or provider) + (f" at {server}" if server else "")
