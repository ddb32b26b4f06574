"""Agents: all that a person may use, and the form in which they are made."""

import streamlit as st

from pages.ui import acts, agent_acts, agent_editor, agent_gallery
from pages.ui.session import require_principal

_STYLE = """<style>
[data-testid="stMainBlockContainer"]:has(.st-key-agent_bar, .st-key-agent_cards) { max-width: 78rem; }
.st-key-agent_cards {
  display: grid !important; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem;
}
.st-key-agent_cards > * { width: auto !important; min-width: 0; }
.st-key-agent_cards > *, [class*="st-key-agent_card-"] { height: 100%; overflow-wrap: anywhere; }
[class*="st-key-agent_face-"] p { font-size: 1.75rem; line-height: 2.5rem; }
[data-testid="stLayoutWrapper"]:has(> [class*="st-key-agent_doors-"]) { margin-top: auto; }
[class*="st-key-agent_doors-"] [data-testid="stPageLink"] a { padding-left: 0; }
.st-key-agent_bar h1 { overflow-wrap: anywhere; font-size: 1.6rem; }
.st-key-agent_to_try { display: none; }
@media (max-width: 640px) { .st-key-agent_to_try { display: block; } }
@media (min-width: 641px) {
  [data-testid="stColumn"]:has(.st-key-agent_try) > * { position: sticky; top: 4rem; height: auto; }
}
</style>"""


def show() -> None:
    principal = require_principal()
    st.html(_STYLE)
    acts.say()
    wanted = st.query_params.get(agent_acts.EDIT)
    if wanted:
        agent_editor.draw(principal, wanted)
    else:
        agent_gallery.draw(principal)


show()
