"""The versions of an agent: each save is one, and going back is a new one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import unified_diff
from typing import Any, Final

from sqlalchemy import bindparam, insert, select
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.agents import store
from chatcore.agents.built_in import BUILT_IN
from chatcore.agents.contents import checked, packed, unpacked
from chatcore.agents.values import Content, OpenedAgent, Version
from chatcore.db.tables import Agent as AgentRow
from chatcore.db.tables import AgentVersion as VersionRow
from chatcore.db.tables import User
from chatcore.errors import Conflict, NotFound

LISTED: Final = 50  # versions at a time
_LABELS: Final = {
    "name": "Name", "icon": "Icon", "picture": "Picture", "description": "Description",
    "system_prompt": "System prompt", "model": "Model", "parameters": "Parameters", "tools": "Tools",
    "knowledge": "Knowledge", "suggestions": "Suggestions", "visibility": "Who may use it", "shared_with": "People",
}  # fmt: skip
_WHO: Final = {"own": "only its owner", "people": "chosen people", "team": "the team"}
_PARAMETERS: Final = {"temperature": "temperature", "max_tokens": "most tokens of a reply"}
_ASKS: Final = {None: "", True: " (asks first)", False: " (without asking)"}
_LIST: Final = (
    select(VersionRow.number, User.name, VersionRow.note, VersionRow.created_at)
    .outerjoin(User, User.id == VersionRow.user_id)
    .where(VersionRow.agent_id == bindparam("agent"), VersionRow.number < bindparam("before"))
    .order_by(VersionRow.number.desc())
    .limit(LISTED)
)
_CONTENT: Final = select(VersionRow.content).where(
    VersionRow.agent_id == bindparam("agent"), VersionRow.number == bindparam("number")
)


@dataclass(frozen=True)
class Change:
    """One thing that two versions differ in. `before`, `after`: on a line each; of a long text instead `lines`, as a
    unified diff has them."""

    label: str
    before: str = ""
    after: str = ""
    lines: tuple[str, ...] = ()


def versions(session: Session, agent: OpenedAgent, before: int | None) -> list[Version]:
    """The versions below the number `before`, or the newest, newest first, at most 50."""
    rows = session.execute(_LIST, {"agent": agent.id, "before": before or agent.version + 1})
    found = [Version(row.number, row.name or "", row.note, row.created_at) for row in rows]
    if not found and before is None:  # of before there were versions
        return [Version(agent.version, "", "", agent.updated_at)]
    return found


def content(session: Session, agent: OpenedAgent, number: int) -> Content:
    """What a version says. Raises `NotFound`."""
    if number == agent.version:
        return agent.content
    kept = session.scalar(_CONTENT, {"agent": agent.id, "number": number})
    if kept is None:
        raise NotFound("There is no such version of this agent.")
    return unpacked(kept)


def save(
    session: Session, principal: Principal, agent_id: str, values: Mapping[str, Any], version: int, note: str
) -> int:
    """A new version over `version`; its number, or that of the present one where nothing was changed.

    Raises `NotFound`, `Forbidden`, `InvalidInput`, and `Conflict` where another one was saved since.
    """
    was = store.editable(session, principal, agent_id, lock=True)
    if was.archived_at is not None:
        raise Conflict("This agent is archived. Bring it back before you change it.")
    if was.version != version:
        raise Conflict(_overtaken(session, was))
    if packed(values) == packed(checked(was.content)):
        return was.version
    _keep_first(session, was)
    number = store.change(session, principal, was, values, note)
    store.note_sharing(session, principal, agent_id, was.content.visibility, unpacked(packed(values)))
    return number


def roll_back(session: Session, principal: Principal, agent_id: str, number: int, version: int) -> int:
    """Save what version `number` says anew. Who may use it stays as it is. Raises as `save`."""
    was = store.editable(session, principal, agent_id)
    return _save_again(session, principal, was, content(session, was, number), version, f"Back to version {number}")


def reset(session: Session, principal: Principal, agent_id: str, version: int) -> int:
    """Save what Chatcore ships anew. Raises as `save`, and `Conflict` for an agent that somebody made."""
    was = store.editable(session, principal, agent_id)
    shipped = next((one for one in BUILT_IN if was.built_in and one["slug"] == was.slug), None)
    if shipped is None:
        raise Conflict("This agent did not come with Chatcore, so there is nothing to go back to.")
    fields: dict[str, Any] = {**shipped, "suggestions": tuple(shipped["suggestions"])}
    fields.pop("slug")
    return _save_again(session, principal, was, Content(**fields), version, "Back to what was shipped")


def changes(before: Content, after: Content, names: Mapping[str, str] | None = None) -> list[Change]:
    """What is different, in the order of the form. `names`: of knowledge bases, people and tools, by id."""
    known, found = names or {}, []
    for field, label in _LABELS.items():
        old, new = getattr(before, field), getattr(after, field)
        if old == new:
            continue
        if field in ("system_prompt", "suggestions"):
            found.append(Change(label, lines=_compared(_lines(old), _lines(new))))
        else:
            found.append(Change(label, _said(field, old, known), _said(field, new, known)))
    return found


def _save_again(session: Session, principal: Principal, was: OpenedAgent, old: Content, version: int, note: str) -> int:
    now = was.content
    kept = replace(old, visibility=now.visibility, shared_with=now.shared_with)
    return save(session, principal, was.id, checked(kept), version, note)


def _keep_first(session: Session, was: OpenedAgent) -> None:
    """Agents from before there were versions, and those that every tenant starts with, get theirs when it passes."""
    if session.scalar(_CONTENT, {"agent": was.id, "number": was.version}) is not None:
        return
    tenant = select(AgentRow.tenant_id).where(AgentRow.id == was.id).scalar_subquery()
    session.execute(
        insert(VersionRow).values(
            agent_id=was.id, number=was.version, tenant_id=tenant, user_id=None, content=packed(checked(was.content)),
            note="", created_at=was.updated_at,
        )
    )  # fmt: skip


def _overtaken(session: Session, was: OpenedAgent) -> str:
    newest = versions(session, was, None)[0]
    who = newest.person or "Somebody"
    return f"{who} saved version {newest.number} of this agent while you were changing it. Nothing of yours is lost."


def _lines(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.splitlines()
    return [line for one in value for line in one.splitlines()]


def _compared(before: list[str], after: list[str]) -> tuple[str, ...]:
    return tuple(unified_diff(before, after, n=2, lineterm=""))[2:]  # without the names of files


def _said(field: str, value: Any, names: Mapping[str, str]) -> str:
    match field:
        case "picture":
            return "a picture" if value else "none"
        case "model":
            return str(value or "as the person chooses")
        case "visibility":
            return _WHO[value]
        case "parameters":
            return ", ".join(f"{_PARAMETERS[key]} {value[key]}" for key in _PARAMETERS if key in value) or "none"
        case "tools":
            return ", ".join(names.get(one.name, one.name) + _ASKS[one.asks_first] for one in value) or "none"
        case "knowledge" | "shared_with":
            return ", ".join(names.get(one, "one that you cannot see") for one in value) or "none"
    return str(value or "none")
