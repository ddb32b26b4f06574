"""The SQL of agents. Functions work inside the caller's transaction."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.orm import Session

from chatcore.accounts import audit
from chatcore.accounts.active import require_active
from chatcore.accounts.locks import serialize
from chatcore.accounts.principal import Principal
from chatcore.agents import access
from chatcore.agents.contents import content_of, packed, tools_of
from chatcore.agents.values import Agent, Colleague, Content, ListedAgent, OpenedAgent
from chatcore.db import changed_rows
from chatcore.db.tables import Agent as AgentRow
from chatcore.db.tables import AgentVersion as VersionRow
from chatcore.db.tables import Conversation, User, utcnow
from chatcore.errors import Conflict, Forbidden, InvalidInput, NotFound
from chatcore.ids import new_id

MAX_AGENTS: Final = 200  # of one person
PLACE: Final = 1_000  # of what people make, behind what every tenant starts with
_SLUG: Final = 40

# Built once: pages run it for every click. Rows of columns, not entities: they cost a third. Without what is long.
_SHORT: Final = (
    *(AgentRow.id, AgentRow.slug, AgentRow.name, AgentRow.description, AgentRow.icon, AgentRow.model),
    *(AgentRow.suggestions, AgentRow.tools, AgentRow.visibility, AgentRow.owner_id, AgentRow.built_in),
    *(AgentRow.updated_at, AgentRow.picture.is_not(None).label("has_picture")),
)
_ORDER: Final = (AgentRow.position, AgentRow.name, AgentRow.id)
_LIST: Final = select(*_SHORT).where(access.VISIBLE).order_by(*_ORDER)
_ARCHIVED: Final = select(*_SHORT).where(access.EDITABLE, AgentRow.archived_at.is_not(None)).order_by(*_ORDER)
_USED: Final = select(*AgentRow.__table__.columns).where(access.USABLE, AgentRow.id == bindparam("id"))
_KNOWN: Final = select(*AgentRow.__table__.columns).where(access.KNOWN, AgentRow.id == bindparam("id"))
_LOCK: Final = select(AgentRow.id).where(access.EDITABLE, AgentRow.id == bindparam("id")).with_for_update()
_PICTURES: Final = select(AgentRow.id, AgentRow.picture).where(
    access.VISIBLE, AgentRow.picture.is_not(None), AgentRow.id.in_(bindparam("ids", expanding=True))
)
_OWN_TALK: Final = select(Conversation.agent_id).where(
    Conversation.tenant_id == bindparam("tenant"), Conversation.user_id == bindparam("user"),
    Conversation.agent_id.in_(bindparam("ids", expanding=True)),
)  # fmt: skip
_NAMES: Final = select(AgentRow.id, AgentRow.name).where(
    AgentRow.id.in_(bindparam("ids", expanding=True)),
    access.KNOWN | ((AgentRow.tenant_id == bindparam("tenant")) & AgentRow.id.in_(_OWN_TALK)),
)
_SLUGS: Final = select(AgentRow.slug).where(AgentRow.tenant_id == bindparam("tenant"))
_COLLEAGUES: Final = (
    select(User.id, User.name, User.username, User.disabled_at)
    .where(User.tenant_id == bindparam("tenant"), User.erased_at.is_(None), User.is_service.is_(False))
    .order_by(User.name, User.id)
)


def listed(session: Session, principal: Principal, *, archived: bool = False) -> list[ListedAgent]:
    """What the principal can choose from, in its order; or what they may bring back."""
    rows = session.execute(_ARCHIVED if archived else _LIST, access.scope(principal))
    return [_short(row, principal) for row in rows]


def find(session: Session, principal: Principal, agent_id: str | None) -> Agent | None:
    """The agent with that id as a turn uses it; None where it is not the principal's to use. Drafts are their
    writer's."""
    if agent_id is None:
        return None
    row = session.execute(_USED, access.scope(principal) | {"id": agent_id}).one_or_none()
    return None if row is None else _full(row)


def opened(session: Session, principal: Principal, agent_id: str) -> OpenedAgent:
    """An agent with all of its content, an archived one too. Raises `NotFound`."""
    row = session.execute(_KNOWN, access.scope(principal) | {"id": agent_id}).one_or_none()
    can_edit = row is not None and _may_edit(row, principal)
    if row is None or (row.archived_at is not None and not can_edit):
        raise NotFound("This agent does not exist, or it is not yours to use.")
    content = content_of(row._asdict())
    if not can_edit:  # with whom else it is shared is between its owner and them
        content = _without_people(content)
    return OpenedAgent(
        id=row.id, slug=row.slug, content=content, version=row.version, owner_id=row.owner_id,
        built_in=bool(row.built_in), is_own=row.owner_id == principal.user_id, can_edit=can_edit,
        archived_at=row.archived_at, updated_at=row.updated_at,
    )  # fmt: skip


def editable(session: Session, principal: Principal, agent_id: str, *, lock: bool = False) -> OpenedAgent:
    """`opened`, for who may change it. `lock`: nobody else changes it until this transaction ends. Raises `NotFound`,
    `Forbidden`, `Unauthorized`."""
    require_active(session, principal)
    if lock:
        session.execute(_LOCK, access.scope(principal) | {"id": agent_id})
    found = opened(session, principal, agent_id)
    if not found.can_edit:
        raise Forbidden("Only its owner, or an admin where it is the team's, can change this agent. Make a copy.")
    return found


def create(session: Session, principal: Principal, values: Mapping[str, Any], note: str) -> str:
    """Write a new agent with its first version. Raises `Conflict` where the person has too many."""
    require_active(session, principal)
    _require_people(session, principal, values["shared_with"])
    serialize(session, f"agents:{principal.tenant_id}")
    slugs = set(session.scalars(_SLUGS, {"tenant": principal.tenant_id}))
    mine = select(AgentRow.id).where(
        AgentRow.tenant_id == principal.tenant_id, AgentRow.owner_id == principal.user_id,
        AgentRow.visibility.in_(("own", "people", "team")),
    )  # fmt: skip
    if len(session.scalars(mine).all()) >= MAX_AGENTS:
        raise Conflict(f"You have {MAX_AGENTS} agents already. Delete one that you no longer need.")
    agent_id = new_id("agent")
    whose = {"tenant_id": principal.tenant_id, "owner_id": principal.user_id}
    slug = free_slug(values["name"], slugs)
    session.execute(insert(AgentRow).values(id=agent_id, slug=slug, position=PLACE, version=1, **whose, **values))
    keep_version(session, principal, agent_id, 1, values, note)
    return agent_id


def change(session: Session, principal: Principal, was: OpenedAgent, values: Mapping[str, Any], note: str) -> int:
    """Write a new version over `was`; returns its number. Raises `Conflict` where somebody was quicker."""
    if not was.is_own and values["visibility"] != "team":
        raise InvalidInput("Only its owner can take an agent back from the team. Archive it where nobody needs it.")
    added = set(values["shared_with"]) - set(was.content.shared_with)
    _require_people(session, principal, sorted(added))
    number = was.version + 1
    statement = update(AgentRow).where(AgentRow.id == was.id, AgentRow.version == was.version)
    changed = session.execute(statement.values(version=number, updated_at=utcnow(), **values))
    if not changed_rows(changed):
        raise Conflict("Somebody else saved this agent at the same moment. Look at it again.")
    keep_version(session, principal, was.id, number, values, note)
    return number


def keep_version(
    session: Session, principal: Principal, agent_id: str, number: int, values: Mapping[str, Any], note: str
) -> None:
    """Write a version."""
    session.execute(
        insert(VersionRow).values(
            agent_id=agent_id, number=number, tenant_id=principal.tenant_id, user_id=principal.user_id,
            content=packed(values), note=note,
        )
    )  # fmt: skip


def set_archived(session: Session, agent_id: str, *, archived: bool) -> None:
    """Take it from the lists, or put it back."""
    statement = update(AgentRow).where(AgentRow.id == agent_id)
    session.execute(statement.values(archived_at=utcnow() if archived else None, updated_at=utcnow()))


def note_sharing(session: Session, principal: Principal, agent_id: str, before: str, after: Content) -> None:
    """What admins want to know of: what the team has, and that somebody shares with others."""
    name = {"name": after.name} if "team" in (before, after.visibility) else {}
    if after.visibility == "team" and before != "team":
        audit.record(session, principal, "agent.share", agent_id, **name)
    elif before == "team" and after.visibility != "team":
        audit.record(session, principal, "agent.take_back", agent_id, **name)
    elif after.visibility == "team":
        audit.record(session, principal, "agent.change", agent_id, **name)
    if after.visibility == "people" and before != "people":
        audit.record(session, principal, "agent.share_people", agent_id, people=len(after.shared_with))


def pictures(session: Session, principal: Principal, ids: Sequence[str]) -> dict[str, bytes]:
    """The PNGs of these agents, of those that have one."""
    rows = session.execute(_PICTURES, access.scope(principal) | {"ids": list(ids)})
    return {agent_id: picture for agent_id, picture in rows if picture is not None}


def names(session: Session, principal: Principal, ids: Sequence[str]) -> dict[str, str]:
    """Names of agents that the principal may see, archived ones too, or that stand in a conversation of theirs."""
    rows = session.execute(_NAMES, access.scope(principal) | {"ids": list(ids)})
    return {row.id: row.name for row in rows}


def colleagues(session: Session, principal: Principal) -> list[Colleague]:
    """The people of the tenant, by name."""
    rows = session.execute(_COLLEAGUES, {"tenant": principal.tenant_id})
    return [Colleague(row.id, row.name or row.username, row.disabled_at is None) for row in rows]


def free_slug(name: str, taken: set[str]) -> str:
    """`travel-planner`, or `travel-planner-2` where that is taken; `agent` for a name without Latin letters."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_SLUG].strip("-") or "agent"
    number, found = 1, slug
    while found in taken:
        number += 1
        found = f"{slug}-{number}"
    return found


def _require_people(session: Session, principal: Principal, ids: Sequence[str]) -> None:
    """Raises `InvalidInput` where one of them is nobody of the tenant."""
    there = {one.id for one in colleagues(session, principal)} if ids else set()
    if not there.issuperset(ids):
        raise InvalidInput("Somebody whom you chose is not of your team. Choose the people again.")


def _may_edit(row: Any, principal: Principal) -> bool:
    return row.owner_id == principal.user_id or (row.visibility == "team" and principal.is_admin)


def _without_people(content: Content) -> Content:
    return Content(**{**vars(content), "shared_with": ()})


def _short(row: Any, principal: Principal) -> ListedAgent:
    return ListedAgent(
        id=row.id, slug=row.slug, name=row.name, description=row.description, icon=row.icon, model=row.model,
        suggestions=tuple(row.suggestions or ()), tools=tools_of(row.tools), visibility=row.visibility,
        owner_id=row.owner_id, built_in=bool(row.built_in), has_picture=bool(row.has_picture),
        updated_at=row.updated_at, is_own=row.owner_id == principal.user_id, can_edit=_may_edit(row, principal),
    )  # fmt: skip


def _full(row: Any) -> Agent:
    return Agent(
        id=row.id, slug=row.slug, name=row.name, description=row.description, system_prompt=row.system_prompt,
        model=row.model, parameters=row.parameters or {}, suggestions=tuple(row.suggestions or ()),
        tools=tools_of(row.tools), knowledge=tuple(row.knowledge or ()),
    )  # fmt: skip
