"""Whether a principal still is who they were: asked again inside the transaction that acts for them.

A page hands its principal to callbacks that run before the page looks anew, so what was true when a button was drawn
need not be true when it is pressed.
"""

from typing import Final

from sqlalchemy import and_, bindparam, or_, select
from sqlalchemy.orm import Session

from chatcore.accounts import sessions
from chatcore.accounts.principal import Principal
from chatcore.db.tables import ApiKey, User, utcnow
from chatcore.errors import Unauthorized

_ENABLED: Final = select(User.id).where(User.id == bindparam("user"), User.disabled_at.is_(None))
KEY_LIVES: Final = and_(
    ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > bindparam("now"))
)
"""The condition of API keys that are neither revoked nor expired `now`."""
_KEYED: Final = _ENABLED.join(ApiKey, ApiKey.user_id == User.id).where(ApiKey.id == bindparam("key"), KEY_LIVES)


def require_active(session: Session, principal: Principal) -> None:
    """Raises `Unauthorized` when the person was disabled, or their browser session or API key has ended since."""
    if principal.key_id is not None:
        asked = {"user": principal.user_id, "key": principal.key_id, "now": utcnow()}
        if session.scalar(_KEYED, asked) is None:
            raise Unauthorized("This API key is expired or revoked.")
        return
    if principal.session_id is not None:
        active = sessions.principal(session, principal.session_id) is not None
    else:
        active = session.scalar(_ENABLED, {"user": principal.user_id}) is not None
    if not active:
        raise Unauthorized("You were signed out. Sign in again to go on.")
