"""What a person changes about themself, but for the password: the name that is shown, and preferences."""

from typing import Any

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from chatcore.accounts import audit
from chatcore.accounts.principal import Principal
from chatcore.db.tables import User


def rename(session: Session, who: Principal, name: str) -> None:
    """Change the name. `name`: as `validation.clean_name` returned it."""
    session.execute(update(User).where(User.id == who.user_id).values(name=name))
    audit.record(session, who, "user.rename", who.user_id)


def has_password(session: Session, who: Principal) -> bool:
    """Whether a password is stored for them."""
    return session.scalar(select(User.password_hash).where(User.id == who.user_id)) is not None


def still_has_password(session: Session, who: Principal, password_hash: str) -> bool:
    """Whether it is still the one that was checked; nobody changes it until the transaction ends."""
    now = session.scalar(select(User.password_hash).where(User.id == who.user_id).with_for_update())
    return bool(now == password_hash)


def preferences(session: Session, who: Principal) -> dict[str, Any]:
    """Small JSON values by name."""
    return dict(session.scalar(_preferences(who)) or {})


def set_preferences(session: Session, who: Principal, values: dict[str, Any]) -> None:
    """Change the named ones, leave the others; None takes one away."""
    found = dict(session.scalar(_preferences(who).with_for_update()) or {}) | values
    kept = {name: value for name, value in found.items() if value is not None}
    session.execute(update(User).where(User.id == who.user_id).values(settings=kept))


def _preferences(who: Principal) -> Select[Any]:
    return select(User.settings).where(User.id == who.user_id, User.tenant_id == who.tenant_id)
