"""The chat page's part of the sidebar: a new chat, model, agent, settings, recent conversations."""

from datetime import timedelta
from typing import Any, Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.agents import ListedAgent
from chatcore.bootstrap import core
from chatcore.conversations import RECENT, Conversation, ConversationSummary
from chatcore.db.tables import utcnow
from chatcore.errors import ChatcoreError
from chatcore.gateway import AUTO, Model
from chatcore.turns import MAX_COMPARED, TurnSettings
from pages.ui import message_actions
from pages.ui.text import plain

_PLACE: Final = "chat_place"  # which conversation the widgets below were last set for
_CHOSEN: Final = "chat_chosen"  # what was last chosen: Streamlit forgets the widgets while another page is shown
_SEEN: Final = "chat_seen"  # the list of recent conversations as it was drawn
_WIDGETS: Final = ("model", "compare", "agent", "own_temperature", "temperature", "max_tokens", "ask_anew")


def draw(principal: Principal, conversation: Conversation | None, agents: list[ListedAgent]) -> list[Model]:
    """All of it. What is chosen is read with `model_name`, `agent_id` and `settings`. Returns what there was to choose
    from."""
    models = choices(principal)
    _preselect(principal, conversation, agents, models)
    with st.sidebar:
        with st.container(key="top", horizontal=True, gap="xsmall"):
            st.button(
                "New chat", key="new_chat", icon=":material/edit_square:", width="stretch", shortcut="Ctrl+Shift+O",
                on_click=open_conversation, args=(None,),
            )  # fmt: skip
            wanted = st.button("Search", key="search", icon=":material/search:", shortcut="Ctrl+K")
        if wanted:
            st.switch_page("history.py")
        # In fixed places: what stands elsewhere in the next run would show twice until that run ends.
        with st.container():
            _draw_model(principal, conversation, models)
        labels = {agent.id: agent.label for agent in agents}
        st.selectbox(
            "Agent", list(labels), key="agent", format_func=lambda key: labels.get(key, key),
            on_change=_agent_chosen, args=(principal, conversation, agents),
            help=next((agent.description for agent in agents if agent.id == st.session_state.get("agent")), None),
        )  # fmt: skip
        _draw_settings(principal, conversation, models)
        _draw_recent(principal, conversation)
    st.session_state[_CHOSEN] = {key: st.session_state[key] for key in _WIDGETS if key in st.session_state}
    return models


def draw_elsewhere(principal: Principal) -> None:
    """On the other pages: a way to a new chat, and to the recent conversations."""
    with st.sidebar:
        with st.container(key="top", horizontal=True, gap="xsmall"):
            new = st.button(
                "New chat", key="new_chat", icon=":material/edit_square:", width="stretch", shortcut="Ctrl+Shift+O"
            )
            search = st.button("Search", key="search", icon=":material/search:", shortcut="Ctrl+K")
        if new or search:
            st.switch_page("chat.py" if new else "history.py")
        with st.container(key="recent", gap=None):
            heading = ""
            pinned, recent = core().conversations.pinned(principal), core().conversations.recent(principal)
            for summary in [*pinned, *recent]:
                if (day := _day(summary)) != heading:
                    heading = day
                    st.caption(day)
                st.page_link("chat.py", label=plain(summary.title), query_params={"c": summary.id})


def is_stale(principal: Principal, conversation: Conversation | None, *, running: bool) -> bool:
    """Whether the list, or the conversation that is shown at rest, is no longer as it was drawn. `running`: a
    turn ran in it when it was."""
    recent = core().conversations.pinned(principal) + core().conversations.recent(principal, _shown() + 1)
    for summary in recent:
        if conversation and summary.id == conversation.id:
            if summary.running != running or summary.last_message_at != conversation.last_message_at:
                return True
            break
    else:
        if conversation and core().conversations.head(principal, conversation.id) != conversation.head_message_id:
            return True
    return _signature(recent) != st.session_state.get(_SEEN)


def model_name() -> str:
    """The registry's name of the chosen model, empty where there is none."""
    return st.session_state.get("model") or ""


def asked_models() -> list[str]:
    """The chosen model, and those that are to answer beside it."""
    beside = [name for name in st.session_state.get("compare", ()) if name != model_name()]
    return [model_name(), *beside]


def agent_id() -> str | None:
    """The chosen agent's id."""
    return st.session_state.get("agent")


def settings() -> TurnSettings:
    """Temperature, max tokens and the cache, None where the agent, the model or the instance decides."""
    temperature = st.session_state.get("temperature") if st.session_state.get("own_temperature") else None
    cache = False if st.session_state.get("ask_anew") else None
    return TurnSettings(temperature, st.session_state.get("max_tokens"), cache)


def choices(principal: Principal) -> list[Model]:
    """The models and aliases to choose from, as they are for this person."""
    return core().gateway.choices(principal)


def open_conversation(conversation_id: str | None) -> None:
    """Show another conversation, a new one for None."""
    st.query_params.clear()
    if conversation_id:
        st.query_params["c"] = conversation_id
    message_actions.end_editing()


def _preselect(
    principal: Principal, conversation: Conversation | None, agents: list[ListedAgent], models: list[Model]
) -> None:
    """Set the widgets when another conversation is shown: from it, else from the link, else as they were."""
    place = conversation.id if conversation else f"new {st.query_params.get('model')} {st.query_params.get('agent')}"
    known = {model.name for model in models}
    for key, value in st.session_state.get(_CHOSEN, {}).items():
        st.session_state.setdefault(key, value)
    if st.session_state.get(_PLACE) != place:
        if not str(st.session_state.get(_PLACE, "new")).startswith("new"):
            st.session_state["compare"] = []  # for the conversation it was chosen in
        st.session_state[_PLACE] = place
        wanted = conversation.model if conversation else st.query_params.get("model")
        if wanted in known:
            st.session_state["model"] = wanted
        wanted_agent = conversation.agent_id if conversation else _agent_by_slug(agents, st.query_params.get("agent"))
        if wanted_agent in {agent.id for agent in agents}:
            st.session_state["agent"] = wanted_agent
            if conversation is None and wanted not in known:
                _bring_model(wanted_agent, agents, known)
        if conversation:
            _set_settings(TurnSettings.from_dict(conversation.settings))
    if st.session_state.get("model") not in known and (default := core().gateway.default(principal)):
        st.session_state["model"] = default.name
    if agents and st.session_state.get("agent") not in {agent.id for agent in agents}:
        st.session_state["agent"] = agents[0].id


def _agent_by_slug(agents: list[ListedAgent], wanted: str | None) -> str | None:
    """By slug or id; else by name, as two agents may have the same one."""
    asked = (wanted or "").lower()
    by_slug = next((agent.id for agent in agents if asked in (agent.slug, agent.id)), None)
    return by_slug or next((agent.id for agent in agents if asked and asked == agent.name.lower()), None)


def _agent_chosen(principal: Principal, conversation: Conversation | None, agents: list[ListedAgent]) -> None:
    """An agent brings its model along."""
    _bring_model(agent_id(), agents, {model.name for model in choices(principal)})
    _remember(principal, conversation)


def _bring_model(chosen: str | None, agents: list[ListedAgent], known: set[str]) -> None:
    model = next((agent.model for agent in agents if agent.id == chosen), None)
    if model in known:
        st.session_state["model"] = model


def _set_settings(chosen: TurnSettings) -> None:
    st.session_state["own_temperature"] = chosen.temperature is not None
    if chosen.temperature is not None:
        st.session_state["temperature"] = chosen.temperature
    st.session_state["max_tokens"] = chosen.max_tokens
    st.session_state["ask_anew"] = chosen.cache is False


def _draw_model(principal: Principal, conversation: Conversation | None, listed: list[Model]) -> None:
    models = {model.name: model for model in listed}
    st.selectbox(
        "Model", list(models), key="model", format_func=lambda name: _label(models[name]) if name in models else name,
        on_change=_remember, args=(principal, conversation), placeholder="No model can be used now",
    )  # fmt: skip
    chosen = models.get(model_name())
    if chosen and not chosen.available:
        st.caption(f":material/key_off: {plain(chosen.why_not)}")
    elif chosen and chosen.name == AUTO:
        st.caption("Chooses a model by the question, and says why.")
    elif chosen and chosen.demo:
        st.caption("A demo without a network: its replies are made up.")
    if conversation and conversation.model and conversation.model not in models:
        st.caption(f"{plain(conversation.model)} is no longer configured; the next reply comes from the model above.")


def _label(model: Model) -> str:
    return model.display_name if model.available else f"{model.display_name} – needs {model.missing[0]}"


def _draw_settings(principal: Principal, conversation: Conversation | None, models: list[Model]) -> None:
    with st.expander("Settings and compare", type="compact"):
        remember: dict[str, Any] = {"on_change": _remember, "args": (principal, conversation)}
        own = st.toggle(
            "Set the temperature", key="own_temperature", help="Else the agent or the model decides.", **remember
        )
        if own:
            st.session_state.setdefault("temperature", 0.7)
            st.slider(
                "Temperature", 0.0, 2.0, step=0.1, key="temperature", help="Low is steady, high is varied.", **remember
            )
        st.number_input(
            "Maximum tokens in a reply", min_value=1, max_value=1_000_000, value=None, step=100, key="max_tokens",
            placeholder="The model's own limit", **remember,
        )  # fmt: skip
        st.toggle(
            "Always ask the model", key="ask_anew", **remember,
            help="Else an identical question at a low temperature may get the reply it had within the hour, for free.",
        )  # fmt: skip
        _draw_compare(models)


def _draw_compare(listed: list[Model]) -> None:
    models = {model.name: model.display_name for model in listed if model.available and not model.alias_of}
    st.session_state["compare"] = [name for name in st.session_state.get("compare", ()) if name in models]
    st.multiselect(
        "Compare with", [name for name in models if name != model_name()], key="compare",
        format_func=lambda name: models.get(name, name), max_selections=MAX_COMPARED - 1,
        placeholder="Up to three more models",
        help="All answer each question, side by side, until you pick one to go on with. Each is billed.",
    )  # fmt: skip


def _remember(principal: Principal, conversation: Conversation | None) -> None:
    if conversation and conversation.user_id == principal.user_id:
        chosen = settings().as_dict()
        try:
            core().conversations.remember(principal, conversation.id, model_name(), agent_id(), chosen)
        except ChatcoreError as error:
            st.toast(str(error), icon=":material/error:")


def _draw_recent(principal: Principal, conversation: Conversation | None) -> None:
    shown = _shown()
    pinned, recent = core().conversations.pinned(principal), core().conversations.recent(principal, shown + 1)
    st.session_state[_SEEN] = _signature([*pinned, *recent])
    with st.container(key="recent", gap=None):
        heading = ""
        for summary in [*pinned, *recent[:shown]]:
            if (day := _day(summary)) != heading:
                heading = day
                st.caption(day)
            _draw_line(summary, current=conversation is not None and summary.id == conversation.id)
        if len(recent) > shown:
            st.button("Show more", key="recent_more", type="tertiary", on_click=_show_more, args=(shown,))


def _draw_line(summary: ConversationSummary, *, current: bool) -> None:
    st.button(
        plain(summary.title), key=f"open-{summary.id}", type="secondary" if current else "tertiary",
        icon=":material/progress_activity:" if summary.running else None, width="stretch", wrap=False,
        on_click=open_conversation, args=(summary.id,),
    )  # fmt: skip


def _shown() -> int:
    return int(st.session_state.get("recent_shown", RECENT))


def _signature(recent: list[ConversationSummary]) -> list[tuple[str, str, bool, str]]:
    """All of the list that is drawn."""
    return [(summary.id, summary.title, summary.running, _day(summary)) for summary in recent]


def _show_more(shown: int) -> None:
    st.session_state["recent_shown"] = shown + RECENT


def _day(summary: ConversationSummary) -> str:
    if summary.pinned:
        return "Pinned"
    today = utcnow().date()
    day = summary.last_message_at.date()
    if day >= today:
        return "Today"
    if day == today - timedelta(days=1):
        return "Yesterday"
    if day > today - timedelta(days=7):
        return "Previous 7 days"
    return f"{day:%B %Y}"
