"""The rules of alerts: each in a sentence, and a dialog in which one is made or changed."""

from dataclasses import replace
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.alerts import words
from chatcore.alerts.channels import ChannelInfo
from chatcore.alerts.rules import INSTANCE, METRICS, SEVERITIES, Rule
from chatcore.bootstrap import core
from pages.ui import acts, confirm
from pages.ui.acts import act
from pages.ui.text import plain

_WINDOWS: Final = (60, 300, 600, 900, 1800, 3600, 6 * 3600, 24 * 3600)  # seconds
_SCOPES: Final = {False: "Your organisation", True: "Whole instance"}
_OPEN: Final = "alert_rule_open"  # the id of the rule that is being changed
_NEW: Final = "new"
_TOLD: Final = (
    "Looked at every minute, by one process, over the calls that ended last. Notices go to the rule's channels."
)


def draw(principal: Principal) -> None:
    """Every rule that the principal keeps, and the way to another."""
    st.subheader("Rules")
    st.caption(_TOLD)
    channels = core().alerts.channels(principal)
    rules = core().alerts.rules(principal)
    for rule in rules:
        _row(principal, rule, channels)
    if not rules:
        st.caption("There is no rule yet.")
    st.button("Add a rule", icon=":material/add:", key="alert_rule_add", on_click=_open, args=(_NEW,))
    open_rule = st.session_state.get(_OPEN)
    if open_rule == _NEW:
        _add(principal, channels)
    for rule in rules:
        if rule.id == open_rule:
            _change(principal, rule, channels)


def sentence(rule: Rule) -> str:
    """`Error rate above 5.0% in the last 5 minutes, of at least 10 calls`."""
    said = f"{rule.of.title} above {words.amount(rule.metric, rule.threshold)}"
    if rule.metric != "budget_share":
        said += f" in the last {words.window(rule.window_seconds)}"
    if rule.of.min_calls:
        said += f", of at least {rule.min_calls:,} call{'' if rule.min_calls == 1 else 's'}"
    return f"{said}, for {words.duration(rule.for_seconds)}" if rule.for_seconds else said


def _row(principal: Principal, rule: Rule, channels: list[ChannelInfo]) -> None:
    names = [one.name for one in channels if one.id in rule.channels]
    color = "red" if rule.severity == "critical" else "orange"
    badges = [f":{color}-badge[{rule.severity}]"]
    if principal.is_operator and rule.tenant_id == INSTANCE:
        badges.append(":gray-badge[whole instance]")
    if not rule.enabled:
        badges.append(":gray-badge[off]")
    if rule.failover:
        badges.append(":violet-badge[fails over]")
    with st.container(key=f"admin-row-{rule.id}", horizontal=True, vertical_alignment="center"):
        with st.container(gap=None):
            st.markdown(f"**{plain(rule.name)}** {' '.join(badges)}")
            st.caption(plain(f"{sentence(rule)} → {', '.join(names) or 'no channel, shown here only'}"))
        with st.container(horizontal=True, width="content"):
            st.button("Change", key=f"alert-rule-change-{rule.id}", on_click=_open, args=(rule.id,))
            if st.button("Delete", key=f"alert-rule-delete-{rule.id}"):
                _delete(principal, rule)


def _open(rule_id: str | None) -> None:
    """A callback. The dialog stays until it is dismissed or what it is for is done."""
    st.session_state[_OPEN] = rule_id


@st.dialog("Add a rule", on_dismiss=lambda: _open(None))
def _add(principal: Principal, channels: list[ChannelInfo]) -> None:
    instance = False
    if principal.is_operator:
        instance = st.segmented_control(
            "For", list(_SCOPES), format_func=_SCOPES.__getitem__, default=True, key="alert-rule-scope", required=True
        )  # fmt: skip
    known = [name for name in METRICS if not (instance and name == "budget_share")]
    metric = st.selectbox("Watch", known, format_func=lambda name: METRICS[name].title, key="alert-rule-metric")
    of = METRICS[metric]
    tenant = INSTANCE if instance else principal.tenant_id
    new = Rule(
        of.title, metric, of.threshold, of.window_seconds, min_calls=max(of.min_calls, 1), tenant_id=tenant,
        cooldown_seconds=3600 if metric == "budget_share" else 1800,
    )  # fmt: skip
    _form(principal, new, channels, f"{metric}-{instance}")


@st.dialog("Change the rule", on_dismiss=lambda: _open(None))
def _change(principal: Principal, rule: Rule, channels: list[ChannelInfo]) -> None:
    _form(principal, rule, channels, rule.id)


@st.dialog("Delete the rule?")
def _delete(principal: Principal, rule: Rule) -> None:
    st.markdown(f"**{plain(rule.name)}** is watched no more. What it fired stays in the history.")
    if confirm.draw("Delete", "alert_rule_delete", on_click=_deleted, args=(principal, rule.id)):
        st.rerun()


def _deleted(principal: Principal, rule_id: str) -> None:
    act(lambda: core().alerts.delete_rule(principal, rule_id), "The rule is deleted.")


def _form(principal: Principal, rule: Rule, channels: list[ChannelInfo], key: str) -> None:
    """`key`: with another one the fields are other ones, which begin with the rule's values."""
    st.caption(rule.of.about)
    typed = _fields(rule, key)
    known = {one.id: one.name for one in channels if one.tenant_id == rule.tenant_id}
    chosen = st.multiselect(
        "Channels", list(known), [one for one in rule.channels if one in known], format_func=known.__getitem__,
        key=f"alert-rule-channels-{key}",
        placeholder="Choose where notices go" if known else "There is no channel for it yet; add one below the rules",
    )  # fmt: skip
    enabled = st.toggle("On", rule.enabled, key=f"alert-rule-on-{key}")
    failover = rule.failover
    if rule.metric == "provider_error_rate" and rule.tenant_id == INSTANCE:
        failover = st.toggle(
            "Fail over by itself", rule.failover, key=f"alert-rule-failover-{key}",
            help="While it fires the provider is asked last. After the cool-down it is tried again.",
        )  # fmt: skip
    if st.button("Save rule", type="primary", key="alert_rule_save"):
        wanted = replace(typed, channels=tuple(chosen), enabled=enabled, failover=failover)
        if act(lambda: core().alerts.save_rule(principal, wanted), f"The rule {wanted.name} is saved."):
            _open(None)
            st.rerun()
        acts.say()


def _fields(rule: Rule, key: str) -> Rule:
    name = st.text_input("Name", rule.name, max_chars=100, key=f"alert-rule-name-{key}")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        threshold = st.number_input(
            f"Above ({rule.of.unit})", 0.0, None, float(rule.threshold), key=f"alert-rule-threshold-{key}", width=140,
            format=_digits(rule.threshold),
        )  # fmt: skip
        window = rule.window_seconds
        if rule.metric != "budget_share":
            windows = sorted({*_WINDOWS, rule.window_seconds})
            window = st.selectbox(
                "In the last", windows, windows.index(rule.window_seconds), format_func=words.duration,
                key=f"alert-rule-window-{key}", width=140,
            )  # fmt: skip
        least = rule.min_calls
        if rule.of.min_calls:
            least = st.number_input(
                "Minimum calls", 1, 10**6, rule.min_calls, key=f"alert-rule-least-{key}", width=140,
                help="With fewer calls the rule says nothing.",
            )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom"):
        held = _minutes("Minutes it lasts", rule.for_seconds, 0, f"alert-rule-for-{key}", "Before it fires.")
        told = "At least, between two notices that it fires; also how long a provider stays aside."
        pause = _minutes("Pause in minutes", rule.cooldown_seconds, 1, f"alert-rule-pause-{key}", told)
        severity = st.selectbox(
            "Severity", SEVERITIES, SEVERITIES.index(rule.severity), key=f"alert-rule-severity-{key}", width=140
        )
    return replace(
        rule, name=name, threshold=threshold, window_seconds=window, min_calls=least, for_seconds=held,
        cooldown_seconds=pause, severity=severity,
    )  # fmt: skip


def _minutes(label: str, seconds: int, least: int, key: str, about: str) -> int:
    """The seconds of the minutes that are typed; what is no whole minute stays as it is until it is changed."""
    shown = max(round(seconds / 60), least)
    typed = st.number_input(label, least, 7 * 24 * 60, shown, key=key, help=about, width=140)
    return seconds if typed == shown and seconds >= least * 60 else int(typed) * 60


def _digits(value: float) -> str:
    return "%.2f" if round(value, 2) == value else "%.4f"
