"""What is read from an export file, whichever product wrote it: neutral values, cleaned and within limits.

Everything in a file may be of a wrong type. The small functions here turn any value into the one that is needed, or
into nothing.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any, Final, Literal

from chatcore.conversations.parts import parse
from chatcore.conversations.text import clean
from chatcore.db.tables import utcnow

Source = Literal["chatcore", "chatgpt", "open_webui"]
Role = Literal["user", "assistant", "system", "tool"]

MAX_TEXT: Final = 500_000  # characters of a message
_CUT: Final = "\n\n[The rest of this text was too long to be imported.]"
_MOST_IN_PARTS: Final = 2_000_000  # characters of all parts of a message, as JSON
_OLDEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
_DEPTH: Final = 40
_ID_LENGTH: Final = 200
_MOST: Final = 2**31 - 1


class Pairs(dict[str, Any]):
    """A JSON object as it stood in the file. `second`: members whose name had been there already."""

    def __init__(self) -> None:
        super().__init__()
        self.second: list[tuple[str, Any]] = []

    def __setitem__(self, name: str, value: Any) -> None:
        if name in self:
            self.second.append((name, value))
        else:
            super().__setitem__(name, value)


@dataclass(frozen=True)
class ImportedFile:
    """A file of a message. `id`: as parts name it, None where none does. `data` returns None where it is not there."""

    id: str | None
    name: str
    data: Callable[[], bytes | None] = field(compare=False)


@dataclass(frozen=True)
class ImportedMessage:
    """One message. `id` and `parent_id` are the file's own. `facts`: more columns of our table."""

    id: str
    parent_id: str | None
    role: Role
    content: str
    created_at: datetime | None = None
    parts: tuple[Mapping[str, Any], ...] = ()
    model: str | None = None
    files: tuple[ImportedFile, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ImportedConversation:
    """One conversation, its messages parent before child. `doubled`: messages whose id another one had already;
    `unread`: pieces of a kind that could not be read. `agent`: a slug. `facts`: more columns of our table.
    """

    source: Source
    id: str
    title: str
    messages: tuple[ImportedMessage, ...]
    head_id: str | None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    archived: bool = False
    pinned: bool = False
    agent: str | None = None
    doubled: int = 0
    unread: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` where it is a JSON object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: Any) -> list[Any]:
    """`value` where it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def members(value: Any) -> Iterator[tuple[str, Any]]:
    """The members of a JSON object, with those whose name came twice."""
    if isinstance(value, Mapping):
        yield from value.items()
        yield from getattr(value, "second", ())


def text(value: Any) -> str:
    """`value` cleaned where it is text, else ''."""
    return clean(value) if isinstance(value, str) else ""


def source_id(value: Any) -> str | None:
    """An id of the file's own as text, None where there is none."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    cleaned = clean(str(value)).strip()
    if len(cleaned) > _ID_LENGTH:
        return hashlib.sha256(cleaned.encode()).hexdigest()
    return cleaned or None


def made_id(*facts: object) -> str:
    """An id for what has none, the same each time."""
    return hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()[:32]


def moment(value: Any) -> datetime | None:
    """A point in time from ISO text, or from seconds, milliseconds, microseconds or nanoseconds since 1970; None
    where it is none, or an absurd one.
    """
    try:
        found = _from_number(float(value)) if isinstance(value, int | float | Decimal) else _from_text(value)
    except (ValueError, OverflowError, OSError):
        return None
    return found if found is not None and _OLDEST <= found <= utcnow() + timedelta(days=2) else None


def _from_number(value: float) -> datetime | None:
    if not isfinite(value):
        return None
    for limit, unit in ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3)):
        if value > limit:
            value /= unit
            break
    return datetime.fromtimestamp(value, UTC)


def _from_text(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    found = datetime.fromisoformat(value[:40])
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def integer(value: Any, most: int = _MOST) -> int | None:
    """A whole number from 0 to `most`, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most else None


def neutral(value: Any, depth: int = 0) -> Any:
    """`value` as plain JSON: text cleaned, numbers finite, what is nested too deeply left out."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Decimal):
        number = float(value)
        return number if isfinite(number) else None
    if depth > _DEPTH:
        return None
    if isinstance(value, Mapping):
        return {clean(str(name)): neutral(one, depth + 1) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [neutral(one, depth + 1) for one in value]
    return value


def shortened(value: str) -> str:
    """`value` where it has at most 500,000 characters, else its beginning with a note at the end."""
    return value if len(value) <= MAX_TEXT else value[: MAX_TEXT - len(_CUT)] + _CUT


def valid_parts(raw: Any) -> tuple[list[dict[str, Any]], int]:
    """The parts of `raw` that are valid, and how many are not, or too much for one message. Long texts are cut."""
    found = [parse(_with_short_texts(neutral(one))) for one in sequence(raw)]
    kept, size = [], 0
    for part in found:
        shape = part.model_dump(mode="json", exclude_unset=True) if part is not None else None
        size += len(json.dumps(shape, ensure_ascii=False)) if shape else 0
        if shape and size <= _MOST_IN_PARTS:
            kept.append(shape)
    return kept, len(found) - len(kept)


def _with_short_texts(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    return {name: shortened(value) if isinstance(value, str) else value for name, value in part.items()}
