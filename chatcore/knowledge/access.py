"""Whose a knowledge base is: the one place where it is written down as SQL."""

from typing import Any, Final

from sqlalchemy import Boolean, ColumnElement, and_, bindparam, or_

from chatcore.accounts.principal import Principal
from chatcore.db.tables import KnowledgeBase, KnowledgeDocument

_LIVES: Final = and_(KnowledgeBase.tenant_id == bindparam("tenant"), KnowledgeBase.deleted_at.is_(None))
_OWNED: Final = KnowledgeBase.owner_id == bindparam("user")
_TEAM: Final = KnowledgeBase.visibility == "team"

READABLE: Final[ColumnElement[bool]] = and_(_LIVES, or_(_OWNED, _TEAM))
"""What a person may read and search: their own, and the team's."""
EDITABLE: Final[ColumnElement[bool]] = and_(_LIVES, or_(_OWNED, and_(_TEAM, bindparam("admin", type_=Boolean))))
"""What they may change: their own, and for admins the team's."""
THERE: Final[ColumnElement[bool]] = KnowledgeDocument.deleted_at.is_(None)
"""Documents that nobody deleted."""


def scope(principal: Principal) -> dict[str, Any]:
    """The parameters of these conditions."""
    return {"tenant": principal.tenant_id, "user": principal.user_id, "admin": principal.is_admin}
