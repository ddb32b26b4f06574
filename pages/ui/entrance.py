"""What the forms have in common that people see before they are signed in."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from chatcore.accounts.validation import clean_password
from chatcore.errors import ChatcoreError, InvalidInput

Fields = tuple[str, str]

_ICON: Final = str(Path(__file__).with_name("icon.png"))
# The theme's colours cannot be named in a page's own rules.
_ON_PRIMARY: Final = {"light": "#ffffff", "dark": "#10161c"}


def draw_frame() -> DeltaGenerator:
    """The wordmark in the middle, and the column below it for what comes."""
    st.html(_style())
    column = st.container(horizontal_alignment="center").container(width=420, key="entrance")
    with column.container(horizontal_alignment="center", gap="small"):
        st.image(_ICON, width=56)
        st.title("Chatcore", anchor=False, text_alignment="center")
        st.caption("Your organisation’s chat with any model.", text_alignment="center")
    return column


def say(error: ChatcoreError | str) -> None:
    """What went wrong, for a person."""
    st.error(str(error), icon=":material/error:")


def passwords() -> Fields:
    """Two fields for a password to set."""
    first = st.text_input("Password", type="password", autocomplete="new-password", placeholder="At least 8 characters")
    again = st.text_input("Password again", type="password", autocomplete="new-password")
    return first, again


def problems(chosen: Fields, *checks: Callable[[], str]) -> list[str]:
    """Everything that is wrong with what was typed: somebody corrects it once, not field by field."""
    found = []
    every: list[Callable[[], str]] = [*checks, partial(clean_password, chosen[0])]
    for check in every:
        try:
            check()
        except InvalidInput as error:
            found.append(str(error))
    return found if chosen[0] == chosen[1] else [*found, "The two passwords differ."]


def _style() -> str:
    """The library's form has a small grey button, and Streamlit an empty sidebar and a hint that covers the fields."""
    theme = st.context.theme.type or "light"
    button = '.st-key-entrance [data-testid="stFormSubmitButton"] button'
    colour = f"background: {st.get_option(f'theme.{theme}.primaryColor')}; color: {_ON_PRIMARY[theme]};"
    return f"""<style>
      [data-testid="stMainBlockContainer"] {{ padding-top: 3rem; }}
      [data-testid="stSidebar"], [data-testid="stExpandSidebarButton"] {{ display: none; }}
      .st-key-entrance [data-testid="InputInstructions"] {{ display: none; }}
      .st-key-entrance [data-testid="stElementContainer"]:has([data-testid="stFormSubmitButton"]),
      .st-key-entrance [data-testid="stFormSubmitButton"], {button} {{ width: 100%; }}
      {button} {{ {colour} border-color: transparent; }}
      {button}:is(:hover, :focus-visible, :active) {{ {colour} filter: brightness(1.12); }}
      .st-key-entrance [data-testid="stButton"] button[kind="primary"] * {{ color: {_ON_PRIMARY[theme]}; }}
    </style>"""
