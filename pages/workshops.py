"""Workshops: the list of them, one of them, and playbooks."""

import streamlit as st

from pages.ui import acts, workshop_acts, workshop_list, workshop_playbook, workshop_room
from pages.ui.session import require_principal

_STYLE = """<style>
[data-testid="stMainBlockContainer"]:has(.st-key-workshop_steps) { max-width: 78rem !important; }
[data-testid="stBottomBlockContainer"]:has(.st-key-workshop_foot) { max-width: 78rem; }
.st-key-workshop_bar h1 { overflow-wrap: anywhere; font-size: 1.5rem; padding: 0; }
.st-key-workshop_steps { flex-wrap: nowrap !important; overflow-x: auto; scrollbar-width: thin; padding: 2px; }
.st-key-workshop_steps > * { flex: 0 0 auto !important; width: auto !important; }
.st-key-workshop_steps button { white-space: nowrap; }
[class*="st-key-workshop_card-"] { overflow-wrap: anywhere; }
[class*="st-key-workshop_open-"] button,
[class*="st-key-workshop_open-"] button :is(div, span) { justify-content: flex-start; text-align: left; }
[class*="st-key-workshop_open-"] button { padding: 0; }
.st-key-workshop_notes { overflow-wrap: anywhere; }
.st-key-workshop_foot { margin-top: -0.5rem; }
.st-key-workshop_said h1 { font-size: 1.3rem; } .st-key-workshop_said h2 { font-size: 1.15rem; }
.st-key-workshop_said h3 { font-size: 1rem; }
@media (max-width: 640px) {
  [data-testid="stHorizontalBlock"]:has(> [data-testid="stColumn"] .st-key-workshop_notes) {
    flex-direction: column-reverse;
  }
}
@media (min-width: 641px) {
  [data-testid="stColumn"]:has(.st-key-workshop_notes) > * {
    position: sticky; top: 4rem; height: auto; max-height: calc(100vh - 13rem); overflow-y: auto;
  }
}
</style>"""


def show() -> None:
    """One run of the page. In a workshop it lasts until the running reply, if any, has ended."""
    principal = require_principal()
    st.html(_STYLE)
    acts.say()
    if session_id := st.query_params.get(workshop_acts.SESSION):
        workshop_room.draw(principal, session_id)
    elif playbook_id := st.query_params.get(workshop_acts.PLAYBOOK):
        workshop_playbook.draw(principal, playbook_id)
    else:
        workshop_list.draw(principal)


show()
