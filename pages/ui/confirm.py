"""The foot of a dialog that asks before something is lost."""

from collections.abc import Callable
from typing import Any

import streamlit as st


def draw(label: str, key: str, on_click: Callable[..., None] | None = None, args: tuple[Any, ...] = ()) -> bool:
    """Cancel, which closes the dialog, and right of it what was asked for; returns whether it is wanted."""
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Cancel", key=f"{key}_cancel"):
            st.rerun()
        return st.button(label, key=key, type="primary", icon=":material/delete:", on_click=on_click, args=args)
