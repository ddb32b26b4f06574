"""What a person prefers: custom instructions for every model, and whether titles may be improved."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from chatcore.accounts import own
from chatcore.accounts.principal import Principal
from chatcore.db import Database
from chatcore.db.tables import User
from chatcore.errors import InvalidInput

MAX_INSTRUCTIONS: Final = 4_000  # characters
_SETTINGS: Final = select(User.settings).where(User.id == bindparam("user"))
_LINE_BREAK_OR_TAB: Final = "\n\t"


@dataclass(frozen=True)
class Prefs:
    """`instructions`: told to every model, '' for none. `better_titles`: a cheap model may title one's chats."""

    instructions: str = ""
    better_titles: bool = True


class Preferences:
    """Kept in the person's `settings`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @staticmethod
    def of(session: Session, user_id: str) -> Prefs:
        """What this person prefers, inside the caller's transaction; the defaults where nobody has the id."""
        return _prefs(session.scalar(_SETTINGS, {"user": user_id}) or {})

    def get(self, principal: Principal) -> Prefs:
        """One's own preferences."""
        return self._db.read(lambda session: _prefs(own.preferences(session, principal)))

    def save(self, principal: Principal, *, instructions: str | None = None, better_titles: bool | None = None) -> None:
        """Change what is not None, leave the rest. Raises `InvalidInput` for more than 4,000 characters."""
        values: dict[str, Any] = {} if better_titles is None else {"better_titles": better_titles}
        if instructions is not None:
            values["instructions"] = clean_instructions(instructions)
        self._db.write(lambda session: own.set_preferences(session, principal, values))


def clean_instructions(text: str) -> str:
    """The text without control characters and space around it. Raises `InvalidInput` when it is too long."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    cleaned = "".join(
        one for one in lines if one in _LINE_BREAK_OR_TAB or unicodedata.category(one) not in ("Cc", "Cs")
    ).strip()
    if len(cleaned) > MAX_INSTRUCTIONS:
        raise InvalidInput(f"Custom instructions have at most {MAX_INSTRUCTIONS:,} characters.")
    return cleaned


def _prefs(settings: Mapping[str, Any]) -> Prefs:
    return Prefs(str(settings.get("instructions", "")), bool(settings.get("better_titles", True)))
