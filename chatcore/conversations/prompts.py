"""Saved prompts with `{{variables}}`, one's own and the team's."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from chatcore.accounts import audit
from chatcore.accounts.principal import Principal
from chatcore.conversations.text import clean
from chatcore.db import Database
from chatcore.db.tables import Prompt as PromptRow
from chatcore.db.tables import utcnow
from chatcore.errors import Conflict, Forbidden, InvalidInput, NotFound
from chatcore.ids import new_id

MAX_TITLE: Final = 100
MAX_TEXT: Final = 20_000
MAX_PROMPTS: Final = 500  # of one person
_VARIABLE: Final = re.compile(r"\{\{([^{}\n]{1,300})\}\}")
_NAME: Final = re.compile(r"[\w -]{1,50}")

_VISIBLE: Final = and_(
    PromptRow.tenant_id == bindparam("tenant"),
    or_(PromptRow.user_id == bindparam("user"), PromptRow.is_team.is_(True)),
)
_ALL: Final = select(*PromptRow.__table__.columns).where(_VISIBLE)
_ONE: Final = _ALL.where(PromptRow.id == bindparam("id"))


@dataclass(frozen=True)
class Prompt:
    """A saved prompt. `is_team`: everybody of the tenant can insert it. `can_edit`: this person may change it."""

    id: str
    title: str
    text: str
    is_team: bool
    is_own: bool
    can_edit: bool
    updated_at: datetime


class Prompts:
    """The prompts a person can insert: their own and the team's.

    Everything that takes an id raises `NotFound`, the same for absent and for what is not theirs; changing a
    colleague's team prompt raises `Forbidden` for whoever is no admin.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def list(self, principal: Principal, search: str = "") -> list[Prompt]:
        """By title. `search`: words that all stand in title or text, in any case."""
        wanted = search.casefold().split()

        def work(session: Session) -> list[Prompt]:
            found = (_value(row, principal) for row in session.execute(_ALL, _scope(principal)))
            return [one for one in found if all(word in f"{one.title}\n{one.text}".casefold() for word in wanted)]

        return sorted(self._db.read(work), key=lambda one: (one.title.casefold(), one.id))

    def get(self, principal: Principal, prompt_id: str) -> Prompt:
        """One's own prompt, or one of the team's."""
        return self._db.read(lambda session: _get(session, principal, prompt_id))

    def create(self, principal: Principal, title: str, text: str, is_team: bool = False) -> str:
        """Save a new prompt; returns its id.

        `title`: 1 to 100 characters. `text`: 1 to 20,000. Raises `InvalidInput`, or `Conflict` when one has 500.
        """
        prompt_id, values = new_id("prompt"), _checked(title, text)
        whose = {"tenant_id": principal.tenant_id, "user_id": principal.user_id}

        def work(session: Session) -> None:
            count = session.scalar(select(func.count()).where(*(getattr(PromptRow, k) == v for k, v in whose.items())))
            if (count or 0) >= MAX_PROMPTS:
                raise Conflict(f"You have {MAX_PROMPTS} prompts already. Delete one that you no longer need.")
            session.execute(insert(PromptRow).values(id=prompt_id, is_team=is_team, **whose, **values))
            if is_team:
                audit.record(session, principal, "prompt.share", prompt_id)

        self._db.write(work)
        return prompt_id

    def update(self, principal: Principal, prompt_id: str, title: str, text: str, is_team: bool) -> None:
        """Change a prompt; without `is_team` it is its author's alone. Raises `InvalidInput`, `Forbidden`."""
        values = _checked(title, text)

        def work(session: Session) -> None:
            was_team = _require_editable(session, principal, prompt_id)
            session.execute(
                update(PromptRow)
                .where(PromptRow.id == prompt_id)
                .values(is_team=is_team, updated_at=utcnow(), **values)
                .execution_options(synchronize_session=False)
            )
            if is_team or was_team:
                audit.record(session, principal, "prompt.change" if was_team else "prompt.share", prompt_id)

        self._db.write(work)

    def delete(self, principal: Principal, prompt_id: str) -> None:
        """Delete a prompt for good, a team's one for everybody. Raises `Forbidden`."""

        def work(session: Session) -> None:
            was_team = _require_editable(session, principal, prompt_id)
            statement = delete(PromptRow).where(PromptRow.id == prompt_id)
            session.execute(statement.execution_options(synchronize_session=False))
            if was_team:
                audit.record(session, principal, "prompt.delete", prompt_id)

        self._db.write(work)


def variables(text: str) -> dict[str, str]:
    """The names in `{{name}}` and `{{name: default}}`, in order of appearance, each with its first default or ''."""
    found: dict[str, str] = {}
    for match in _VARIABLE.finditer(text):
        name, default = _parsed(match[1])
        if name is not None:
            found[name] = found.get(name) or default
    return found


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with each variable replaced by its value, or by its default where the value is absent or blank.

    Values are taken as they are: braces in them mean nothing. What is no variable stays as it was written.
    """
    defaults = variables(text)

    def value_of(match: re.Match[str]) -> str:
        name, _ = _parsed(match[1])
        if name is None:
            return match[0]
        value = values.get(name, "")
        return value if value.strip() else defaults[name]

    return _VARIABLE.sub(value_of, text)


def _parsed(inside: str) -> tuple[str | None, str]:
    """Name and default of what stands in the braces; no name where it is no variable."""
    name, _, default = inside.partition(":")
    name = " ".join(name.split())
    return (name if _NAME.fullmatch(name) else None), default.strip()


def _checked(title: str, text: str) -> dict[str, str]:
    title, text = " ".join(clean(title).split()), clean(text).strip()
    if not 0 < len(title) <= MAX_TITLE:
        raise InvalidInput(f"A prompt's title has 1 to {MAX_TITLE} characters.")
    if not 0 < len(text) <= MAX_TEXT:
        raise InvalidInput(f"A prompt has 1 to {MAX_TEXT:,} characters.")
    return {"title": title, "text": text}


def _scope(principal: Principal) -> dict[str, str]:
    return {"tenant": principal.tenant_id, "user": principal.user_id}


def _get(session: Session, principal: Principal, prompt_id: str) -> Prompt:
    row = session.execute(_ONE, _scope(principal) | {"id": prompt_id}).one_or_none()
    if row is None:
        raise NotFound("This prompt does not exist, or it is not yours.")
    return _value(row, principal)


def _require_editable(session: Session, principal: Principal, prompt_id: str) -> bool:
    """Whether it is the team's. Raises `Forbidden`, `NotFound`."""
    found = _get(session, principal, prompt_id)
    if not found.can_edit:
        raise Forbidden("Only its author and admins can change a prompt of the team.")
    return found.is_team


def _value(row: Any, principal: Principal) -> Prompt:
    is_own = row.user_id == principal.user_id
    can_edit = is_own or principal.is_admin
    return Prompt(row.id, row.title, row.text, bool(row.is_team), is_own, can_edit, row.updated_at)
