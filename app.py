"""The launcher: `streamlit run app.py`. The script that every page run begins with is `pages/router.py`."""

import streamlit as st

from chatcore import bootstrap
from pages.ui import launch

core = bootstrap.open_or_exit()
app = st.App("pages/router.py", **launch.options(core))
