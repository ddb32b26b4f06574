"""Handing numbers out: what a tab shows, and all calls behind it, as CSV and Parquet."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import streamlit as st

from chatcore.bootstrap import core
from chatcore.errors import Unauthorized
from chatcore.usage import frame_csv, frame_parquet
from pages.ui import session, usage_drill
from pages.ui.usage_data import View

if TYPE_CHECKING:
    from pandas import DataFrame

_MIMES: Final = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
_FIRST: Final = (
    "date", "name", "cost_usd", "saved_usd", "calls", "prompt_tokens", "completion_tokens", "cached_tokens",
    "reasoning_tokens", "unpriced", "estimated", "failed",
)  # fmt: skip
_LAST: Final = ("generated_tokens", "generating_ms", "cost_nano_usd", "saved_nano_usd", "group", "start")


def draw(view: View, frames: Mapping[str, "DataFrame"]) -> None:
    """The list of all calls, and a popover with files. `frames`: what is shown, by name."""
    with st.container(horizontal=True, gap="small", key="usage_out"):
        st.button(
            "All calls", key="usage_calls", icon=":material/receipt_long:", on_click=usage_drill.ask,
            args=(usage_drill.everything(view),),
        )  # fmt: skip
        with st.popover("Download", icon=":material/download:", key="usage_download"):
            for name, frame in frames.items():
                if len(frame):
                    _shown(view, name, frame)
            st.markdown("**All calls** :gray[(one row each, with everything the ledger knows of it)]")
            with st.container(horizontal=True, gap="small"):
                for kind in _MIMES:
                    st.link_button(_label(kind), raw_url(view, kind), icon=":material/download:")


def raw_url(view: View, kind: str) -> str:
    """Where the calls behind the page can be fetched by the same browser, streamed."""
    chosen = view.chosen
    values: list[tuple[str, str]] = [("start", chosen.start.isoformat()), ("end", chosen.end.isoformat())]
    values += [(name, value) for name, only in view.choice.only.items() for value in only]
    return f"{session.base_path()}/api/usage/calls.{kind}?{urlencode(values)}"


def named(frame: "DataFrame", names: Mapping[str, str]) -> "DataFrame":
    """A series or breakdown as people want it in a file: the local date or hour, what the group is called, what it
    cost in US dollars, and the counts; behind them what programs want: the moment, the group's id, nano-USD."""
    import pandas as pd

    told = frame.assign(name=frame["group"].map(lambda one: names.get(one, one)))
    if "start" in told:
        midnights = (told["start"].dt.normalize() == told["start"]).all()
        told["date"] = told["start"].dt.strftime("%Y-%m-%d" if midnights else "%Y-%m-%d %H:%M")
    for name in ("cost", "saved"):
        if f"{name}_nano_usd" in told:
            told[f"{name}_usd"] = told[f"{name}_nano_usd"].astype("Float64") / 1e9
    first = [one for one in _FIRST if one in told]
    last = [one for one in _LAST if one in told]
    found: pd.DataFrame = told[[*first, *(one for one in told if one not in (*_FIRST, *_LAST)), *last]]
    return found


def _shown(view: View, name: str, frame: "DataFrame") -> None:
    st.markdown(f"**{name}**")
    stem = f"usage-{name.lower().replace(' ', '-')}-{view.chosen.start.astimezone(view.zone):%Y-%m-%d}"
    with st.container(horizontal=True, gap="small"):
        for kind, mime in _MIMES.items():
            st.download_button(
                _label(kind), _maker(view, frame, kind), f"{stem}.{kind}", mime, key=f"usage-{kind}-{name}",
                icon=":material/download:", on_click="ignore",
            )  # fmt: skip


def _maker(view: View, frame: "DataFrame", kind: str) -> Any:
    """Makes the file when it is asked for, which may be long after the page was drawn: who asks is looked up again."""
    session_id = view.principal.session_id

    def made() -> bytes:
        if session_id and core().accounts.principal(session_id) is None:
            raise Unauthorized("You were signed out. Sign in again to download this.")
        return f"\ufeff{frame_csv(frame)}".encode() if kind == "csv" else frame_parquet(frame)

    return made


def _label(kind: str) -> str:
    return {"csv": "CSV", "parquet": "Parquet"}[kind]
