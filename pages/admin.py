"""What admins look after in their tenant: people, budgets, prices, keys, tools, retention, feedback, and the audit log;
for operators also limits, access to models, gateway, flags and all tenants."""

from collections.abc import Callable, Mapping
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.errors import ChatcoreError
from pages.ui import (
    acts,
    alert_parts,
    api_key_parts,
    audit_parts,
    budget_parts,
    feedback_parts,
    flag_parts,
    gateway_parts,
    key_parts,
    limit_parts,
    model_parts,
    people_parts,
    session,
    tabs,
    tenant_parts,
    toolbox_parts,
)

Draw = Callable[[Principal], None]
STYLE: Final = """<style>
  [data-testid="stMainBlockContainer"] { max-width: 68rem; }
  @media (min-width: 768px) { [data-testid="stMainBlockContainer"] { padding-left: 3rem; padding-right: 3rem; } }
  [class*="st-key-admin-row-"] { border-bottom: 1px solid color-mix(in srgb, currentColor 10%, transparent);
    padding: 0.15rem 0 0.75rem; }
  [class*="st-key-admin-row-"] > :first-child { min-width: min(100%, 12rem); flex: 1 1 0; }
  .chatcore-bar { display: flex; height: 0.45rem; border-radius: 1rem; overflow: hidden; margin: 0.2rem 0 0.35rem;
    background: color-mix(in srgb, currentColor 12%, transparent); color: inherit; }
  .chatcore-bar > i { background: #3d8ab8; } .chatcore-bar > i + i { opacity: 0.45; }
  .chatcore-bar.warns > i { background: #d97706; } .chatcore-bar.empty > i { background: #c9412f; }
</style>"""


def limits_and_budgets(principal: Principal) -> None:
    budget_parts.draw(principal)
    if principal.is_operator:
        limit_parts.draw(principal)
    limit_parts.draw_refusals(principal)


def keys(principal: Principal) -> None:
    key_parts.draw(principal, for_tenant=True)
    api_key_parts.draw_tenant(principal)


PARTS: Final[Mapping[str, Draw]] = {
    "People": people_parts.draw,
    "Limits & budgets": limits_and_budgets,
    "Models": model_parts.draw,
    "Keys": keys,
    "Tools": toolbox_parts.draw,
    "Alerts": alert_parts.draw,
    "Tenant": tenant_parts.draw,
    "Feedback": feedback_parts.draw,
    "Audit": audit_parts.draw,
}
OPERATORS: Final[Mapping[str, Draw]] = {
    "Gateway": gateway_parts.draw,
    "Flags": flag_parts.draw,
    "Tenants": tenant_parts.draw_tenants,
}


def page() -> None:
    principal = session.require_principal()
    st.title("Admin")
    if not principal.is_admin:
        st.info("This page is for admins. Ask one if you need something changed.", icon=":material/lock:")
        return
    st.html(STYLE)
    acts.say()
    parts = {**PARTS, **(OPERATORS if principal.is_operator else {})}
    for name, tab in zip(parts, st.tabs(list(parts), key="tab", bind="query-params"), strict=True):
        if tab.open:
            with tab:
                part(parts[name], principal)
    tabs.show_open()


def part(draw: Draw, principal: Principal) -> None:
    """One part; what goes wrong in it is said in its place."""
    try:
        draw(principal)
    except ChatcoreError as error:
        st.error(str(error), icon=":material/error:")


page()
