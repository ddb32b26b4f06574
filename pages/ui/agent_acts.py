"""What can be done about an agent beside changing it: copy, export, import, archive, delete."""

from functools import partial
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.agents import Imported, ListedAgent, OpenedAgent
from chatcore.bootstrap import core
from pages.ui import acts, agent_choices, agent_state, confirm
from pages.ui.text import plain

EDIT: Final = "edit"
"""The parameter of the page's address: the id of the agent that is open, `new` for one that is made."""
_NOTE: Final = "agent_imported"
_ASKED: Final = "agent_archive_asked"
_ROUND: Final = "agent_round"  # with another key a popover is another one, and closed
_MAX_MB: Final = 1


def open_(agent_id: str | None) -> None:
    """Show an agent, a new one for None."""
    st.query_params[EDIT] = agent_id or "new"
    agent_state.forget()


def close() -> None:
    """Show all agents."""
    st.query_params.pop(EDIT, None)
    agent_state.forget()


def copy(principal: Principal, agent_id: str) -> None:
    """A private copy, opened."""
    made: list[str] = []
    if acts.act(lambda: made.append(core().agents.copy(principal, agent_id)), "The copy is yours alone."):
        open_(made[0])


def draw_menu(principal: Principal, agent: OpenedAgent) -> None:
    """The popover of an open agent."""
    if st.session_state.pop(_ASKED, False):
        archive(principal, agent.id, agent.content.name, is_team=agent.content.visibility == "team")
    with st.popover("More", icon=":material/more_horiz:", key=f"agent_more-{st.session_state.get(_ROUND, 0)}"):
        st.button("Make a copy", key="agent_copy", icon=":material/content_copy:", type="tertiary",
                  on_click=copy, args=(principal, agent.id))  # fmt: skip
        bases = agent_choices.knowledge(principal)
        st.download_button(
            "Export as JSON", partial(core().agents.export, principal, agent.id, bases), f"{agent.slug}.json",
            "application/json", key="agent_export", icon=":material/download:", type="tertiary", on_click="ignore",
        )  # fmt: skip
        if not agent.can_edit:
            return
        if agent.built_in:
            st.button("Back to what was shipped", key="agent_reset", icon=":material/settings_backup_restore:",
                      type="tertiary", on_click=_reset, args=(principal, agent))  # fmt: skip
        st.button("Archive", key="agent_archive", icon=":material/archive:", type="tertiary", on_click=_ask_archive)


def _ask_archive() -> None:
    """The dialog comes, and the menu goes: it would lie above it."""
    st.session_state[_ASKED] = True
    _next_round()


@st.dialog("Archive this agent?")
def archive(principal: Principal, agent_id: str, name: str, *, is_team: bool) -> None:
    """Take it from all lists, after a word of warning."""
    whose = "Nobody of your team" if is_team else "Nobody"
    st.markdown(f"{whose} can choose “{plain(name)}” any more. You can bring it back.")
    st.markdown("Conversations that had it go on without it.")
    if confirm.draw("Archive", "archive_agent"):
        _done(partial(core().agents.archive, principal, agent_id), "The agent is archived.")


@st.dialog("Delete for good?")
def delete(principal: Principal, agent: ListedAgent) -> None:
    """Delete an archived agent, after a word of warning."""
    st.markdown(f"“{plain(agent.name)}” and all its versions will be gone. This cannot be undone.")
    if confirm.draw("Delete", "delete_agent"):
        _done(partial(core().agents.delete, principal, agent.id), "The agent is deleted.")


@st.dialog("Discard what is not saved?")
def discard(principal: Principal, of: str | None, name: str) -> None:
    """Forget a draft, after a word of warning."""
    st.markdown(f"What you changed in “{plain(name)}” and did not save will be gone.")
    if confirm.draw("Discard", "discard_agent"):
        agent_state.forget()
        _done(partial(core().agents.drop_draft, principal, of), "What was not saved is gone.", leave=of is None)


def _done(work: partial[None], said: str, *, leave: bool = True) -> None:
    if acts.act(work, said) and leave:
        close()
    st.rerun()


def _reset(principal: Principal, agent: OpenedAgent) -> None:
    work = partial(core().agents.reset, principal, agent.id, agent.version)
    acts.act(work, "The agent is as it was shipped. What it was before is in its history.")


def draw_import(principal: Principal) -> None:
    """The popover with which an exported agent is taken in."""
    number = st.session_state.get(_ROUND, 0)
    with st.popover("Import", icon=":material/upload:", key=f"agent_import-{number}"):
        key = f"agent_file-{number}"
        st.markdown("An agent that was exported as JSON. It will be yours alone, until you share it.")
        st.file_uploader("Exported agent", type=["json"], key=key, max_upload_size=_MAX_MB, on_change=_import,
                         args=(principal, key))  # fmt: skip


def draw_imported() -> None:
    """What was left out of the last import, once."""
    if left_out := st.session_state.pop(_NOTE, ()):
        st.warning("\n".join(["Left out:", *(f"- {plain(one)}" for one in left_out)]), icon=":material/info:")


def _import(principal: Principal, key: str) -> None:
    file = st.session_state[key]
    if file is None:
        return
    _next_round()
    data = file.getvalue()
    made: list[Imported] = []

    def take() -> None:
        made.append(core().agents.import_(principal, data, agent_choices.find(principal).allowed))

    if acts.act(take, "The agent is imported."):
        st.session_state[_NOTE] = made[0].left_out
        open_(made[0].agent_id)


def restore(principal: Principal, agent_id: str) -> None:
    """Bring an archived one back."""
    acts.act(partial(core().agents.restore, principal, agent_id), "The agent is back.")


def _next_round() -> None:
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1
