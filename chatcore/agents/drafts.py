"""What is not saved yet: kept as it is typed, and able to answer its writer.

A draft is a row of `agents` that no list has (`access.DRAFT`), one for each person and the agent they change; what it
is to become stands in its one version. Conversations may name it, so it is emptied and kept, never deleted.
"""

from typing import Any, Final

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from chatcore.accounts.active import require_active
from chatcore.accounts.locks import serialize
from chatcore.accounts.principal import Principal
from chatcore.agents import access, store
from chatcore.agents.contents import unpacked
from chatcore.agents.values import Draft, Unsaved
from chatcore.db.tables import Agent as AgentRow
from chatcore.db.tables import AgentVersion as VersionRow
from chatcore.db.tables import utcnow
from chatcore.ids import new_id

_NEW: Final = "new"
_UNTITLED: Final = "Untitled"
_MARK: Final = " (draft)"
_ALL: Final = (
    select(AgentRow.slug, AgentRow.name, AgentRow.updated_at)
    .where(
        AgentRow.tenant_id == bindparam("tenant"), AgentRow.owner_id == bindparam("user"),
        AgentRow.visibility == access.DRAFT, AgentRow.archived_at.is_(None),
    )
    .order_by(AgentRow.updated_at.desc())
)  # fmt: skip
_FIND: Final = select(AgentRow.id, AgentRow.version, AgentRow.updated_at, AgentRow.archived_at).where(
    AgentRow.tenant_id == bindparam("tenant"), AgentRow.owner_id == bindparam("user"),
    AgentRow.visibility == access.DRAFT, AgentRow.slug == bindparam("slug"),
)  # fmt: skip
EMPTY: Final[dict[str, Any]] = {
    "description": "", "icon": "", "picture": None, "system_prompt": "", "model": None, "parameters": {}, "tools": [],
    "suggestions": [], "knowledge": [], "shared_with": [],
}  # fmt: skip
"""What nothing is left of."""


def get(session: Session, principal: Principal, of: str | None) -> Draft | None:
    """The person's draft of the agent `of`, of a new one for None."""
    row = _row(session, principal, of)
    if row is None or row.archived_at is not None:
        return None
    kept = session.scalar(select(VersionRow.content).where(VersionRow.agent_id == row.id))
    return Draft(row.id, unpacked(kept), row.version, row.updated_at) if kept else None


def listed(session: Session, principal: Principal) -> list[Unsaved]:
    """All that the person did not save yet, newest first."""
    rows = session.execute(_ALL, {"tenant": principal.tenant_id, "user": principal.user_id})
    found = ((row.slug.rpartition(":")[2], row) for row in rows)
    return [Unsaved(None if of == _NEW else of, row.name.removesuffix(_MARK), row.updated_at) for of, row in found]


def keep(session: Session, principal: Principal, of: str | None, values: dict[str, Any], version: int) -> str:
    """Write it over the one that was there; returns the id of the agent that answers so. Raises as `store.editable`."""
    require_active(session, principal)
    if of is not None:
        store.editable(session, principal, of)
    serialize(session, f"draft:{principal.user_id}")
    row = _row(session, principal, of)
    agent_id = row.id if row else new_id("agent")
    shown = {**values, "name": f"{values['name'] or _UNTITLED}{_MARK}", "visibility": access.DRAFT, "shared_with": []}
    shown |= {"version": version, "updated_at": utcnow(), "archived_at": None}
    if row is None:
        whose = {"tenant_id": principal.tenant_id, "owner_id": principal.user_id, "slug": _slug(principal, of)}
        session.execute(insert(AgentRow).values(id=agent_id, **whose, **shown))
    else:
        session.execute(update(AgentRow).where(AgentRow.id == agent_id).values(**shown))
    session.execute(delete(VersionRow).where(VersionRow.agent_id == agent_id))
    store.keep_version(session, principal, agent_id, version, values, "")
    return agent_id


def drop(session: Session, principal: Principal, of: str | None) -> None:
    """Nothing is left of it, if there is one."""
    row = _row(session, principal, of)
    if row is not None:
        session.execute(delete(VersionRow).where(VersionRow.agent_id == row.id))
        gone = update(AgentRow).where(AgentRow.id == row.id)
        session.execute(gone.values(name="Draft", archived_at=utcnow(), **EMPTY))


def _row(session: Session, principal: Principal, of: str | None) -> Any:
    whose = {"tenant": principal.tenant_id, "user": principal.user_id}
    return session.execute(_FIND, whose | {"slug": _slug(principal, of)}).one_or_none()


def _slug(principal: Principal, of: str | None) -> str:
    """With signs that no slug of an agent has, so that no link leads here."""
    return f"draft:{principal.user_id}:{of or _NEW}"
