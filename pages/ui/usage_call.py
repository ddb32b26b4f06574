"""One call to a model in full: what it took, what it cost and why, and how to get to its conversation."""

from collections.abc import Mapping
from html import escape
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import streamlit as st

from chatcore.usage import Call, CallDetail
from pages.ui import figures, session
from pages.ui.text import plain

_STYLE: Final = """<style>
  .chatcore-call { display: grid; grid-template-columns: max-content 1fr; gap: 0.3rem 1.25rem; margin: 0;
    font-size: 0.9rem; }
  .chatcore-call dt { opacity: 0.7; font-weight: inherit; }
  .chatcore-call dd { margin: 0; overflow-wrap: anywhere; }
</style>"""


def draw(detail: CallDetail, names: Mapping[str, str], zone: ZoneInfo) -> None:
    """All that the ledger knows of it. `names`: of people, by id; `zone`: of its times."""
    call = detail.call
    with st.container(border=True, key="usage_call"):
        st.markdown(f"**{plain(call.model)}** {_outcome(call)}")
        facts = {
            "Time": f"{call.created_at.astimezone(zone):%-d %B %Y, %H:%M:%S} ({zone.key})",
            "Person": names.get(call.user_id) or call.username or "Somebody who is gone",
            "Called": f"{detail.provider_model or call.model} at {call.provider}",
            "For": f"{call.purpose}, attempt {call.attempt}, tier {call.tier}",
            "Key": {"person": "the person's own", "tenant": "the organisation's own"}.get(detail.key_source, "shared"),
            "Tokens": _tokens(detail),
            "Cost": _cost(detail),
            "Prices": _prices(detail),
            "First word": figures.duration(call.ttft_ms),
            "Whole reply": figures.duration(call.latency_ms),
            "Trace": call.trace_id,
            "Call": call.id,
        }
        rows = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts.items() if text)
        st.html(f"{_STYLE}<dl class='chatcore-call'>{rows}</dl>")
        _corrections(detail, zone)
        _attempts(detail)
        _link(detail)


def _outcome(call: Call) -> str:
    colour = {"ok": "green", "cached": "green", "running": "blue", "stopped": "gray"}.get(call.outcome, "red")
    why = f": {call.error_type}" if call.error_type and call.error_type != call.outcome else ""
    demo = " :violet-badge[demo data]" if call.is_demo else ""
    return f":{colour}-badge[{plain(call.outcome + why)}]{demo}"


def _tokens(detail: CallDetail) -> str:
    call = detail.call
    parts = [f"{call.prompt_tokens:,} in"]
    parts += [f"{call.cached_tokens:,} of them cached by the provider"] if call.cached_tokens else []
    parts += [f"{detail.cache_write_tokens:,} written to its cache"] if detail.cache_write_tokens else []
    parts += [f"{call.completion_tokens:,} out"]
    parts += [f"{call.reasoning_tokens:,} of them reasoning"] if call.reasoning_tokens else []
    source = {"provider": "as the provider counts", "estimated": "estimated by us"}.get(call.usage_source, "not known")
    return f"{', '.join(parts)} ({source})"


def _cost(detail: CallDetail) -> str:
    saved = (
        f"; an earlier reply served and saved {figures.exact_usd(detail.saved_nano_usd)}" if detail.cache_hit else ""
    )
    return figures.exact_usd(detail.call.cost_nano_usd) + saved


def _prices(detail: CallDetail) -> str:
    """The prices as they were, each for a million tokens."""
    told = [f"{name} {_per_million(value)}" for name, value in detail.unit_prices.items()]
    if not told:
        return ""
    source = {
        "config": "the config file",
        "litellm": "litellm's table",
        "tenant": "this organisation's prices",
        "demo": "made up",
    }
    return f"{', '.join(told)} (from {source.get(detail.price_source, detail.price_source)})"


def _per_million(value: Any) -> str:
    try:
        return f"${float(value) * 1e6:,.4g} a million"
    except (TypeError, ValueError):
        return str(value)


def _corrections(detail: CallDetail, zone: ZoneInfo) -> None:
    for one in detail.corrections:
        shift = f"{figures.exact_usd(one.before_nano_usd)} to {figures.exact_usd(one.after_nano_usd)}"
        st.caption(plain(f"Priced anew on {one.created_at.astimezone(zone):%-d %B %Y}: from {shift}."))


def _attempts(detail: CallDetail) -> None:
    if len(detail.attempts) < 2:
        return
    st.markdown("**All calls of this question**")
    rows = [
        {
            "Attempt": one.attempt, "For": one.purpose, "Model": one.model, "Provider": one.provider,
            "Outcome": f"{one.outcome} ({one.error_type})" if one.error_type else one.outcome,
            "Cost": figures.usd(one.cost_nano_usd), "Duration": figures.duration(one.latency_ms),
        }
        for one in detail.attempts
    ]  # fmt: skip
    st.dataframe(rows, hide_index=True, key="usage_attempts", alt="All calls of the same question")


def _link(detail: CallDetail) -> None:
    if not detail.call.conversation_id:
        return
    if not detail.readable:
        st.caption("Its conversation is not yours to read, or it has been deleted.")
        return
    base = session.base_path()
    target = f"/shared?{urlencode({'s': detail.share_id})}" if detail.share_id else ""
    target = target or f"/?{urlencode({'c': detail.call.conversation_id})}"
    st.link_button("Open the conversation", f"{base}{target}", icon=":material/forum:")
