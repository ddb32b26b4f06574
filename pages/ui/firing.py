"""What fires, in a line and in a badge, for admins. The rules and all else of alerts are on the admin page."""

from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError
from pages.ui.text import plain

_SECONDS: Final = 15
_NAMED: Final = 3


def rules(principal: Principal) -> tuple[str, ...]:
    """The names of the rules that are broken now, the latest first; () for a member, or without a database."""
    if not principal.is_admin:
        return ()
    try:
        return _rules(principal.tenant_id, principal.is_operator, principal)
    except ChatcoreError:
        return ()


def badge(principal: Principal) -> str:
    """How many fire, as Markdown behind a label; '' for none."""
    count = len(rules(principal))
    return f" :red-badge[{count}]" if count else ""


def draw(principal: Principal) -> None:
    """A line with a link to the tab of alerts; nothing where all is quiet."""
    names = rules(principal)
    if not names:
        return
    told = ", ".join(plain(name) for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f":red-badge[:material/notifications_active: Firing] {told}{more}", width="content")
        st.page_link("admin.py", label="Alerts", icon=":material/arrow_forward:", query_params={"tab": "Alerts"})


@st.cache_data(ttl=_SECONDS, max_entries=200, show_spinner=False)
def _rules(tenant_id: str, is_operator: bool, _principal: Principal) -> tuple[str, ...]:
    return tuple(one.rule_name for one in core().alerts.firing(_principal) if one.state == "firing")
