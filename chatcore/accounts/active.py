"""Whether a principal still is who they were: asked again inside the transaction that acts for them.

A page hands its principal to callbacks that run before the page looks anew, so what was true when a button was drawn
need not be true when it is pressed.
"""

from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from chatcore.accounts import sessions
from chatcore.accounts.principal import Principal
from chatcore.db.tables import User
from chatcore.errors import Unauthorized

_ENABLED: Final = select(User.id).where(User.id == bindparam("user"), User.disabled_at.is_(None))


def require_active(session: Session, principal: Principal) -> None:
    """Raises `Unauthorized` when the person was disabled, or their browser session has ended since."""
    if principal.session_id is not None:
        active = sessions.principal(session, principal.session_id) is not None
    else:
        active = session.scalar(_ENABLED, {"user": principal.user_id}) is not None
    if not active:
        raise Unauthorized("You were signed out. Sign in again to go on.")
