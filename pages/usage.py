"""What was asked of models, by whom, and what it cost. Every number is a sum over ledger rows."""

from collections.abc import Callable, Mapping
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.db.tables import utcnow
from chatcore.errors import ChatcoreError
from chatcore.usage import TooManyCalls
from pages.ui import (
    bill_parts,
    filters,
    live_parts,
    session,
    tabs,
    usage_adoption,
    usage_cache,
    usage_data,
    usage_drill,
    usage_parts,
    usage_reliability,
    usage_speed,
    usage_spend,
    usage_tokens,
)
from pages.ui.usage_data import View

# Five cards in a row and the table of models fit a laptop; what a card says is never cut.
STYLE: Final = """<style>
  .st-key-usage_cards [data-testid="stMetricValue"] { font-size: 1.6rem; }
  .st-key-usage_cards [data-testid="stMetric"] * { white-space: normal; }
  .st-key-usage_cards [data-testid="stMetric"] div:has(> [data-testid="stMetricDelta"]) { flex-wrap: wrap; }
  @media (min-width: 768px) { [data-testid="stMainBlockContainer"] { padding-left: 3rem; padding-right: 3rem; } }
</style>"""
QUESTIONS: Final[Mapping[str, str]] = {
    "Spend": "Who and what costs, and where is the month heading?",
    "Tokens": "How many tokens go in and out, and of which kind?",
    "Speed": "How long do people wait, and for which models?",
    "Reliability": "What fails, how often, and what did we refuse?",
    "Cache": "What do earlier replies save, in money and in time?",
    "Adoption": "Who uses it, how much, and do they like it?",
    "Now": "What is going on at this moment?",
    "Bill": "Does the ledger agree with the provider's bill?",
}
TABS: Final[Mapping[str, Callable[[View], None]]] = {
    "Spend": usage_spend.draw,
    "Tokens": usage_tokens.draw,
    "Speed": usage_speed.draw,
    "Reliability": usage_reliability.draw,
    "Cache": usage_cache.draw,
    "Adoption": usage_adoption.draw,
}


def page() -> None:
    principal = session.require_principal()
    st.title("Usage" if principal.is_admin else "Your usage")
    st.html(STYLE)
    try:
        view = look(principal)
    except ChatcoreError as error:
        st.error(str(error), icon=":material/error:")
        return
    names = [name for name in QUESTIONS if name != "Bill" or principal.is_admin]
    for name, tab in zip(names, st.tabs(names, key="tab", bind="query-params"), strict=True):
        if tab.open:
            with tab:
                part(name, view)
    tabs.show_open()
    usage_drill.open_if_asked()


def look(principal: Principal) -> View:
    """The filters, and what they say."""
    zone, hours, now = usage_data.kept_zone(principal), usage_data.viewer_zone(), utcnow()
    known = usage_data.known(principal, usage_data.kept_choices(principal))
    st.caption(f"Days are those of {zone.key}" + (f", hours those of {hours.key}." if hours != zone else "."))
    choice = filters.draw(known, now, zone)
    chosen = choice.filter(now, zone)
    return View(principal, choice, chosen, choice.step_in(chosen), zone, hours, known)


def part(name: str, view: View) -> None:
    """One tab; what goes wrong in it is said in its place."""
    st.caption(QUESTIONS[name] + ("" if name in TABS else " The range and the filters above do not count here."))
    try:
        if name == "Now":
            live_parts.draw(view.principal)
        elif name == "Bill":
            bill_parts.draw(view.principal)
        elif not view.totals().calls:
            usage_parts.empty(view.principal.is_admin, filtered=bool(view.known["model"]))
        else:
            since = core().usage.known_since(view.principal, view.chosen)
            if since is not None:
                day = since.astimezone(view.zone)
                st.caption(f"Before {day:%-d %B %Y} only sums are left: what tells more apart counts from then on.")
            with st.skeleton(height=320):
                TABS[name](view)
    except TooManyCalls as error:
        st.info(str(error), icon=":material/filter_alt_off:")
    except ChatcoreError as error:
        st.error(str(error), icon=":material/error:")


page()
