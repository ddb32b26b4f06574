"""Who may see and change what of workshops: the one place where it is written down as SQL."""

from typing import Any, Final

from sqlalchemy import Boolean, ColumnElement, and_, bindparam, exists, or_

from chatcore.accounts.principal import Principal
from chatcore.db.tables import Playbook, WorkshopParticipant, WorkshopSession

_SESSION: Final = WorkshopSession.tenant_id == bindparam("tenant")
_MINE: Final = exists().where(
    WorkshopParticipant.session_id == WorkshopSession.id, WorkshopParticipant.user_id == bindparam("user")
).correlate(WorkshopSession)  # fmt: skip
_IN_IT: Final = exists().where(
    WorkshopParticipant.session_id == WorkshopSession.id, WorkshopParticipant.user_id == bindparam("user"),
    WorkshopParticipant.removed_at.is_(None),
).correlate(WorkshopSession)  # fmt: skip

TAKES_PART: Final[ColumnElement[bool]] = and_(_SESSION, _IN_IT)
"""Sessions whose all a person may read, and in which they may ask and write notes."""
JOINABLE: Final[ColumnElement[bool]] = and_(
    _SESSION, WorkshopSession.open_to_team.is_(True), WorkshopSession.archived_at.is_(None), ~_MINE
)
"""Those that let them in: open to the team, and nobody has removed them from it."""
LISTED: Final[ColumnElement[bool]] = or_(TAKES_PART, JOINABLE)
"""What stands in their list."""
LEADS: Final[ColumnElement[bool]] = and_(_SESSION, WorkshopSession.owner_id == bindparam("user"))
"""Those that they lead."""

PLAYBOOK: Final[ColumnElement[bool]] = Playbook.tenant_id == bindparam("tenant")
"""Playbooks that a person may read, use and copy: all of the team's."""
PLAYBOOK_CHANGED: Final[ColumnElement[bool]] = and_(
    PLAYBOOK, or_(Playbook.owner_id == bindparam("user"), bindparam("admin", type_=Boolean))
)
"""Those that they may change: their own, and for admins the team's."""


def scope(principal: Principal) -> dict[str, Any]:
    """The parameters of these conditions."""
    return {"tenant": principal.tenant_id, "user": principal.user_id, "admin": principal.is_admin}
