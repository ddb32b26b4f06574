"""What an admin sets for the tenant: its name, where its days begin, and how long messages and calls are kept."""

from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.accounts.tenants import MAX_DAYS, MIN_LEDGER_DAYS, TenantSettings, timezones
from chatcore.bootstrap import core
from chatcore.care.retention import Removed
from pages.ui import people_parts
from pages.ui.acts import act

_ANEW: Final = (
    ":blue-badge[:material/sync: counting anew] Past days are being counted anew for this time zone. The charts are "
    "right meanwhile, and slower."
)
_TOLD: Final = (
    "What is older is removed for good, once an hour. In a conversation that goes on, older messages lose their words "
    "and attachments; one that nobody goes on with is erased whole, pinned ones too. Charts keep what calls that "
    "are gone have cost."
)
_FIRST: Final = {"message_days": 365, "ledger_days": 400}  # what stands in a field that is switched on


def draw(principal: Principal) -> None:
    """The three parts."""
    settings = core().tenants.settings(principal)
    _name(principal, settings)
    _timezone(principal, settings)
    _retention(principal, settings)


def _name(principal: Principal, settings: TenantSettings) -> None:
    st.subheader("Name")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        typed = st.text_input("Name of the organisation", settings.name, max_chars=100, key="tenant-name", width=360)
        if st.button("Rename", key="tenant-rename", disabled=typed.strip() in ("", settings.name)):
            act(lambda: core().tenants.rename(principal, typed), f"The organisation is called {typed.strip()} now.")
            st.rerun()


def _timezone(principal: Principal, settings: TenantSettings) -> None:
    st.subheader("Time zone")
    st.caption("Where the days, weeks and months of the usage page begin. Budgets go by UTC.")
    zones = list(timezones())
    if settings.timezone not in zones:
        zones.append(settings.timezone)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox("Time zone", zones, index=zones.index(settings.timezone), key="tenant-zone", width=360)
        if st.button("Save", key="tenant-zone-save", disabled=chosen == settings.timezone):
            act(lambda: core().tenants.set_timezone(principal, chosen), f"Days begin by {chosen} now.")
            st.rerun()
    if settings.counted_anew:
        st.markdown(_ANEW)


def _retention(principal: Principal, settings: TenantSettings) -> None:
    st.subheader("Retention")
    st.caption(_TOLD)
    messages = _days("messages", "message_days", settings.message_days, 1, "Of everybody in the organisation.")
    rule = f"At least {MIN_LEDGER_DAYS} days: budgets and forecasts are counted from them."
    calls = _days("single calls", "ledger_days", settings.ledger_days, MIN_LEDGER_DAYS, rule)
    if settings.ledger_since is not None:
        st.caption(f"Of calls before {settings.ledger_since:%-d %B %Y} only the sums are left.")
    wanted = messages, calls
    if wanted == (settings.message_days, settings.ledger_days):
        return
    with st.container(border=True, key="retention-ask"):
        st.markdown(_what_goes(core().retention.preview(principal, *wanted)))
        if st.button("Save", key="retention-save", type="primary"):
            act(lambda: core().tenants.set_retention(principal, *wanted), "Saved. What is older goes within the hour.")
            st.rerun()


def _days(label: str, key: str, now: int | None, least: int, help_: str) -> int | None:
    """Days that are chosen, None for ever."""
    with st.container(horizontal=True, vertical_alignment="center"):
        limited = st.toggle(f"Remove {label} after", now is not None, key=f"{key}-on", help=help_)
        if not limited:
            st.caption("a time (now they are kept for ever)" if now is None else "a time")
            return None
        days = st.number_input(
            f"Days to keep {label}", least, MAX_DAYS, max(now or _FIRST[key], least), key=key,
            label_visibility="collapsed", width=140,
        )  # fmt: skip
        st.markdown("days")
    return int(days)


def _what_goes(removed: Removed) -> str:
    """What would go at once, as a sentence."""
    counts = (
        (
            removed.conversations,
            "conversation",
            f" with all that is in {'it' if removed.conversations == 1 else 'them'}",
        ),
        (removed.messages, "message", " in conversations that go on"),
        (removed.calls, "call", ""),
    )
    said = [f"**{count:,} {what}{'s' if count != 1 else ''}**{more}" for count, what, more in counts if count]
    if not said:
        return "Nothing is older than that now. From then on it is removed when its time is over."
    return f"Within the hour this goes for good: {', '.join(said)}. It cannot be brought back."


def draw_tenants(principal: Principal) -> None:
    """All tenants, one of them to rename, and a form for another. For operators."""
    handed = st.session_state.pop("tenant_link", None)
    if handed:
        people_parts.show_link(*handed)
    lines = core().tenants.listed(principal)
    st.subheader("Tenants")
    rows = [
        {
            "Tenant": one.name,
            "People": one.people,
            "Calls": one.calls,
            "Cost": one.cost_nano_usd / 1e9,
            "Time zone": one.timezone,
            "Since": one.created_at.date(),
        }
        for one in lines
    ]
    config = {
        "Tenant": st.column_config.TextColumn("Tenant", pinned=True),
        "Calls": st.column_config.NumberColumn("Calls, 30 days", format="localized"),
        "Cost": st.column_config.NumberColumn("Cost, 30 days", format="dollar", help="Of calls with a known price."),
        "Since": st.column_config.DateColumn("Since", format="D MMM YYYY"),
    }
    st.dataframe(rows, column_config=config, hide_index=True, key="tenants", alt="Tenants with people, calls and cost")
    names = {one.id: one.name for one in lines}
    _rename(principal, names)
    _add(principal)


def _rename(principal: Principal, names: dict[str, str]) -> None:
    st.markdown("**Rename a tenant**")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox("Tenant", list(names), format_func=lambda one: names[one], key="tenants-which", width=260)
        typed = st.text_input("New name", max_chars=100, key=f"tenants-name-{chosen}", width=260)
        if st.button("Rename", key="tenants-rename", disabled=not typed.strip()):
            act(lambda: core().tenants.rename(principal, typed, chosen), f"{names[chosen]} is {typed.strip()} now.")
            st.rerun()


def _add(principal: Principal) -> None:
    st.markdown("**Add a tenant**")
    st.caption("An organisation that sees nothing of the others. Its first admin joins by a link.")
    count = st.session_state.get("tenants_added", 0)  # fields with new keys are empty
    with st.form("tenant-add", border=True):
        name = st.text_input("Name of the tenant", max_chars=100, key=f"tenant-new-{count}")
        username = st.text_input("Username of its first admin", max_chars=64, key=f"tenant-new-user-{count}")
        person = st.text_input("Name of its first admin", max_chars=100, key=f"tenant-new-person-{count}")
        sent = st.form_submit_button("Add tenant", type="primary")
    if not sent:
        return
    made = []
    if act(lambda: made.append(core().tenants.add(principal, name, username, person)), f"{name.strip()} is there."):
        st.session_state["tenants_added"] = count + 1
        st.session_state["tenant_link"] = made[0], person
    st.rerun()
