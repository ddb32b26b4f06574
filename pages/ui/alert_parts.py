"""Alerts: what fires now, the rules and where notices go, and what was."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import pandas as pd
import streamlit as st

from chatcore.accounts import Principal
from chatcore.alerts import words
from chatcore.alerts.history import AlertInfo
from chatcore.alerts.rules import METRICS
from chatcore.bootstrap import core
from chatcore.db.tables import utcnow
from chatcore.errors import ChatcoreError
from pages.ui import alert_channel_parts, alert_rule_parts, session
from pages.ui.text import ago, plain

_REFRESH: Final = 15  # seconds
_SHOWN: Final = 100  # alerts of the history
_ASIDE: Final = {"aside": ":violet-badge[asked last]", "probation": ":blue-badge[on probation]"}


def draw(principal: Principal) -> None:
    """What fires, which looks again by itself; rules and channels to keep; what is over. For admins."""
    _firing()
    alert_rule_parts.draw(principal)
    alert_channel_parts.draw(principal)
    _history(principal)


@st.fragment(run_every=_REFRESH)
def _firing() -> None:
    principal = session.require_principal()
    if not principal.is_admin:
        return
    st.subheader("Firing now")
    try:
        found = core().alerts.firing(principal)
    except ChatcoreError as error:
        st.error(str(error), icon=":material/error:")
        return
    if not found:
        st.caption(":green-badge[:material/check: all quiet] No rule is broken.")
    for alert in found:
        _alert(principal, alert)


def _alert(principal: Principal, alert: AlertInfo) -> None:
    with st.container(key=f"admin-row-{alert.id}", gap=None):
        st.markdown(
            f"**{plain(alert.rule_name)}** {severity(alert.severity)} {_state(alert)} {whose(alert, principal)}"
        )
        st.markdown(plain(alert.message))
        st.caption(plain(" · ".join(_facts(alert, utcnow()))))


def severity(word: str) -> str:
    """A badge: red for what is critical, orange for a warning."""
    return f":{'red' if word == 'critical' else 'orange'}-badge[{plain(word)}]"


def whose(alert: AlertInfo, principal: Principal) -> str:
    """A badge for what belongs to the whole instance, where somebody sees both."""
    return ":gray-badge[whole instance]" if not alert.tenant_id and principal.is_operator else ""


def _state(alert: AlertInfo) -> str:
    if alert.state == "pending":
        return ":gray-badge[:material/hourglass: not long enough yet]"
    return _ASIDE.get(alert.aside, "")


def _facts(alert: AlertInfo, now: datetime) -> list[str]:
    began = f"began {ago(alert.fired_at or alert.began_at, now)}"
    worst = f"worst {_amount(alert, alert.peak)}" if alert.state == "firing" else ""
    return [one for one in (began, worst, told(alert)) if one]


def told(alert: AlertInfo) -> str:
    """What became of its notices, in words."""
    if not alert.told:
        return "nobody was told" if alert.state != "pending" else ""
    by_state = {state: [one for one in alert.told if one.state == state] for state in ("sent", "queued", "failed")}
    words = []
    if by_state["sent"]:
        words.append(f"told {', '.join(sorted({one.channel for one in by_state['sent']}))}")
    for state, said in (("queued", "to be sent to"), ("failed", "not sent to")):
        words += [f"{said} {one.channel}{f': {one.words}' if one.words else ''}" for one in by_state[state][-2:]]
    return "; ".join(words) or "over before anybody was told"


def _amount(alert: AlertInfo, value: float) -> str:
    return words.amount(alert.metric, value) if alert.metric in METRICS else f"{value:g}"


def _history(principal: Principal) -> None:
    st.subheader("History")
    found = core().alerts.history(principal, _SHOWN)
    if not found:
        st.caption("Nothing has fired yet.")
        return
    column = st.column_config
    st.dataframe(
        history(found), hide_index=True, key="alert_history", alt="Alerts that are over",
        column_config={
            "Fired": column.DatetimeColumn("Fired (UTC)", format="D MMM YYYY, HH:mm"),
            "Rule": column.TextColumn(width="medium"),
            "Notices": column.TextColumn(width="large"),
        },
    )  # fmt: skip
    st.caption("The latest first." if len(found) < _SHOWN else f"The latest {_SHOWN}.")


def history(found: Sequence[AlertInfo]) -> pd.DataFrame:
    """A row for each alert: when it fired, the rule, of whom, worst value, limit, how long, notices."""
    rows = [
        {
            "Fired": alert.fired_at or alert.began_at,
            "Rule": alert.rule_name,
            "Of": alert.subject,
            "Worst": _amount(alert, alert.peak),
            "Limit": _amount(alert, alert.threshold),
            "Lasted": _lasted(alert),
            "Notices": alert.ended or told(alert),
        }
        for alert in found
    ]
    frame = pd.DataFrame(rows)
    return frame if frame["Of"].any() else frame.drop(columns="Of")


def _lasted(alert: AlertInfo) -> str:
    if alert.recovered_at is None:
        return ""
    return words.duration(max((alert.recovered_at - (alert.fired_at or alert.began_at)).total_seconds(), 0))
