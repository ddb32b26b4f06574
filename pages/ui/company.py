"""Streamlit's `st.login` for a company's identity provider: what it is told, and what it answers."""

import hashlib
import hmac
import json
import logging
from collections.abc import Mapping
from typing import Any, Final

import streamlit as st
from streamlit import config
from streamlit.web.server.starlette import starlette_auth_routes
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME
from streamlit.web.server.starlette.starlette_websocket import _get_signed_cookie_with_chunks

from chatcore import logs
from chatcore.accounts import Principal
from chatcore.accounts.claims import sentence
from chatcore.bootstrap import Core, core
from chatcore.config_oidc import Oidc
from pages.ui.entrance import say
from pages.ui.text import plain

_PURPOSE: Final = b"chatcore: cookies between a sign-in's two halves"


def secrets(core: Core, base_path: str) -> dict[str, Any] | None:
    """For `st.App(secrets=…)`: no file holds the client's secret. None where no identity provider is configured.

    `base_path`: `/chat` where the app is served under a path, else ''.
    """
    oidc = core.settings.oidc()
    if oidc is None:
        return None
    cookie_secret = _cookie_secret(core.settings.secret_key)
    # The state between the two halves is signed with this one, before the secrets are there: else another process, and
    # this one after a restart, could not end what one began.
    config.set_option("server.cookieSecret", cookie_secret)
    logs.know_secrets([oidc.client_secret, cookie_secret])
    starlette_auth_routes._LOGGER.handlers[:] = logging.getLogger("chatcore").handlers
    public = core.settings.public_url or ""
    address = public if base_path and public.endswith(base_path) else public + base_path
    return {
        "auth": {
            "redirect_uri": f"{address}/oauth2callback",
            "cookie_secret": cookie_secret,
            "client_id": oidc.client_id,
            "client_secret": oidc.client_secret,
            "server_metadata_url": oidc.server_metadata_url,
            "client_kwargs": {"scope": oidc.scope},
        }
    }


def modules(core: Core) -> tuple[str, ...]:
    """What the first sign-in would else import on the loop that serves everybody."""
    return ("authlib.integrations.starlette_client",) if core.settings.own.oidc else ()


def read_claims(cookies: Mapping[str, str]) -> Mapping[str, Any] | None:
    """What the identity provider says, out of the cookies that Streamlit was about to set; None where they say nothing.

    Streamlit reads them so itself at the next connection; here they never reach the browser.
    """
    signed = _get_signed_cookie_with_chunks(dict(cookies), USER_COOKIE_NAME)
    claims = json.loads(signed) if signed else None
    return claims if isinstance(claims, dict) else None


def draw(oidc: Oidc) -> None:
    """The button to the identity provider, and above it why the last attempt did not work."""
    reason = st.query_params.get("sign_in")
    if reason:
        say(sentence(reason, oidc))
    if st.button(f"Sign in with {plain(oidc.name)}", type="primary", width="stretch", icon=":material/login:"):
        st.login()


def provider() -> Oidc | None:
    """The company's identity provider, None where there is none."""
    return core().settings.oidc()


def has_password(principal: Principal) -> bool:
    """Whether a password lets this person in, so that they may change it."""
    oidc = core().settings.own.oidc
    taken = oidc is None or oidc.passwords or principal.is_operator
    return taken and core().accounts.has_password(principal)


def _cookie_secret(secret_key: str) -> str:
    return hmac.digest(secret_key.encode(errors="surrogateescape"), _PURPOSE, hashlib.sha256).hex()
