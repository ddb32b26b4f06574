"""The form of a playbook: its prompt, and its steps, which can be added, moved and removed."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.errors import NotFound
from chatcore.workshops import (
    MAX_DESCRIPTION,
    MAX_GUIDANCE,
    MAX_NAME,
    MAX_PROMPT,
    MAX_STEPS,
    Content,
    Playbook,
    Step,
    step_id,
)
from pages.ui import acts, workshop_acts
from pages.ui.markdown import segments
from pages.ui.text import plain

_KEY: Final = "playbook-"
_OPEN: Final = "playbook_open"  # which playbook the fields hold, its version, and its steps' ids in their order
_FIELDS: Final = ("title", "guidance", "prompt", "agent", "brings")
_NOBODY: Final = ""


def draw(principal: Principal, playbook_id: str) -> None:
    """`playbook_id`: `new` for one that is made."""
    try:
        found = None if playbook_id == workshop_acts.NEW else core().workshops.playbook(principal, playbook_id)
    except NotFound as error:
        st.info(str(error), icon=":material/search_off:")
        workshop_acts.draw_back()
        return
    workshop_acts.draw_back()
    if found is not None and not (found.can_edit and found.archived_at is None):
        _draw_to_read(principal, found)
        return
    _open(playbook_id, found)
    _draw_bar(principal, playbook_id, found)
    if found is not None and found.version != _version():
        st.warning("Somebody changed this playbook while you did. Copy what you need, discard yours, and begin anew.",
                   icon=":material/group:")  # fmt: skip
    _draw_form(principal)


def _draw_bar(principal: Principal, playbook_id: str, found: Playbook | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        name = st.session_state.get(f"{_KEY}name") or "New playbook"
        st.title(plain(name), anchor=False, width="content")
        with st.container(horizontal=True, width="content", gap="small"):
            if found is not None:
                st.button("Archive", key="playbook_archive", icon=":material/archive:", type="tertiary",
                          on_click=workshop_acts.archive_playbook, args=(principal, found.id),
                          kwargs={"archived": True})  # fmt: skip
            st.button("Discard changes", key="playbook_discard", type="tertiary", on_click=_discard)
            st.button("Save", key="playbook_save", type="primary", icon=":material/check:", on_click=_save,
                      args=(principal, playbook_id))  # fmt: skip
    st.caption("Workshops keep the playbook as it was when they began. What you change is for the next ones.")


def _draw_form(principal: Principal) -> None:
    st.text_input("Name", key=f"{_KEY}name", max_chars=MAX_NAME)
    st.text_input("Description", key=f"{_KEY}description", max_chars=MAX_DESCRIPTION,
                  placeholder="What it is good for, in a sentence")  # fmt: skip
    st.text_area("System prompt for all steps", key=f"{_KEY}prompt", height=140, max_chars=MAX_PROMPT,
                 placeholder="Who the assistant is in this workshop, and how it works with the team")  # fmt: skip
    st.subheader("Steps", anchor=False)
    agents = {one.id: one.label for one in core().agents.list(principal)}
    ids = _ids()
    for number in range(len(ids)):
        _draw_step(ids, number, agents)
    st.button("Add a step", key="playbook_add", icon=":material/add:", on_click=_add, disabled=len(ids) >= MAX_STEPS)


def _draw_step(ids: Sequence[str], number: int, agents: Mapping[str, str]) -> None:
    one = ids[number]
    with st.expander(f"{number + 1}. {plain(_title(one))}", key=f"playbook_step-{one}"):
        st.text_input("Title", key=_field(one, "title"), max_chars=MAX_NAME)
        st.text_area("Guidance for the team", key=_field(one, "guidance"), height=140, max_chars=MAX_GUIDANCE,
                     placeholder="What to do in this step, and when it is done. Markdown.")  # fmt: skip
        st.text_area("System prompt of this step", key=_field(one, "prompt"), height=140, max_chars=MAX_PROMPT,
                     placeholder="What the model does in this step, and what it leaves alone")  # fmt: skip
        chosen = st.session_state.get(_field(one, "agent")) or _NOBODY
        st.selectbox(
            "Agent", [_NOBODY, *agents, *([chosen] if chosen and chosen not in agents else [])],
            key=_field(one, "agent"), help="Answers in this step, with its own prompt, tools and knowledge.",
            format_func=lambda key: agents.get(key, "An agent that you cannot use") if key else "Nobody in particular",
        )  # fmt: skip
        earlier = {key: f"{place}. {_title(key)}" for place, key in enumerate(ids[:number], 1)}
        st.session_state[_field(one, "brings")] = [
            key for key in st.session_state.get(_field(one, "brings"), ()) if key in earlier
        ]
        st.multiselect(
            "Bring forward the notes of", list(earlier), key=_field(one, "brings"), disabled=not earlier,
            format_func=lambda key: earlier.get(key, key),
            placeholder="Earlier steps whose notes the model reads" if earlier else "This is the first step",
        )  # fmt: skip
        with st.container(horizontal=True, gap="small"):
            st.button("Up", key=f"playbook_up-{one}", icon=":material/arrow_upward:", type="tertiary",
                      disabled=number == 0, on_click=_move, args=(number, -1))  # fmt: skip
            st.button("Down", key=f"playbook_down-{one}", icon=":material/arrow_downward:", type="tertiary",
                      disabled=number == len(ids) - 1, on_click=_move, args=(number, 1))  # fmt: skip
            st.button("Remove", key=f"playbook_remove-{one}", icon=":material/delete:", type="tertiary",
                      disabled=len(ids) == 1, on_click=_remove, args=(number,))  # fmt: skip


def _draw_to_read(principal: Principal, found: Playbook) -> None:
    """A playbook that is not theirs to change."""
    st.title(plain(found.content.name), anchor=False)
    why = "It comes with Chatcore." if found.ships else f"It is from {plain(found.owner or 'a former teammate')}."
    if found.archived_at is not None:
        why = "It is in the archive."
    st.info(f"You can use this playbook, not change it. {why}", icon=":material/lock:")
    st.button("Copy", key="playbook_copy", icon=":material/content_copy:", on_click=workshop_acts.copy_playbook,
              args=(principal, found.id))  # fmt: skip
    st.markdown(plain(found.content.description))
    with st.expander("System prompt for all steps"):
        st.text(found.content.system_prompt or "None")
    for number, step in enumerate(found.content.steps, 1):
        with st.expander(f"{number}. {plain(step.title)}"):
            for segment in segments(step.guidance):
                st.markdown(segment)
            st.caption("System prompt")
            st.text(step.system_prompt or "None")


# ---- what the fields hold


def _open(playbook_id: str, found: Playbook | None) -> None:
    """Fill the fields when another playbook is shown; what was typed of this one stays."""
    kept = st.session_state.get(_OPEN)
    if kept and kept["of"] == playbook_id:
        for key, value in kept["values"].items():  # Streamlit forgets them while another page is shown
            st.session_state.setdefault(key, value)
    else:
        content = found.content if found else Content("", steps=(Step("step-1", ""),))
        st.session_state[_OPEN] = {
            "of": playbook_id, "version": found.version if found else 0, "ids": [one.id for one in content.steps],
            "values": {},
        }  # fmt: skip
        values: dict[str, Any] = {f"{_KEY}name": content.name, f"{_KEY}description": content.description}
        values[f"{_KEY}prompt"] = content.system_prompt
        for one in content.steps:
            typed = (one.title, one.guidance, one.system_prompt, one.agent_id or _NOBODY, list(one.brings))
            values |= {_field(one.id, name): value for name, value in zip(_FIELDS, typed, strict=True)}
        st.session_state.update(values)
    _keep()


def _keep() -> None:
    values = {key: value for key, value in st.session_state.items() if str(key).startswith(_KEY)}
    st.session_state[_OPEN]["values"] = values


def _field(one: str, name: str) -> str:
    return f"{_KEY}{name}-{one}"


def _title(one: str) -> str:
    return str(st.session_state.get(_field(one, "title")) or "New step")


def _ids() -> list[str]:
    return list(st.session_state[_OPEN]["ids"])


def _version() -> int:
    return int(st.session_state[_OPEN]["version"])


def _read() -> Content:
    """What stands in the fields. A step that was added gets its id from its title."""
    ids = _ids()
    named: dict[str, str] = {}
    for one in ids:
        title = str(st.session_state.get(_field(one, "title")) or "")
        is_new = one.startswith("new/")
        named[one] = step_id(title, [*named.values(), *ids]) if is_new else one
    steps = tuple(
        Step(
            id=named[one],
            title=str(st.session_state.get(_field(one, "title")) or ""),
            guidance=str(st.session_state.get(_field(one, "guidance")) or ""),
            system_prompt=str(st.session_state.get(_field(one, "prompt")) or ""),
            agent_id=st.session_state.get(_field(one, "agent")) or None,
            brings=tuple(named[key] for key in st.session_state.get(_field(one, "brings")) or () if key in named),
        )
        for one in ids
    )
    name, description, prompt = (
        str(st.session_state.get(f"{_KEY}{of}") or "") for of in ("name", "description", "prompt")
    )
    return Content(name, description, prompt, steps)


def _add() -> None:
    opened = st.session_state[_OPEN]
    number = 1 + max((int(one[4:]) for one in opened["ids"] if one.startswith("new/")), default=0)
    opened["ids"] = [*opened["ids"], f"new/{number}"]


def _move(number: int, by: int) -> None:
    ids = _ids()
    ids[number], ids[number + by] = ids[number + by], ids[number]
    st.session_state[_OPEN]["ids"] = ids


def _remove(number: int) -> None:
    ids = _ids()
    gone = ids.pop(number)
    st.session_state[_OPEN]["ids"] = ids
    for name in _FIELDS:
        st.session_state.pop(_field(gone, name), None)


def _discard() -> None:
    st.session_state.pop(_OPEN, None)


def _save(principal: Principal, playbook_id: str) -> None:
    _keep()
    content, workshops = _read(), core().workshops
    if playbook_id != workshop_acts.NEW:
        work = partial(workshops.save_playbook, principal, playbook_id, content, _version())
        if acts.act(work, "The playbook is saved."):
            st.session_state.pop(_OPEN)
        return
    made: list[str] = []
    if acts.act(lambda: made.append(workshops.create_playbook(principal, content)), "The playbook is saved."):
        st.session_state.pop(_OPEN)
        workshop_acts.open_playbook(made[0])
