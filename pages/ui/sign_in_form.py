"""streamlit-authenticator's form and password check, against the one row that is asked for.

Its cookie is left out (scripts could read it, and it outlives signing out), so its constructor, which would mount a
cookie component, is not run; its attempt counter is replaced by ours in SQL.
"""

import secrets
from collections.abc import Callable
from typing import Any, Final

import streamlit as st
from streamlit_authenticator import Authenticate
from streamlit_authenticator.controllers import AuthenticationController

LookUp = Callable[[str], tuple[str, str]]

_FIELDS: Final = {"Form name": "Sign in", "Username": "Username", "Password": "Password", "Login": "Sign in"}
_STATE: Final = ("name", "authentication_status", "username", "email", "roles", "logout")


def draw(look_up: LookUp) -> str | bool | None:
    """Draw the form. Returns the username when it was sent with the right password, False when with a wrong one.

    `look_up`: the name and bcrypt hash for a typed username; it is called once for each form that is sent, and what
    it raises passes through.
    """
    for name in _STATE:
        st.session_state.pop(name, None)
    _Form(look_up).login(key="sign_in", fields=_FIELDS)
    status, username = st.session_state["authentication_status"], st.session_state["username"]
    for name in _STATE:
        st.session_state.pop(name, None)
    return str(username) if status else status


class _Rows(dict[str, dict[str, Any]]):
    """The library's `credentials["usernames"]`: has every name, and looks each up once."""

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up

    def __contains__(self, username: object) -> bool:
        return self[str(username)] is not None

    def __missing__(self, username: str) -> dict[str, Any]:
        name, stored = self._look_up(username)
        self[username] = {"name": name, "password": stored}
        return self[username]

    def get(self, username: str, default: Any = None) -> Any:
        return self[username]


class _NoCookie:
    def get_cookie(self) -> None:
        return None

    def set_cookie(self) -> None:
        return None


class _Form(Authenticate):  # type: ignore[misc] # the library has no types
    def __init__(self, look_up: LookUp) -> None:
        key = secrets.token_hex(16)  # signs captchas and second factors, which are not used
        self.api_key = self.path = None
        self.attrs = {"login_sleep_time": 0}
        self.secret_key = key
        self.cookie_controller = _NoCookie()
        self.authentication_controller = AuthenticationController({"usernames": {}}, auto_hash=False, secret_key=key)
        self.authentication_controller.authentication_model.credentials["usernames"] = _Rows(look_up)
