"""To be written."""

import streamlit as st

from pages.ui import session


def page() -> None:
    session.require_principal()
    st.title("Prompts")


page()
