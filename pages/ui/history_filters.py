"""The history's search field and filters, in one row. What is looked for stands in the URL as `?q=`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal

import streamlit as st

from chatcore.accounts import Principal
from chatcore.agents import ListedAgent
from chatcore.bootstrap import core
from chatcore.conversations.history import Filters

State = Literal["active", "archived", "shared", "team"]
_STATES: Final[dict[State, str]] = {
    "active": "Active",
    "archived": "Archived",
    "shared": "Shared by me",
    "team": "Shared with me",
}
_KEYS: Final = ("history_folder", "history_agent", "history_model", "history_days")
# Whoever opens the page to search can type at once; on a phone the keyboard would cover the list.
_focus = st.components.v2.component(
    "chatcore_focus",
    js="""
const opened = new WeakSet()
const focus = (asked) => {
  const field = document.querySelector(".st-key-history_q input")
  const at = document.activeElement
  if (field && (asked || !at || at === document.body || at.closest("[data-testid='stSidebar']"))) field.focus()
}
export default function ({ data, parentElement }) {
  if (!opened.has(parentElement)) {
    opened.add(parentElement)
    if (data.open && window.matchMedia("(pointer: fine)").matches) for (const wait of [0, 200]) setTimeout(focus, wait)
  }
  // The search button leads here, too, and then nothing is opened.
  const onClick = (event) => { if (event.target.closest?.(".st-key-search button")) setTimeout(focus, 300, true) }
  const onKey = (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") setTimeout(focus, 300, true)
  }
  document.addEventListener("click", onClick, true)
  document.addEventListener("keydown", onKey, true)
  return () => {
    document.removeEventListener("click", onClick, true)
    document.removeEventListener("keydown", onKey, true)
  }
}
""",
)


@dataclass(frozen=True)
class Choice:
    """What the row says. `words`: what is looked for, empty for the list."""

    words: str
    state: State
    filters: Filters
    narrowed: bool


def draw(principal: Principal, agents: Sequence[ListedAgent]) -> Choice:
    """Draw the search field and the filters."""
    words = _search()
    with st.container(key="history_filters", horizontal=True, vertical_alignment="center", gap="small"):
        state = st.selectbox(
            "Show", list(_STATES), format_func=_STATES.__getitem__, key="history_state", width=170,
            label_visibility="collapsed",
        )  # fmt: skip
        if state == "team":
            return Choice(words, state, Filters(), narrowed=False)
        number = sum(bool(st.session_state.get(key)) for key in _KEYS)
        label = f"Filters · {number}" if number else "Filters"
        with st.popover(label, icon=":material/filter_list:", key="history_more_filters"):
            labels = {agent.id: agent.name for agent in agents}
            folder = _one("Folder", core().history.folders(principal), "history_folder")
            agent = _one("Agent", list(labels), "history_agent", labels)
            model = _one("Model", core().history.models(principal), "history_model")
            days = st.date_input("Days, from and to (UTC)", value=[], key="history_days")
        if number:
            st.button("Clear", key="history_clear", type="tertiary", on_click=_clear)
    since, until = _between(days)
    chosen = Filters(agent_id=agent, model=model, folder=folder, since=since, until=until)
    narrowed = chosen != Filters()
    # A search looks into what is archived, too, and says so.
    archived = True if state == "archived" else None if words and state == "active" else False
    if state == "shared":
        archived = None
    filters = Filters(agent, model, since, until, folder, archived, shared=state == "shared")
    return Choice(words, state, filters, narrowed)


def _search() -> str:
    asked = st.query_params.get("q", "")
    # A link, a step back in the browser, or back from another page, where Streamlit forgets the field.
    if "history_q" not in st.session_state or asked != st.session_state.get("history_asked_for", ""):
        st.session_state["history_q"] = asked
    words = st.text_input(
        "Search titles and messages", key="history_q", type="search", label_visibility="collapsed",
        placeholder="Search titles and messages", icon=":material/search:", autocomplete="off",
    )  # fmt: skip
    _focus(data={"open": not asked}, key="history_focus", height=0)
    words = " ".join((words or "").split())
    st.session_state["history_asked_for"] = words
    if words != asked:
        if words:
            st.query_params["q"] = words
        else:
            st.query_params.pop("q", None)
    return words


def _one(label: str, options: Sequence[str], key: str, labels: dict[str, str] | None = None) -> str | None:
    known = labels or {}
    return st.selectbox(
        label, options, index=None, key=key, placeholder="Any", format_func=lambda one: known.get(one, one),
        disabled=not options,
    )  # fmt: skip


def _clear() -> None:
    for key in _KEYS:
        st.session_state[key] = () if key == "history_days" else None


def _between(days: object) -> tuple[datetime | None, datetime | None]:
    """From the first day's beginning to the last day's end; half a choice is one day."""
    chosen = [day for day in (days if isinstance(days, tuple | list) else [days]) if isinstance(day, date)]
    if not chosen:
        return None, None
    first, last = (datetime.combine(day, time(), UTC) for day in (min(chosen), max(chosen)))
    return first, last + timedelta(days=1)
