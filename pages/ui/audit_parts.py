"""The audit log: who did what to whom, when and from where."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from urllib.parse import urlencode

import streamlit as st

from chatcore.accounts import Principal
from chatcore.accounts.audit_log import Entry, Wanted
from chatcore.bootstrap import core
from chatcore.db.tables import utcnow
from pages.ui import session
from pages.ui.people_parts import label

_PAGE: Final = 50
_KINDS: Final = {
    "": "Everything",
    "sign_in": "Signing in",
    "session.": "Browsers",
    "password.": "Passwords",
    "key.": "API keys",
    "user.": "People",
    "tenant.": "Tenant",
    "retention.": "Retention",
    "budget.": "Budgets",
    "flags.": "Flags, limits and prices",
    "provider_key.": "Provider keys",
    "breaker.": "Breakers",
    "alert": "Alerts",
    "share.": "Shares",
    "prompt.": "Prompts of the team",
    "usage.": "Exports of calls",
    "audit.": "Exports of this log",
}
_DAYS: Final = {1: "Today", 7: "7 days", 30: "30 days", 90: "90 days", 0: "Always"}


def draw(principal: Principal) -> None:
    """Filters, the entries, and all of them as a file."""
    st.subheader("Audit log")
    st.caption("Written with each act, and never changed. Times are in UTC.")
    wanted = _filters(principal)
    shown = _shown(wanted)
    found = core().audit.listed(principal, wanted, limit=min(shown + 1, 500))
    if not found:
        st.info("Nothing is noted that is like that.", icon=":material/filter_alt_off:")
        return
    _table(found[:shown], everywhere=wanted.everywhere)
    with st.container(horizontal=True):
        if len(found) > shown and st.button("Show more", key="audit-more"):
            st.session_state["audit_shown"] = wanted, shown + _PAGE
            st.rerun()
        st.link_button(
            "Download CSV", file_url(wanted), icon=":material/download:", help="All entries that match, with their ids."
        )


def _filters(principal: Principal) -> Wanted:
    people = {"": "Everybody"} | {one.id: label(one) for one in core().accounts.people(principal)}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.selectbox("What", list(_KINDS), format_func=lambda one: _KINDS[one], key="audit-what", width=165)
        actor = st.selectbox("By", list(people), format_func=lambda one: people[one], key="audit-by", width=165)
        target = st.selectbox(
            "To", list(people), format_func=lambda one: people[one] if one else "Anybody", key="audit-to", width=165
        )
        days = st.selectbox(
            "When", list(_DAYS), index=2, format_func=lambda one: _DAYS[one], key="audit-when", width=165
        )
        everywhere = principal.is_operator and st.toggle("All tenants", key="audit-everywhere")
    return Wanted(actor, kind, target, _since(days, utcnow().date()), everywhere=everywhere)


def _since(days: int, today: date) -> datetime | None:
    """The beginning of the day so many days ago, today being the first; None for 0."""
    return datetime.combine(today - timedelta(days=days - 1), time(), UTC) if days else None


def _shown(wanted: Wanted) -> int:
    """How many are shown: with other filters it begins again."""
    before, shown = st.session_state.get("audit_shown", (wanted, _PAGE))
    return shown if before == wanted else _PAGE


def _table(found: Sequence[Entry], *, everywhere: bool) -> None:
    config: dict[str, Any] = {
        "when": st.column_config.DatetimeColumn("When", format="D MMM, HH:mm:ss", timezone="UTC", width=130),
        "words": st.column_config.TextColumn("What", width=360),
        **({"tenant": "Tenant"} if everywhere else {}),
        "from": st.column_config.TextColumn("From", width=110),
        "details": st.column_config.TextColumn("Details", width=320),
    }
    rows = [
        {"when": one.at, "words": one.words, "tenant": one.tenant, "from": one.address, "details": details(one)}
        for one in found
    ]
    st.dataframe(
        rows, column_order=list(config), column_config=config, hide_index=True, key="audit_table", placeholder="–",
        alt="Who did what, when and from where",
    )  # fmt: skip


def details(one: Entry) -> str:
    """What is noted beside the sentence: `role: admin, before: member`."""
    return ", ".join(f"{name}: {_short(value)}" for name, value in one.details.items())


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def file_url(wanted: Wanted) -> str:
    """Where all entries that match can be fetched by the same browser, streamed."""
    values = {"actor": wanted.actor, "action": wanted.action, "target": wanted.target}
    values["since"] = wanted.since.isoformat() if wanted.since else ""
    values["everywhere"] = "1" if wanted.everywhere else ""
    query = urlencode({name: value for name, value in values.items() if value})
    return f"{session.base_path()}/api/audit/log.csv?{query}"
