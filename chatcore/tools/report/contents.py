"""What a report holds."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from chatcore.conversations import part_blocks
from chatcore.conversations.export.document import one_line
from chatcore.conversations.parts import Part, TextPart, parse
from chatcore.conversations.text import clean

_HEADING: Final = re.compile(r"\s*#[ \t]+([^\n]*?)[ \t#]*(?:\n|$)")
_OPENING: Final = re.compile(rf"^ {{0,3}}```[ \t]*({'|'.join(part_blocks.LANGUAGES)})[ \t]*$", re.M)


@dataclass(frozen=True)
class Report:
    """A report as it is to be written. `parts`: its Markdown as text parts, and the charts and tables between them.
    `unread`: the languages of blocks that were meant as such and are none; they stand in the text as code."""

    title: str
    parts: tuple[Part, ...]
    made_at: datetime
    unread: tuple[str, ...] = ()


def report(title: str, markdown: str, made_at: datetime) -> Report:
    """The report that this Markdown is. A first heading that only says the title again is left out."""
    title, markdown = one_line(title), clean(markdown)
    first = _HEADING.match(markdown)
    if first and one_line(first[1]).casefold() == title.casefold():
        markdown = markdown[first.end() :]
    parts = tuple(part for raw in part_blocks.split(markdown) if (part := parse(raw)) is not None)
    unread = [found for part in parts if isinstance(part, TextPart) for found in _OPENING.findall(part.text)]
    return Report(title, parts, made_at, tuple(unread))
