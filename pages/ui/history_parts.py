"""Parts of the history page: a conversation's line, the hits of a search, and what is said where there is nothing."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from chatcore.accounts import Principal
from chatcore.conversations.history import Found, HistoryRow, Hit, SharedRow
from pages.ui import history_acts as acts
from pages.ui.text import ago, plain

_MARKS: Final = re.compile(r"[\[\]<>`*_~$:\\!|]")
_ROLES: Final = {"user": "You", "assistant": "Reply", "system": "System", "tool": "Tool"}


def draw_row(principal: Principal, row: HistoryRow, agents: Mapping[str, str], models: Mapping[str, str]) -> None:
    """One conversation: a box to tick, its title, a grey line, and its menu."""
    with st.container(
        key=f"history-row-{row.id}", horizontal=True, wrap=False, vertical_alignment="center", gap="small"
    ):
        st.checkbox(f"Choose {_spoken(row.title)}", key=acts.tick_key(row.id), label_visibility="collapsed")
        with st.container(gap=None, width="stretch"):
            icon = ":material/progress_activity:" if row.running else ":material/keep:" if row.pinned else None
            open_link(row.title, row.id, icon=icon)
            st.caption(" · ".join(_facts(row, agents, models)))
        key = f"history-menu-{row.id}"
        st.menu_button(
            f"Actions for {plain(row.title)}", acts.verbs([row]), key=key, type="tertiary", icon=":material/more_vert:",
            format_func=acts.LABELS.__getitem__, on_click=acts.from_menu, args=(principal, key, row),
        )  # fmt: skip


def open_link(title: str, conversation_id: str, message_id: str | None = None, icon: str | None = None) -> None:
    """A link to a conversation, at one of its messages."""
    _link(plain(title) or "Untitled", conversation_id, message_id, icon)


def _link(label: str, conversation_id: str, message_id: str | None = None, icon: str | None = None) -> None:
    place = {"c": conversation_id} | ({"m": message_id} if message_id else {})
    st.page_link("chat.py", label=label, icon=icon, query_params=place, width="stretch")


def _spoken(title: str) -> str:
    """A title for a label that only screen readers get, and as it was typed: without what markdown could read."""
    return " ".join(_MARKS.sub(" ", title).split())


def _facts(row: HistoryRow, agents: Mapping[str, str], models: Mapping[str, str]) -> list[str]:
    folder = f":material/folder: {plain(row.folder)}" if row.folder else ""
    agent = plain(agents.get(row.agent_id or "", ""))
    model = plain(models.get(row.model or "", row.model or ""))
    messages = f"{row.message_count:,} message{'' if row.message_count == 1 else 's'}"
    marks = [*(["archived"] if row.archived else []), *(["shared"] if row.shared else [])]
    return [fact for fact in (folder, agent, model, messages, ago(row.last_message_at), *marks) if fact]


def draw_bulk(principal: Principal, rows: Sequence[HistoryRow], chosen: Sequence[HistoryRow]) -> None:
    """What can be done to all that are ticked."""
    with st.container(key="history_bulk", horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{len(chosen):,} chosen**")
        for verb in acts.verbs([*chosen, *chosen]):  # as for many: there is no title to change
            st.button(acts.LABELS[verb], key=f"history-bulk-{verb}", on_click=acts.act, args=(principal, verb, chosen))
        if len(chosen) < len(rows):
            st.button("All shown", type="tertiary", on_click=acts.tick_all, args=(rows, True))
        st.button("None", type="tertiary", on_click=acts.tick_all, args=(rows, False))


def draw_hits(hits: Sequence[Hit]) -> None:
    """The places in one conversation where the words stand, the first one at once."""
    first, *others = hits
    with _place(first):
        _link(_title(first), first.conversation_id, first.message_id)
        st.caption(_where(first) + (" · archived" if first.archived else ""))
        _draw_snippet(first)
    if others:
        places = f"{len(others):,} more place{'' if len(others) == 1 else 's'} in this conversation"
        with st.expander(places, key=f"history-others-{first.conversation_id}", type="compact"):
            for hit in others:
                with _place(hit):
                    _link(plain(_where(hit)), hit.conversation_id, hit.message_id)
                    _draw_snippet(hit)


def _place(hit: Hit) -> DeltaGenerator:
    return st.container(key=f"history-hit-{hit.message_id or hit.conversation_id}", gap=None)


def _title(hit: Hit) -> str:
    return plain(hit.title) or "Untitled" if hit.message_id else marked(hit.snippet)


def _draw_snippet(hit: Hit) -> None:
    if hit.message_id:
        st.markdown(marked(hit.snippet), anchors=False)


def _where(hit: Hit) -> str:
    role = _ROLES.get(hit.role or "", "") if hit.message_id else "Title"
    return f"{role} · {hit.created_at:%-d %b %Y, %H:%M} UTC"


def marked(pieces: Sequence[tuple[str, bool]]) -> str:
    """A snippet as Markdown that shows its text as it is, the hits highlighted."""
    return "".join(f":orange-background[**{plain(text)}**]" if hit else _plain(text) for text, hit in pieces)


def _plain(text: str) -> str:
    """`plain` that keeps a space at either end."""
    ends = re.fullmatch(r"(\s?).*?(\s?)", text, re.DOTALL)
    return f"{' ' * bool(ends and ends[1])}{plain(text)}{' ' * bool(ends and ends[2])}" if text.strip() else " "


def draw_found(found: Found, words: str, *, more: bool) -> None:
    """A search's hits, and how many there are. `more`: so many were asked for, and there may be others."""
    if not found.hits:
        hint = " The search ended before the oldest messages: add a rarer word." if found.capped else ""
        draw_nothing(f"Nothing found for “{words}”", f"Try fewer words, another spelling, or fewer filters.{hint}")
        return
    together: dict[str, list[Hit]] = {}
    for hit in found.hits:
        together.setdefault(hit.conversation_id, []).append(hit)
    number = len(found.hits)
    if found.capped:
        st.caption("These words are in many places. The newest stand here: add a word to find older ones.")
    elif more:
        st.caption(f"The best {number:,} places")
    else:
        places = f"{number:,} place{'' if number == 1 else 's'}"
        where = f" in {acts.count(len(together))}" if len(together) < number else ""
        st.caption(f"{places}{where}, best first")
    for hits in together.values():
        draw_hits(hits)


def draw_shared(rows: Sequence[SharedRow]) -> None:
    """What colleagues share with the team."""
    if not rows:
        draw_nothing("Nothing is shared with you", "What colleagues share with the team stands here.")
    for row in rows:
        with st.container(key=f"history-shared-{row.share_id}", gap=None):
            st.page_link("shared.py", label=plain(row.title), query_params={"s": row.share_id}, width="stretch")
            may = "you may reply" if row.can_reply else "read only"
            st.caption(f"{plain(row.author)} · {may} · shared {ago(row.shared_at)}")


def draw_nothing(title: str, hint: str) -> None:
    """Says that there is nothing, and what to do."""
    with st.container(border=True, horizontal_alignment="center"):
        st.markdown(f"**{plain(title)}**", text_alignment="center")
        st.caption(plain(hint), text_alignment="center")
