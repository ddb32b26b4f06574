"""The SQL of playbooks. Functions work inside the caller's transaction. What ships has no row."""

from typing import Any, Final

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.orm import Session

from chatcore.accounts.active import require_active
from chatcore.accounts.locks import serialize
from chatcore.accounts.principal import Principal
from chatcore.db.tables import Playbook as PlaybookRow
from chatcore.db.tables import User, utcnow
from chatcore.errors import Conflict, Forbidden, NotFound
from chatcore.ids import new_id
from chatcore.workshops import access, contents
from chatcore.workshops.shipped import SHIPPED
from chatcore.workshops.values import Content, Playbook

MOST: Final = 100  # of one person
GONE: Final = "This playbook does not exist, or it is not yours."
_ALL: Final = (
    select(*PlaybookRow.__table__.columns, User.name.label("owner"))
    .outerjoin(User, User.id == PlaybookRow.owner_id)
    .where(access.PLAYBOOK)
)
_LIST: Final = _ALL.where(PlaybookRow.archived_at.is_(None)).order_by(PlaybookRow.name, PlaybookRow.id)
_ARCHIVED: Final = (
    _ALL.where(access.PLAYBOOK_CHANGED, PlaybookRow.archived_at.is_not(None))
    .order_by(PlaybookRow.name, PlaybookRow.id)
)  # fmt: skip
_ONE: Final = _ALL.where(PlaybookRow.id == bindparam("id"))
_LOCK: Final = (
    select(PlaybookRow.version, PlaybookRow.archived_at)
    .where(access.PLAYBOOK_CHANGED, PlaybookRow.id == bindparam("id"))
    .with_for_update()
)
_OWN: Final = select(func.count()).select_from(PlaybookRow).where(
    access.PLAYBOOK, PlaybookRow.owner_id == bindparam("user"), PlaybookRow.archived_at.is_(None)
)  # fmt: skip


def listed(session: Session, principal: Principal, *, archived: bool = False) -> list[Playbook]:
    """What ships, then the team's by name; `archived`: the archived ones that the principal may bring back."""
    rows = session.execute(_ARCHIVED if archived else _LIST, access.scope(principal))
    shipped = [] if archived else [_shipped(one) for one in SHIPPED]
    return [*shipped, *(_value(row, principal) for row in rows)]


def one(session: Session, principal: Principal, playbook_id: str) -> Playbook:
    """A playbook, archived or not. Raises `NotFound`."""
    if playbook_id in SHIPPED:
        return _shipped(playbook_id)
    row = session.execute(_ONE, access.scope(principal) | {"id": playbook_id}).one_or_none()
    if row is None:
        raise NotFound(GONE)
    return _value(row, principal)


def create(session: Session, principal: Principal, content: Content) -> str:
    """Write a new one of the principal's; returns its id. Raises `Conflict` when one has 100."""
    require_active(session, principal)
    serialize(session, f"playbooks:{principal.user_id}")
    if (session.scalar(_OWN, access.scope(principal)) or 0) >= MOST:
        raise Conflict(f"You have {MOST} playbooks. Archive one that is no longer needed.")
    playbook_id = new_id("playbook")
    whose = {"id": playbook_id, "tenant_id": principal.tenant_id, "owner_id": principal.user_id}
    session.execute(insert(PlaybookRow).values(**whose, **_columns(content)))
    return playbook_id


def save(session: Session, principal: Principal, playbook_id: str, content: Content, version: int) -> int:
    """Write it over `version`; returns the new number. Raises `NotFound`, `Forbidden`, `Conflict`."""
    found = _locked(session, principal, playbook_id)
    if found.archived_at is not None:
        raise Conflict("This playbook is archived. Bring it back to change it.")
    if found.version != version:
        raise Conflict("Somebody changed this playbook while you did. Nothing of yours is saved yet.")
    _change(session, playbook_id, **_columns(content), version=version + 1)
    return version + 1


def archive(session: Session, principal: Principal, playbook_id: str, *, archived: bool) -> None:
    """Take it from the lists, or bring it back. Raises `NotFound`, `Forbidden`."""
    found = _locked(session, principal, playbook_id)
    if (found.archived_at is not None) != archived:
        _change(session, playbook_id, archived_at=utcnow() if archived else None)


def _locked(session: Session, principal: Principal, playbook_id: str) -> Any:
    require_active(session, principal)
    row = session.execute(_LOCK, access.scope(principal) | {"id": playbook_id}).one_or_none()
    if row is None:
        if one(session, principal, playbook_id).ships:
            raise Forbidden("This playbook comes with Chatcore. Make a copy to change it.")
        raise Forbidden("Only who made this playbook, and admins, can change it. Make a copy.")
    return row


def _change(session: Session, playbook_id: str, **values: Any) -> None:
    changed = update(PlaybookRow).where(PlaybookRow.id == playbook_id).values(updated_at=utcnow(), **values)
    session.execute(changed.execution_options(synchronize_session=False))


def _columns(content: Content) -> dict[str, Any]:
    return {"name": content.name, "description": content.description, "content": contents.packed(content)}


def _shipped(playbook_id: str) -> Playbook:
    return Playbook(playbook_id, SHIPPED[playbook_id], 0, None, ships=True, can_edit=False)


def _value(row: Any, principal: Principal) -> Playbook:
    return Playbook(
        row.id, contents.unpacked(row.content), row.version, row.owner, ships=False,
        can_edit=principal.is_admin or row.owner_id == principal.user_id,
        archived_at=row.archived_at, updated_at=row.updated_at,
    )  # fmt: skip
