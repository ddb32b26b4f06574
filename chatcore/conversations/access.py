"""Whose a conversation is: the one place where it is written down as SQL.

Owner first; then, in the owner's tenant only, a team share that lets everybody reply, and a workshop whose step it is,
for those who take part. What is shared read-only is read through the share (`sharing.py`), never as a conversation.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, exists, or_

from chatcore.accounts.principal import Principal
from chatcore.conversations.values import Need
from chatcore.db.tables import Conversation, Share, User, WorkshopParticipant, WorkshopStep, utcnow

OWNED: Final[ColumnElement[bool]] = and_(
    Conversation.tenant_id == bindparam("tenant"), Conversation.user_id == bindparam("user")
)
_TEAM_REPLIES: Final = (
    exists()
    .where(
        Share.conversation_id == Conversation.id,
        User.id == Conversation.user_id,
        User.disabled_at.is_(None),
        Share.kind == "team",
        Share.can_reply.is_(True),
        Share.revoked_at.is_(None),
        or_(Share.expires_at.is_(None), Share.expires_at > bindparam("now")),
    )
    .correlate(Conversation)
)
# By the step's own row: what a conversation says of a workshop is anybody's to say.
TAKES_PART: Final = (
    exists()
    .where(
        WorkshopStep.conversation_id == Conversation.id,
        WorkshopStep.tenant_id == bindparam("tenant"),
        WorkshopParticipant.session_id == WorkshopStep.session_id,
        WorkshopParticipant.user_id == bindparam("user"),
        WorkshopParticipant.removed_at.is_(None),
    )
    .correlate(Conversation)
)
REPLYABLE: Final[ColumnElement[bool]] = and_(
    Conversation.tenant_id == bindparam("tenant"),
    or_(Conversation.user_id == bindparam("user"), _TEAM_REPLIES, TAKES_PART),
)
# A temporary chat whose hour is over is gone, also before it is erased.
_LIVES: Final = or_(Conversation.expires_at.is_(None), Conversation.expires_at > bindparam("now"))
ALLOWED: Final[dict[Need, ColumnElement[bool]]] = {"own": and_(OWNED, _LIVES), "reply": and_(REPLYABLE, _LIVES)}


def scope(principal: Principal) -> dict[str, Any]:
    """The parameters of these conditions."""
    return {"tenant": principal.tenant_id, "user": principal.user_id, "now": utcnow()}
