"""Acts of the admin page: done as callbacks, so that the page is drawn with what became of them."""

from collections.abc import Callable
from typing import Final

import streamlit as st

from chatcore.errors import ChatcoreError
from pages.ui.text import plain

_SAID: Final = "admin_said"


def act(work: Callable[[], object], done: str) -> bool:
    """Do it, and keep `done` or why not for `say`; whether it was done."""
    try:
        work()
    except ChatcoreError as error:
        st.session_state[_SAID] = str(error), False
        return False
    st.session_state[_SAID] = done, True
    return True


def say() -> None:
    """What came of the last act: in passing where it went well, else where one looks."""
    words, fine = st.session_state.pop(_SAID, ("", True))
    if words and fine:
        st.toast(plain(words), icon=":material/check:")
    elif words:
        st.error(plain(words), icon=":material/error:")
