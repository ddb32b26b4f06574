"""Above a workshop: who takes part, the file of the whole, and what its leader can do."""

from functools import partial
from typing import Final

import streamlit as st

from chatcore.accounts import Principal
from chatcore.bootstrap import core
from chatcore.conversations.export.document import file_name
from chatcore.db.tables import utcnow
from chatcore.workshops import MAX_NAME, Workshop
from pages.ui import session, workshop_acts
from pages.ui.text import plain

_INVITED: Final = "workshop_invited"


def draw(principal: Principal, workshop: Workshop) -> None:
    """Who takes part; for the leader: inviting, removing, opening."""
    label = f"{len(workshop.people)} {'person' if len(workshop.people) == 1 else 'people'}"
    with st.popover(label, icon=":material/group:", key="workshop_people", on_change="rerun") as more:
        if not more.open:
            return
        for one in workshop.people:
            with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
                st.markdown(f"{plain(one.name)}{' :gray[leads]' if one.is_owner else ''}", width="content")
                if workshop.is_owner and not one.is_owner:
                    st.button("Remove", key=f"workshop_remove-{one.user_id}", type="tertiary",
                              icon=":material/person_remove:", on_click=workshop_acts.remove,
                              args=(principal, workshop.id, one.user_id))  # fmt: skip
        if workshop.is_owner:
            _draw_inviting(principal, workshop)
        if workshop.open_to_team or workshop.is_owner:
            st.caption("The link. It works for everybody of your team." if workshop.open_to_team else
                       "The link. It works for who was invited.")  # fmt: skip
            st.code(f"{session.app_url()}/workshops?w={workshop.id}", language=None, wrap_lines=True)


def _draw_inviting(principal: Principal, workshop: Workshop) -> None:
    names = {one.user_id: one.name for one in core().workshops.invitable(principal, workshop.id)}
    st.multiselect("Invite", list(names), key=_INVITED, format_func=lambda one: names.get(one, one),
                   placeholder="People of your team" if names else "Everybody takes part already")  # fmt: skip
    st.button("Invite", key="workshop_invite", on_click=workshop_acts.invite, args=(principal, workshop.id, _INVITED),
              disabled=not st.session_state.get(_INVITED))  # fmt: skip
    key = f"workshop_open_to-{workshop.id}"
    st.session_state[key] = workshop.open_to_team
    st.toggle("Open to the team", key=key, on_change=workshop_acts.set_open, args=(principal, workshop.id, key),
              help="Everybody of your team who opens the link takes part.")  # fmt: skip


def draw_export(principal: Principal, workshop: Workshop) -> None:
    """The whole as a PDF, made when it is asked for, also while a reply is being written."""
    st.download_button(
        "PDF", partial(_pdf, principal, workshop.id), file_name(workshop.title, utcnow(), "pdf"), "application/pdf",
        key="workshop_pdf", icon=":material/picture_as_pdf:", on_click="ignore",
        help="All steps with their guidance, notes and conversations",
    )  # fmt: skip


def _pdf(principal: Principal, session_id: str) -> bytes:
    labels = {model.name: model.display_name for model in core().gateway.catalog.models()}
    return core().workshops.pdf(principal, session_id, labels=labels).data


def draw_menu(principal: Principal, workshop: Workshop) -> None:
    """Rename, end, archive; for who only takes part: leave."""
    with st.popover("More", icon=":material/more_horiz:", key="workshop_more"):
        if not workshop.is_owner:
            st.button("Leave this workshop", key="workshop_leave", icon=":material/logout:", type="tertiary",
                      on_click=workshop_acts.leave, args=(principal, workshop.id))  # fmt: skip
            return
        key = f"workshop_rename-{workshop.id}"
        st.text_input("Title", workshop.title, key=key, max_chars=MAX_NAME, on_change=workshop_acts.rename,
                      args=(principal, workshop.id, key))  # fmt: skip
        ended, archived = workshop.ended_at is not None, workshop.archived_at is not None
        st.button("Go on with it" if ended else "End the workshop", key="workshop_end", type="tertiary",
                  icon=":material/play_arrow:" if ended else ":material/flag:", on_click=workshop_acts.end,
                  args=(principal, workshop.id), kwargs={"ended": not ended})  # fmt: skip
        st.button("Bring back" if archived else "Archive", key="workshop_archive", type="tertiary",
                  icon=":material/unarchive:" if archived else ":material/archive:", on_click=workshop_acts.archive,
                  args=(principal, workshop.id), kwargs={"archived": not archived})  # fmt: skip
