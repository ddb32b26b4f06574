"""Workshops."""

import streamlit as st

from pages.ui.session import require_principal


def show() -> None:
    require_principal()
    st.title("Workshops")


show()
