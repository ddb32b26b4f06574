"""Parts of the usage page: cards, notes, the table of models, and the calls behind the numbers."""

from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd
import streamlit as st

from chatcore.usage import Call, Totals
from pages.ui import figures

_number = st.column_config.NumberColumn


def cards(now: Totals, before: Totals, days: int) -> None:
    """Four numbers with their change; a rise in cost or failures is the one that is drawn in red."""
    failed, failed_before = (one.failed / one.settled if one.settled else 0.0 for one in (now, before))
    points = round((failed - failed_before) * 100, 1) if before.settled else None
    unpriced = f"Without {now.unpriced:,} calls that have no known price." if now.unpriced else None
    shift: str | float | None = f"{points:+.1f} points" if points else points
    note = f"{now.failed:,} of {now.settled:,} calls that have ended."
    with st.grid(4, min_column_width=150):
        _card(
            "Cost", figures.usd(now.cost_nano_usd), change(now.cost_nano_usd, before.cost_nano_usd), "inverse", unpriced
        )
        _card("Tokens", figures.compact(now.tokens), change(now.tokens, before.tokens), "off")
        _card("Calls", figures.compact(now.calls), change(now.calls, before.calls), "off", f"{now.calls:,} calls.")
        _card("Failed calls", figures.percent(failed), shift, "inverse", note)
    if before.calls:
        st.caption(f"Changes are against the {f'{days} days' if days > 1 else 'day'} before.")


def change(now: int | None, before: int | None) -> str | float | None:
    """`+12%` as a metric's delta, 0 for no change, None where there is nothing to compare with."""
    if not before or now is None:
        return None
    ratio = round((now - before) / before * 100)
    return f"{ratio:+,}%" if ratio else 0


def notes(sums: Totals) -> None:
    """What the numbers lack, and what stands in them with a doubt."""
    texts = (
        (sums.unpriced, "orange", "without a known price"),
        (sums.estimated, "gray", "with estimated tokens"),
        (sums.running, "blue", "still running"),
        (sums.demo, "violet", "of demo data"),
    )
    badges = [
        f":{colour}-badge[{count:,} {'call' if count == 1 else 'calls'} {text}]"
        for count, colour, text in texts
        if count
    ]
    if sums.cached:
        badges.append(f":green-badge[{saved(sums)}]")
    if badges:
        st.markdown(" ".join(badges))


def saved(sums: Totals) -> str:
    """What the cache saved: `300 calls from the cache, \\$0.038 saved (30%)`, the dollar escaped for markdown."""
    words = f"{sums.cached:,} {'call' if sums.cached == 1 else 'calls'} from the cache"
    if not sums.saved_nano_usd:
        return words
    return f"{words}, \\{figures.usd(sums.saved_nano_usd)} saved ({figures.percent(sums.share_saved)})"


def models(by_model: pd.DataFrame) -> None:
    """The table per model. `by_model`: as `Usage.by_model` returns it; costs are shown in US$."""
    shown_as = {"cost": by_model["cost_nano_usd"] / 1e9, "average": by_model["average_cost_nano_usd"] / 1e9}
    percents = {name: by_model[name] * 100 for name in ("share_failed", "share_estimated", "share_unpriced")}
    frame = by_model.assign(**shown_as, **percents)
    shares = {
        name: _number(label, format="%.1f%%", help=help_, width=width)
        for name, label, width, help_ in (
            ("share_failed", "Failed", 65, "Share of calls that ended in an error, a timeout, a rate limit or a cut."),
            ("share_estimated", "Est.", 60, "Share of calls whose tokens we counted, as the provider did not say."),
            ("share_unpriced", "Unpriced", 80, "Share of calls without a known price. The cost does not contain them."),
        )
    }
    config = {
        "model": st.column_config.TextColumn("Model", pinned=True),
        "calls": _number("Calls", format="localized", width=70),
        "prompt_tokens": _number("Tokens in", format="localized"),
        "completion_tokens": _number("Tokens out", format="localized"),
        "cost": _number("Cost", help="Of the calls with a known price."),
        "average": _number("Cost / call"),
        "average_tokens": _number("Tokens / call", format="%.0f"),
        **shares,
    }
    st.dataframe(
        frame.style.format(_dollars, subset=["cost", "average"]),  # as in the cards, and still sorted as numbers
        column_order=list(config),
        column_config=config,
        hide_index=True,
        placeholder="–",
        key="usage_models_table",
        alt="Calls, tokens and cost of each model",
    )


def calls(rows: Sequence[Call], names: dict[str, str]) -> None:
    """Ledger rows, newest first. `names`: display names by user id; no person column where it is empty."""
    config: dict[str, Any] = {
        "at": st.column_config.DatetimeColumn("Time (UTC)", format="D MMM, HH:mm:ss", timezone="UTC", pinned=True),
        **({"person": "Person"} if names else {}),
        "model": "Model",
        "purpose": "Purpose",
        "outcome": "Outcome",
        "tokens_in": _number("Tokens in", format="localized"),
        "tokens_out": _number("Tokens out", format="localized"),
        "source": st.column_config.TextColumn("Tokens from", help="`estimated`: counted by us, not by the provider."),
        "cost": _number("Cost", format="$%.6f", help="Empty where the price was not known."),
        "first_word": _number("First word", format="%.2f s"),
        "seconds": _number("Duration", format="%.1f s"),
    }
    st.dataframe(
        [_call_row(row, names) for row in rows],
        column_order=list(config),
        column_config=config,
        hide_index=True,
        placeholder="–",
        key="usage_calls_table",
        alt="The newest calls behind these numbers",
    )


def _card(
    label: str, value: str, delta: str | float | None, colour: Literal["inverse", "off"], note: str | None = None
) -> None:
    st.metric(label, value, delta, colour, border=True, help=note, height="stretch")


def _call_row(row: Call, names: dict[str, str]) -> dict[str, Any]:
    return {
        "at": row.created_at,
        "person": names.get(row.user_id, row.username or row.user_id),
        "model": row.model,
        "purpose": row.purpose,
        "outcome": f"{row.outcome} ({row.error_type})" if row.error_type else row.outcome,
        "tokens_in": row.prompt_tokens,
        "tokens_out": row.completion_tokens,
        "source": row.usage_source,
        "cost": None if row.cost_nano_usd is None else row.cost_nano_usd / 1e9,
        "first_word": None if row.ttft_ms is None else row.ttft_ms / 1000,
        "seconds": None if row.latency_ms is None else row.latency_ms / 1000,
    }


def _dollars(value: Any) -> str:
    return "–" if pd.isna(value) else figures.usd(round(float(value) * 1e9))
