"""Tools while a reply is being said: each call in its place, a question where one asks first, what came of it."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import streamlit as st

from chatcore.gateway import Delta
from pages.ui import attachments, parts

Decide = Callable[[str, bool], None]
"""Says yes or no to the call of this id."""
_MOST_SHOWN: Final = 600  # characters of the arguments that a person is asked about


class LiveTools:
    """The calls of one running reply, drawn below what was said before them in `box`."""

    def __init__(self, box: Any, key: str, decide: Decide | None) -> None:
        """`key`: tells this reply's elements from all others. `decide`: None for who cannot say."""
        self._box = box
        self._key = key
        self._decide = decide
        self._calls: dict[str, dict[str, Any]] = {}
        self._slots: dict[str, Any] = {}
        self._coming: dict[str, dict[str, Any]] = {}
        self._after: list[Mapping[str, Any]] = []
        self._drawn = 0

    def look_ahead(self, batch: Sequence[Delta]) -> None:
        """What came of calls by the end of this batch: each is drawn once for it. Of two containers that follow one
        another in the same place within a moment the page would mix the contents, and break."""
        for delta in batch:
            if delta.kind == "tool_result":
                said = json.loads(delta.text)
                self._coming[str(said["id"])] = self._coming.get(str(said["id"]), {}) | said

    def take(self, delta: Delta) -> None:
        """A call, or what came of one."""
        said = json.loads(delta.text)
        call_id = str(said.get("id") or len(self._calls))
        if delta.kind == "tool_call":
            self._calls[call_id] = {"type": "tool_call", "state": "pending", **said}
            self._slots[call_id] = self._box.empty()
        elif call_id not in self._coming or call_id not in self._calls:
            return  # drawn already
        became = self._coming.pop(call_id, {})
        self._after += became.pop("parts", ())
        self._calls[call_id] |= became
        with self._slots[call_id].container():
            self._draw(call_id)

    @property
    def has_more(self) -> bool:
        """Whether there is something for `draw_after`."""
        return bool(self._after)

    def draw_after(self) -> None:
        """The charts, tables and pictures of the calls so far, once the model goes on."""
        waiting, self._after = self._after, []
        with self._box:
            for part in waiting:
                self._drawn += 1
                if not parts.draw(part, key=f"{self._key}-{self._drawn}"):
                    attachments.draw([part])

    def _draw(self, call_id: str) -> None:
        call = self._calls[call_id]
        if call["state"] == "asking":
            self._ask(call_id, call)
        else:
            parts.draw_tool_call(call, running=True)

    def _ask(self, call_id: str, call: Mapping[str, Any]) -> None:
        with st.container(border=True, key=f"asks-{self._key}-{call_id}"):
            st.markdown(f":material/front_hand: May **{parts.tool_label(call)}** run?")
            st.code(str(call.get("arguments") or "{}")[:_MOST_SHOWN], language="json", wrap_lines=True)
            if self._decide is None:
                st.caption("It waits for the word of whoever asked.")
                return
            with st.container(horizontal=True, gap="small"):
                for label, word, approved in (("Allow", "allow", True), ("Refuse", "refuse", False)):
                    st.button(
                        label, key=f"{word}-{self._key}-{call_id}", type="primary" if approved else "secondary",
                        on_click=self._decide, args=(call_id, approved),
                    )  # fmt: skip
