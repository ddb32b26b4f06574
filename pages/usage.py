"""What was asked of models, by whom, and what it cost. Every number is a sum over ledger rows."""

from datetime import timedelta

import plotly.graph_objects as go
import streamlit as st

from chatcore.accounts.principal import Principal
from chatcore.bootstrap import core
from chatcore.db.tables import utcnow
from chatcore.errors import ChatcoreError, Unauthorized
from chatcore.usage import Filter, Person, Report, Totals
from pages.ui import charts, filters, rating_parts, usage_parts
from pages.ui.session import require_principal

MAX_CSV_ROWS = 250_000
# The range is as high as the fields beside it, and the table of models fits a laptop.
STYLE = """<style>
  .st-key-usage_range button { min-height: 2.5rem; }
  @media (min-width: 768px) { [data-testid="stMainBlockContainer"] { padding-left: 3rem; padding-right: 3rem; } }
</style>"""
Scope = tuple[str, str | None]


@st.cache_data(ttl=10, max_entries=200, show_spinner=False)
def load(scope: Scope, chosen: Filter, _principal: Principal) -> Report:
    return core().usage.report(_principal, chosen)


@st.cache_data(ttl=60, max_entries=200, show_spinner=False)
def choices(scope: Scope, _principal: Principal) -> tuple[list[str], list[Person]]:
    return core().usage.models(_principal), core().usage.people(_principal)


def chart(title: str, unit: str, figure: go.Figure, legend: str = "") -> None:
    """A card with a drawing. `unit`: what its numbers are, said beside the title and not along the axes."""
    with st.container(border=True, height="stretch"):
        st.markdown(f"**{title}** :gray[({unit})]")
        if legend:
            st.html(legend)
        st.plotly_chart(figure, config=charts.CONFIG, key=f"usage_{title}", alt=title)


def drawings(report: Report, by_hour: bool, known: list[str]) -> None:
    colour = charts.colours(report.by_model, known)
    days, step = report.by_day, "hour" if by_hour else "day"
    tokens = charts.per_day(days, "tokens", colour, by_hour)
    chart(f"Tokens per {step} by model", "UTC", tokens, charts.legend(days, colour))
    if report.totals.cost_nano_usd:
        with st.grid(2, min_column_width=400):
            chart(f"Cost per {step} by model", "US$, UTC", charts.per_day(days, "cost", colour, by_hour))
            chart("Share of the cost", "US$", charts.cost_share(report.by_model, colour))


def empty(principal: Principal, filtered: bool) -> None:
    with st.container(border=True, horizontal_alignment="center"):
        st.markdown("#### :material/bar_chart: No calls in this range", text_alignment="center")
        hint = "Ask something in a chat, and what it took stands here."
        if filtered:
            hint = "Choose a longer range or fewer filters."
        elif principal.is_admin:
            hint += " To look around first, `python -m chatcore demo-data` makes 90 made-up days that can be removed."
        st.caption(hint, text_alignment="center")


def rows(principal: Principal, chosen: Filter, sums: Totals, names: dict[str, str]) -> None:
    """The ledger rows behind the numbers, and all of them as a file."""
    icon = ":material/receipt_long:"
    expander = st.expander("Calls behind these numbers", icon=icon, key="usage_calls", on_change="rerun")
    if expander.open:
        with expander:
            usage_parts.calls(core().usage.calls(principal, chosen, limit=100), names)
            st.caption(f"The newest {min(sums.calls, 100):,} of {sums.calls:,}. The file has all of them.")
    st.download_button(
        "Download all calls (CSV)",
        data=lambda: _file(principal, chosen),
        file_name=f"usage-{chosen.start:%Y-%m-%d}-{chosen.end - timedelta(days=1):%Y-%m-%d}.csv",
        mime="text/csv",
        key="usage_csv",
        icon=":material/download:",
        on_click="ignore",
        disabled=sums.calls > MAX_CSV_ROWS,
        help="One row for each call, with everything the ledger knows of it.",
    )
    if sums.calls > MAX_CSV_ROWS:
        st.caption(f"A file holds up to {MAX_CSV_ROWS:,} calls: choose a shorter range or fewer models.")


def _file(principal: Principal, chosen: Filter) -> str:
    """Made when it is asked for, which may be long after the page was drawn: who asks is looked up again."""
    if principal.session_id and core().accounts.principal(principal.session_id) is None:
        raise Unauthorized("You were signed out. Sign in again to download this.")
    return "\ufeff" + "".join(core().usage.export_csv(principal, chosen))


def page() -> None:
    principal = require_principal()
    st.title("Usage")
    st.html(STYLE)
    scope = (principal.tenant_id, None if principal.is_admin else principal.user_id)
    try:
        models, people = choices(scope, principal)
        choice = filters.draw(models, people, utcnow().date())
        chosen = choice.filter(utcnow().date())
        report = load(scope, chosen, principal)
        if not report.totals.calls:
            return empty(principal, filtered=bool(models))
        usage_parts.cards(report.totals, report.previous, chosen.length.days)
        usage_parts.notes(report.totals)
        drawings(report, chosen.by_hour, models)
        st.markdown("**Models**")
        usage_parts.models(report.by_model)
        rows(principal, chosen, report.totals, {one.id: one.name for one in people} if principal.is_admin else {})
        if principal.is_admin:
            rating_parts.draw_admin(principal, chosen.start)
    except ChatcoreError as error:
        st.error(str(error), icon=":material/error:")


page()
