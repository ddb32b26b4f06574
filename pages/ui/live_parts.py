"""The live panel: what happens at this moment, looked at again every two seconds for as long as it is shown.

The calls per minute of the last hour are those of the ledger.
"""

from collections.abc import Sequence
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError
from chatcore.gateway import Health
from chatcore.usage.live import SERIES, Failure, Hour, Now, Sample
from pages.ui import figures, firing, gateway_parts, usage_call
from pages.ui.session import require_principal
from pages.ui.usage_data import kept_choices, viewer_zone

EVERY: Final = 2.0  # seconds
_WINDOWS: Final = {5: "5 min", 15: "15 min", 60: "60 min"}
_LOOKS: Final = 3  # words a second are those since the third last look: one alone jumps about
_SAMPLES: Final = "live_samples"
_ASKED: Final = "live_call"  # the id of the call to show
_KINDS: Final = {
    "requests": "requests", "tokens": "tokens", "budget": "budget", "breaker": "paused model", "access": "access",
}  # fmt: skip
Scope = tuple[str, str | None]


def draw(principal: Principal) -> None:
    """The whole panel. It looks by itself who is there, so that a tab that was signed out shows nothing more."""
    whose = "Of everybody in your organisation" if principal.is_admin else "Only what is yours"
    st.caption(f"{whose}. It is looked at again every {EVERY:.0f} seconds.")
    asked = st.session_state.pop(_ASKED, None)
    _panel()
    if asked is not None:
        _call(asked)


@st.fragment(run_every=EVERY)
def _panel() -> None:
    principal = require_principal()
    scope = (principal.tenant_id, None if principal.is_admin else principal.user_id)
    try:
        now, hour = _look(scope, principal), _hour(scope, principal)
    except ChatcoreError as error:
        st.error(str(error), icon=":material/error:")
        return
    if _ASKED in st.session_state:
        st.rerun()  # a dialog of this part alone would be gone with its next look
    firing.draw(principal)
    _present(now)
    _rates(hour)
    _running(now)
    _failures(hour.failures)
    if principal.is_operator:
        _breakers([one for one in core().gateway.health() if one.state != "closed"])


def _look(scope: Scope, principal: Principal) -> Now:
    """The present moment, with words counted since some looks ago by the same person in this tab."""
    whose, samples = st.session_state.get(_SAMPLES, (None, []))
    kept: list[Sample] = samples if whose == scope else []
    now = core().live.now(principal, kept[0] if kept else None)
    st.session_state[_SAMPLES] = (scope, [*kept, now.sample][-_LOOKS:])
    return now


@st.cache_data(ttl=2, max_entries=200, show_spinner=False)
def _hour(scope: Scope, _principal: Principal) -> Hour:
    return core().live.hour(_principal)


def _present(now: Now) -> None:
    words = now.words_per_second
    kinds = ", ".join(f"{count:,} by {_KINDS.get(kind, kind)}" for kind, count in sorted(now.refusals.items()))
    with st.grid(3, min_column_width=150):
        _card("Replies running", figures.whole(now.running), "Replies that are being written now.")
        _card("Words a second", "–" if words is None else _rate(words), "Of all running replies, over some seconds.")
        refused = figures.whole(sum(now.refusals.values()))
        _card("Refused", refused, f"Questions in the last 5 minutes. {kinds}".strip())


def _rates(hour: Hour) -> None:
    minutes = st.segmented_control(
        "Over the last", list(_WINDOWS), default=5, format_func=_WINDOWS.__getitem__, key="live_window", required=True
    )
    failed, unpriced = hour.share_failed(minutes), sum(hour.unpriced[-minutes:])
    lacks = f" Without {unpriced:,} calls that have no known price." if unpriced else ""
    mean = f"Mean of the last {minutes} minutes; the line is the last hour, by minute."
    late = f"{mean} Counted when a call has ended."
    with st.grid(4, min_column_width=150):
        _line("Calls a minute", _rate(hour.per_minute(hour.calls, minutes)), hour.calls, mean)
        _line("Tokens a minute", figures.compact(hour.per_minute(hour.tokens, minutes)), hour.tokens, late)
        cost = figures.usd(round(hour.per_minute(hour.cost_nano_usd, minutes)))
        _line("Cost a minute", cost, [nano / 1e9 for nano in hour.cost_nano_usd], late + lacks)
        ended = f"{sum(hour.failed[-minutes:]):,} of {sum(hour.settled[-minutes:]):,} calls that have ended."
        _line("Failed calls", "–" if failed is None else figures.percent(failed), hour.failed, ended)


def _card(label: str, value: str, says: str) -> None:
    st.metric(label, value, border=True, help=says, height="stretch")


def _line(label: str, value: str, series: Sequence[float], says: str) -> None:
    """A card with the hour that is over drawn in it, where there is something to draw. The present minute would look
    like a fall."""
    drawn = list(series[: SERIES - 1])
    chart = drawn if any(drawn) else None
    st.metric(label, value, border=True, help=says, height="stretch", chart_data=chart, chart_type="area")


def _rate(number: float) -> str:
    return figures.compact(number) if number >= 10 or number == 0 else f"{number:.1f}"


def _running(now: Now) -> None:
    with st.container(border=True):
        st.markdown("**Running replies by model**")
        if not now.active:
            st.caption("Nothing is being answered right now.")
            return
        st.dataframe(
            [{"model": model, "replies": count} for model, count in now.active.items()],
            column_config={
                "model": "Model",
                "replies": st.column_config.ProgressColumn(
                    "Replies", format="%d", min_value=0, max_value=max(now.active.values()), color="primary"
                ),
            },
            hide_index=True,
            key="live_running",
            alt="Running replies by model",
        )


def _failures(failures: tuple[Failure, ...]) -> None:
    with st.container(border=True):
        st.markdown("**Last failures** :gray[(of the last hour)]")
        if not failures:
            st.caption("No call has failed.")
            return
        # Another key after each selection, so that the same row can be selected again.
        key = f"live_failures-{st.session_state.get('live_taken', 0)}"

        def selected() -> None:
            rows = st.session_state[key].selection.rows
            st.session_state["live_taken"] = st.session_state.get("live_taken", 0) + 1
            if rows and rows[0] < len(failures):
                st.session_state[_ASKED] = failures[rows[0]].call_id

        st.dataframe(
            [vars(one) | {"what": one.error_type or one.outcome} for one in failures],
            column_order=["at", "model", "what", "provider", "trace_id"],
            column_config={
                "at": st.column_config.DatetimeColumn("Time", format="HH:mm:ss", timezone=st.context.timezone),
                "model": "Model",
                "what": "What",
                "provider": "Provider",
                "trace_id": st.column_config.TextColumn(
                    "Trace", help="The same as in the log and in traces.", width=300
                ),
            },
            hide_index=True,
            key=key,
            alt="The newest calls that failed",
            on_select=selected,
            selection_mode="single-row",
        )
        st.caption("Select one to see all that is known of it.")


@st.dialog("Call", width="large", position="right", icon=":material/receipt_long:")
def _call(call_id: str) -> None:
    principal = require_principal()
    try:
        names = {one.id: one.name for one in kept_choices(principal).people}
        usage_call.draw(core().usage.call(principal, call_id), names, viewer_zone())
    except ChatcoreError as error:
        st.error(str(error), icon=":material/error:")


def _breakers(bad: list[Health]) -> None:
    """For operators, of the process that draws the page."""
    with st.container(border=True):
        st.markdown("**Paused deployments**", help="Those whose breakers are not closed.")
        if not bad:
            st.caption("None: every deployment is called.")
            return
        st.dataframe(
            [
                {
                    "deployment": one.deployment,
                    "key": "shared" if one.key == "shared" else "somebody's own",
                    "state": gateway_parts.state(one),
                    "failures": one.failures,
                    "error": one.last_error or "",
                }
                for one in bad
            ],
            column_config={
                "deployment": "Deployment", "key": "Key", "state": "State", "failures": "Failures in a row",
                "error": "Last error",
            },
            hide_index=True,
            key="live_breakers",
            alt="Deployments that are paused or on trial",
        )  # fmt: skip
