"""The audit log: who did what to whom, from where. Written in the transaction of the act itself."""

from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.db.tables import AuditEntry, BrowserSession
from chatcore.ids import new_id


def record(session: Session, principal: Principal, action: str, target: str = "", **details: Any) -> None:
    """Note an act of `principal`. `target`: the id of what was acted on. `details`: JSON values, never a secret."""
    address = None
    if principal.session_id:
        address = session.scalar(select(BrowserSession.address).where(BrowserSession.id == principal.session_id))
    note(session, principal.tenant_id, principal.user_id or None, action, target, address or "", **details)


def note(
    session: Session,
    tenant_id: str,
    user_id: str | None,
    action: str,
    target: str = "",
    address: str = "",
    **details: Any,
) -> None:
    """Note an act where there is no principal yet. `user_id` is None for the command line and the start."""
    session.execute(
        insert(AuditEntry).values(
            id=new_id("aud"),
            tenant_id=tenant_id,
            user_id=user_id,
            action=action,
            target=target,
            details=details,
            address=address,
        )
    )
