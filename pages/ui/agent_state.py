"""The form of an agent as it stands in the session: filled from what is stored, read back, kept as it is typed.

Streamlit forgets the fields while another page is shown, and all of it when the tab is closed; what was typed is in the
database then, as a draft.
"""

from dataclasses import dataclass
from typing import Any, Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.agents import MAX_SUGGESTIONS, AgentTool, Content, OpenedAgent
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError
from pages.ui.agent_choices import Choices

KEY: Final = "agent-form-"
_STATE: Final = "agent_editing"
_DEFAULT_TEMPERATURE: Final = 0.7


@dataclass
class Editing:
    """What is being changed. `of`: the agent's id, None for a new one. `version`: the one that it was read as. `base`:
    what the form held then; `kept`: what of it is in the database, None for nothing. `draft_id`: who answers so."""

    of: str | None
    version: int
    base: Content
    kept: Content | None = None
    draft_id: str | None = None
    problem: str = ""

    @property
    def is_changed(self) -> bool:
        """Whether anything was typed that is not saved."""
        return read() != self.base


def opened(principal: Principal, agent: OpenedAgent | None, choices: Choices) -> Editing:
    """The form, filled where it is not yet, with the draft where there is one."""
    of = agent.id if agent else None
    found: Editing | None = st.session_state.get(_STATE)
    is_filled = f"{KEY}name" in st.session_state
    if found is None or found.of != of or not is_filled:
        return _open(principal, agent, choices)
    if agent and agent.version != found.version and not found.is_changed:
        return _open(principal, agent, choices)
    return found


def _open(principal: Principal, agent: OpenedAgent | None, choices: Choices) -> Editing:
    stored = agent.content if agent else Content("")
    fill(stored, choices)
    found = Editing(agent.id if agent else None, agent.version if agent else 0, read())
    draft = core().agents.draft(principal, found.of) if agent is None or agent.can_edit else None
    if draft is not None:
        fill(draft.content, choices)
        found.version, found.kept, found.draft_id = draft.version, read(), draft.agent_id
    st.session_state[_STATE] = found
    return found


def keep(principal: Principal, editing: Editing) -> None:
    """Store what was typed since; forget the draft where all is again as it was."""
    now = read()
    if now == (editing.base if editing.kept is None else editing.kept):
        return
    try:
        if now == editing.base:
            core().agents.drop_draft(principal, editing.of)
            editing.kept, editing.draft_id = None, None
        else:
            editing.draft_id = core().agents.keep_draft(principal, editing.of, now, editing.version)
            editing.kept = now
        editing.problem = ""
    except ChatcoreError as error:
        editing.problem = str(error)


def forget() -> None:
    """The form is filled anew in the next run."""
    st.session_state.pop(_STATE, None)
    for key in [key for key in st.session_state if str(key).startswith(KEY)]:
        del st.session_state[key]


def fill(content: Content, choices: Choices) -> None:
    """Set all fields."""
    temperature = content.parameters.get("temperature")
    values: dict[str, Any] = {
        "name": content.name, "icon": content.icon, "description": content.description,
        "prompt": content.system_prompt, "model": content.model or "", "own_temperature": temperature is not None,
        "temperature": float(_DEFAULT_TEMPERATURE if temperature is None else temperature),
        "max_tokens": content.parameters.get("max_tokens"), "tools": [one.name for one in content.tools],
        "knowledge": list(content.knowledge), "visibility": content.visibility, "people": list(content.shared_with),
        "picture": content.picture, "suggestions": len(content.suggestions),
        "asking": {name: one.asks_first for name, one in choices.tools.items()},
    }  # fmt: skip
    for number in range(MAX_SUGGESTIONS):
        one = content.suggestions[number] if number < len(content.suggestions) else ""
        values[f"heading-{number}"], _, values[f"question-{number}"] = one.partition("\n")
    for tool in content.tools:
        default = values["asking"].get(tool.name, False)
        values[f"asks-{tool.name}"] = default if tool.asks_first is None else tool.asks_first
    for name, value in values.items():
        st.session_state[KEY + name] = value


def read() -> Content:
    """What the fields say."""
    parameters: dict[str, Any] = {}
    if value("own_temperature"):
        parameters["temperature"] = value("temperature")
    if value("max_tokens"):
        parameters["max_tokens"] = value("max_tokens")
    rows = [
        (value(f"heading-{place}") or "", value(f"question-{place}") or "") for place in range(value("suggestions"))
    ]
    return Content(
        name=value("name") or "", description=value("description") or "", icon=value("icon") or "",
        picture=value("picture"), system_prompt=value("prompt") or "", model=value("model") or None,
        parameters=parameters, suggestions=tuple(f"{heading}\n{question}" for heading, question in rows),
        tools=tuple(AgentTool(name, _asks(name)) for name in value("tools") or ()),
        knowledge=tuple(value("knowledge") or ()), visibility=value("visibility"),
        shared_with=tuple(value("people") or ()) if value("visibility") == "people" else (),
    )  # fmt: skip


def value(name: str) -> Any:
    """What a field holds."""
    return st.session_state.get(KEY + name)


def put(name: str, new: Any) -> None:
    """Set a field, before it is drawn."""
    st.session_state[KEY + name] = new


def _asks(tool: str) -> bool | None:
    """None where it is what the tool says itself."""
    default = value("asking").get(tool, False)
    chosen = st.session_state.get(f"{KEY}asks-{tool}", default)
    return None if chosen == default else bool(chosen)
