"""The fields of an agent. What they hold is read with `agent_state.read`."""

from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.agents import (
    MAX_DESCRIPTION,
    MAX_HEADING,
    MAX_KNOWLEDGE,
    MAX_NAME,
    MAX_PEOPLE,
    MAX_PROMPT,
    MAX_QUESTION,
    MAX_SUGGESTIONS,
    MAX_TOKENS,
    MAX_TOOLS,
    MAX_UPLOAD,
    VARIABLES,
    VISIBILITIES,
    OpenedAgent,
    square,
)
from chatcore.bootstrap import core
from chatcore.errors import ChatcoreError
from pages.ui.agent_choices import Choices
from pages.ui.agent_state import KEY, put, value
from pages.ui.text import plain

_WHO: Final = {"own": "Only me", "people": "People I choose", "team": "The whole team"}
_PROBLEM: Final = "agent_picture_problem"
_ROUND: Final = "agent_picture_round"  # with another key it is another uploader, and empty


def draw(principal: Principal, agent: OpenedAgent | None, choices: Choices) -> None:
    """All of them; none can be changed where the agent is not theirs to change."""
    fixed = agent is not None and not agent.can_edit
    _draw_looks(fixed)
    _draw_prompt(principal, fixed)
    _draw_model(choices, fixed)
    _draw_tools(choices, fixed)
    _draw_suggestions(fixed)
    _draw_who(agent, choices, fixed)


def _draw_looks(fixed: bool) -> None:
    with st.container(key="agent_looks", horizontal=True, vertical_alignment="bottom"):
        picture = value("picture")
        if picture:
            st.image(picture, width=64)
        st.text_input("Name", key=f"{KEY}name", max_chars=MAX_NAME, disabled=fixed)
        st.text_input(
            "Emoji", key=f"{KEY}icon", max_chars=10, disabled=fixed, placeholder="" if fixed else "🧭", width=90,
            help="Stands before the name, and in place of a picture.",
        )  # fmt: skip
        if not fixed:
            _draw_picture(bool(picture))
    if problem := st.session_state.pop(_PROBLEM, None):
        st.error(plain(problem), icon=":material/error:")
    st.text_input(
        "Description", key=f"{KEY}description", max_chars=MAX_DESCRIPTION, disabled=fixed,
        placeholder="What it is good for, in a sentence",
    )  # fmt: skip


def _draw_picture(has_one: bool) -> None:
    number = st.session_state.get(_ROUND, 0)
    with st.popover("Picture", icon=":material/image:", key=f"agent_picture-{number}"):
        key = f"agent_upload-{number}"
        st.file_uploader(
            "A picture, cut to a square", type=["png", "jpg", "jpeg", "gif", "webp"], key=key,
            max_upload_size=MAX_UPLOAD // 2**20, on_change=_uploaded, args=(key,),
        )  # fmt: skip
        if has_one:
            st.button("Remove the picture", key="agent_no_picture", on_click=put, args=("picture", None))


def _uploaded(key: str) -> None:
    file = st.session_state[key]
    if file is None:
        return
    try:
        put("picture", square(file.getvalue()))
    except ChatcoreError as error:
        st.session_state[_PROBLEM] = str(error)
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1


def _draw_prompt(principal: Principal, fixed: bool) -> None:
    st.text_area(
        "System prompt", key=f"{KEY}prompt", height=260, max_chars=MAX_PROMPT, disabled=fixed,
        placeholder="Who it is, what it does and does not do, how it answers",
    )  # fmt: skip
    with st.expander(
        "Variables and preview", icon=":material/data_object:", key="agent_preview", on_change="rerun"
    ) as more:
        st.markdown("\n".join(f"- `{{{{{name}}}}}`: {said}" for name, said in VARIABLES.items()))
        if more.open:
            st.caption("What the model would read, asked by you now:")
            st.code(core().agents.preview(principal, value("prompt") or "") or " ", language=None, wrap_lines=True)


def _draw_model(choices: Choices, fixed: bool) -> None:
    names = ["", *choices.models]
    if (chosen := value("model")) and chosen not in names:
        names.append(chosen)
    st.selectbox(
        "Model", names, key=f"{KEY}model", disabled=fixed,
        format_func=lambda name: _model(choices, name),
        help="Chosen with the agent. Who asks can choose another.",
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(key="agent_temperature"):
            own = st.toggle("Set the temperature", key=f"{KEY}own_temperature", disabled=fixed)
            if own:
                st.session_state.setdefault(f"{KEY}temperature", 0.7)
                st.slider("Temperature", 0.0, 2.0, step=0.1, key=f"{KEY}temperature", disabled=fixed,
                          help="Low is steady, high is varied.")  # fmt: skip
        st.number_input(
            "Maximum tokens in a reply", min_value=1, max_value=MAX_TOKENS, value=None, step=100,
            key=f"{KEY}max_tokens", placeholder="The model's own limit", disabled=fixed,
        )  # fmt: skip


def _model(choices: Choices, name: str) -> str:
    return choices.models.get(name, f"{name} (not yours to use now)") if name else "As the person chooses"


def _draw_tools(choices: Choices, fixed: bool) -> None:
    named = {name: one.label for name, one in choices.tools.items()}
    chosen = value("tools") or []
    st.multiselect(
        "Tools", [*named, *(name for name in chosen if name not in named)], key=f"{KEY}tools", disabled=fixed,
        format_func=lambda name: named.get(name, f"{name} (not here now)"), max_selections=MAX_TOOLS,
        placeholder="What it may ask for while it answers" if named else "There are no tools to choose from",
    )  # fmt: skip
    for name in value("tools") or ():
        _draw_tool(choices, name, fixed)
    bases = value("knowledge") or []
    st.multiselect(
        "Knowledge", [*choices.knowledge, *(one for one in bases if one not in choices.knowledge)],
        key=f"{KEY}knowledge", disabled=fixed, max_selections=MAX_KNOWLEDGE,
        format_func=lambda one: choices.knowledge.get(one, "A knowledge base that you cannot see"),
        placeholder="Knowledge bases it searches" if choices.knowledge else "There are no knowledge bases yet",
    )  # fmt: skip


def _draw_tool(choices: Choices, name: str, fixed: bool) -> None:
    tool = choices.tools.get(name)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        said = f"**{plain(tool.label)}**  \n:gray[{plain(tool.description)}]" if tool else f"**{plain(name)}**"
        st.markdown(said, width="stretch")
        st.session_state.setdefault(f"{KEY}asks-{name}", tool.asks_first if tool else False)
        st.checkbox("Asks first", key=f"{KEY}asks-{name}", disabled=fixed,
                    help="Each call waits for a yes of the person who asked.")  # fmt: skip
    if tool and tool.why_not:
        st.caption(f":material/info: {plain(tool.why_not)}")


def _draw_suggestions(fixed: bool) -> None:
    count = value("suggestions")
    if count or not fixed:
        st.markdown("Suggestions", help="Stand below the empty chat: a heading, and the question that it asks.")
    for number in range(count):
        with st.container(border=True, gap="xxsmall", key=f"agent_suggestion-{number}"):
            with st.container(horizontal=True, vertical_alignment="bottom"):
                st.text_input("Heading", key=f"{KEY}heading-{number}", max_chars=MAX_HEADING, disabled=fixed)
                st.button("Remove", key=f"agent_unsuggest-{number}", icon=":material/close:", type="tertiary",
                          disabled=fixed, on_click=_unsuggest, args=(number,))  # fmt: skip
            st.text_area("Question", key=f"{KEY}question-{number}", max_chars=MAX_QUESTION, height=68, disabled=fixed)
    if count < MAX_SUGGESTIONS and not fixed:
        st.button("Add a suggestion", key="agent_suggest", icon=":material/add:", type="tertiary",
                  on_click=put, args=("suggestions", count + 1))  # fmt: skip


def _unsuggest(number: int) -> None:
    """The ones behind it move up."""
    last = value("suggestions") - 1
    for place in range(number, last):
        for field in ("heading", "question"):
            put(f"{field}-{place}", value(f"{field}-{place + 1}"))
    put(f"heading-{last}", "")
    put(f"question-{last}", "")
    put("suggestions", last)


def _draw_who(agent: OpenedAgent | None, choices: Choices, fixed: bool) -> None:
    if fixed:
        return
    if agent is not None and not agent.is_own:
        whose = "" if agent.owner_id is None else " Its owner alone can take it back."
        st.caption(f":material/group: The whole team uses it.{whose}")
        return
    st.radio("Who may use it", VISIBILITIES, key=f"{KEY}visibility", format_func=_WHO.__getitem__, horizontal=True)
    if value("visibility") == "people":
        st.session_state.setdefault(f"{KEY}people", [])
        gone = [one for one in value("people") if one not in choices.people]
        st.multiselect(
            "People", [*choices.people, *gone], key=f"{KEY}people", max_selections=MAX_PEOPLE,
            format_func=lambda one: choices.people.get(one, "Somebody who cannot sign in"),
        )  # fmt: skip
    st.caption("Who may use it can read its prompt, copy it and export it.")
