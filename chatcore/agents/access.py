"""Whose an agent is: the one place where it is written down as SQL."""

from typing import Any, Final

from sqlalchemy import Boolean, ColumnElement, Text, and_, bindparam, cast, or_

from chatcore.accounts.principal import Principal
from chatcore.db.tables import Agent

DRAFT: Final = "draft"
"""The visibility of what is not saved yet: a row that answers for its owner, and is in no list."""
GONE: Final = "gone"
"""The visibility of what was deleted for good: nothing is left but the name, for old conversations."""

_IN_TENANT: Final = Agent.tenant_id == bindparam("tenant")
_LIVES: Final = Agent.archived_at.is_(None)
_OWNED: Final = Agent.owner_id == bindparam("user")
_SHARED: Final = and_(Agent.visibility == "people", cast(Agent.shared_with, Text).like(bindparam("listed"), escape="/"))
_SEEN: Final = or_(Agent.visibility == "team", and_(_OWNED, Agent.visibility.in_(("own", "people"))), _SHARED)
_CHANGED_BY: Final = or_(
    and_(_OWNED, Agent.visibility.in_(("own", "people", "team"))),
    and_(Agent.visibility == "team", bindparam("admin", type_=Boolean)),
)

VISIBLE: Final[ColumnElement[bool]] = and_(_IN_TENANT, _LIVES, _SEEN)
"""What a person may see, use, copy and export: the team's, their own, and what was shared with them."""
USABLE: Final[ColumnElement[bool]] = and_(_IN_TENANT, _LIVES, or_(_SEEN, and_(_OWNED, Agent.visibility == DRAFT)))
"""What may answer them: these, and their own drafts."""
KNOWN: Final[ColumnElement[bool]] = and_(_IN_TENANT, _SEEN)
"""These, archived ones too."""
EDITABLE: Final[ColumnElement[bool]] = and_(_IN_TENANT, _CHANGED_BY)
"""What they may change: their own, and for admins the team's."""


def scope(principal: Principal) -> dict[str, Any]:
    """The parameters of these conditions."""
    listed = f'%"{principal.user_id.replace("/", "//").replace("_", "/_").replace("%", "/%")}"%'
    return {
        "tenant": principal.tenant_id,
        "user": principal.user_id,
        "admin": principal.is_admin,
        "listed": listed,
    }
