"""What is exported, and what every format says of it in the same words."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from chatcore.conversations import parts
from chatcore.conversations.parts import (
    ChartPart,
    ErrorPart,
    FilePart,
    MediaPart,
    Part,
    ReasoningPart,
    TablePart,
    TextPart,
    parse,
)
from chatcore.conversations.text import clean
from chatcore.conversations.values import Message

_NAME_LENGTH: Final = 80
_UNREADABLE: Final = "A part of this message cannot be shown."
_STATUS_NOTES: Final = {
    "stopped": "Stopped.",
    "interrupted": "Interrupted when the server stopped. The words so far are kept.",
    "failed": "This reply failed.",
    "streaming": "This reply was still being written when the file was made.",
}


@dataclass(frozen=True)
class Document:
    """A branch of a conversation as it is to be read outside Chatcore.

    `messages`: oldest first. `earlier`: older ones exist and are not in it. `people`: names by user id; whoever is
    not among them is "A teammate". `models`: the models' names as people read them. `with_reasoning`: what
    the models thought is printed too.
    """

    title: str
    messages: tuple[Message, ...]
    made_at: datetime
    people: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    earlier: bool = False
    with_reasoning: bool = False


def who(document: Document, message: Message) -> str:
    """Whose words a message is: a person's name or a model's."""
    if message.role == "user":
        name = document.people.get(message.user_id, "A teammate")
    elif message.role == "assistant":
        name = document.models.get(message.model or "") or message.model or "Assistant"
    else:
        name = message.role.capitalize()
    return one_line(name) or "Unknown"


def when(moment: datetime) -> str:
    """`20 November 2026, 20:19 UTC`."""
    return f"{moment.astimezone(UTC):%-d %B %Y, %H:%M} UTC"


def facts(document: Document) -> str:
    """The line below the title: when the file was made, how many messages, how many replies by which model."""
    replies = [who(document, message) for message in document.messages if message.role == "assistant"]
    models = [f"{name} ({counted(replies.count(name), 'reply', 'replies')})" for name in dict.fromkeys(replies)]
    return " · ".join([f"Exported {when(document.made_at)}", counted(len(document.messages), "message"), *models])


def omission(document: Document) -> str:
    """The sentence that says what is missing, empty where nothing is."""
    if not document.earlier:
        return ""
    return (
        f"This conversation is longer: only its newest {counted(len(document.messages), 'message')} are in this file."
    )


def notes(message: Message) -> str:
    """What a reader must know of a message besides its words, as sentences."""
    found = ["Edited."] if message.edited_at else []
    if note := _STATUS_NOTES.get(message.status):
        found.append(note)
    elif message.finish_reason == "length":
        found.append("The reply reached its token limit.")
    return " ".join(found)


def body(message: Message, *, with_reasoning: bool) -> list[Part]:
    """The parts of a message in reading order, its text among them. What cannot be read is told as an error."""
    found: list[Part] = [parse(part) or ErrorPart(message=_UNREADABLE) for part in message.parts]
    if message.content and not any(isinstance(part, TextPart) for part in found):
        # The text was said after the thinking, and before what stands below it.
        at = next((i for i, part in enumerate(found) if not isinstance(part, ReasoningPart)), len(found))
        found.insert(at, TextPart.model_construct(text=message.content))
    return [part for part in found if with_reasoning or not isinstance(part, ReasoningPart)]


def table_of(part: ChartPart | TablePart) -> tuple[list[str], list[list[str]]]:
    """Headings and rows, each cell as text on one line; empty for None."""
    columns, rows = parts.table_of(part) if isinstance(part, ChartPart) else (part.columns, part.rows)
    return [one_line(column) for column in columns], [[_cell(value) for value in row] for row in rows]


def file_line(part: MediaPart | FilePart) -> str:
    """`report.pdf (PDF, 12 pages)`: an attachment by its name."""
    kind = part.media if isinstance(part, MediaPart) else "PDF" if part.kind == "pdf" else part.kind
    pages = f", {counted(part.pages, 'page')}" if isinstance(part, FilePart) and part.pages is not None else ""
    return f"{one_line(part.name) or 'Unnamed'} ({kind}{pages})"


def thought_label(part: ReasoningPart) -> str:
    """`Thought for 4 s`, or `Thought` where nobody timed it."""
    return f"Thought for {round(part.duration_ms / 1000)} s" if part.duration_ms else "Thought"


def file_name(title: str, moment: datetime, suffix: str) -> str:
    """A name for every file system, at most 80 characters: letters and digits of the title, the date, the suffix."""
    tail = f"-{moment.astimezone(UTC):%Y-%m-%d}.{suffix}"
    letters = unicodedata.normalize("NFC", title)
    # File systems count 255 bytes, and a letter has up to four of them: 59 letters fit.
    stem = re.sub(r"\W+", "-", letters).strip("-_")[: min(_NAME_LENGTH - len(tail), 59)].strip("-_")
    return (stem or "conversation") + tail


def one_line(text: str) -> str:
    return " ".join(clean(text).split())


def counted(count: int, one: str, many: str = "") -> str:
    """`1 message`, `1,200 messages`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _cell(value: parts.Cell) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return "" if value is None else one_line(str(value))
