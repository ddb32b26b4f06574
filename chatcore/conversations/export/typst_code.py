"""Typst source that is made of calls and string literals, so that no text can be anything but text."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from chatcore.conversations.text import clean

LONGEST_WORD: Final = 40  # characters; longer runs may be broken anywhere, or they would leave the page

# From Thai on (U+0E00) scripts are broken into lines without spaces by the compiler itself. Yet joined signs may go on
# without an end (emoji families), and of more than 65,535 bytes the compiler breaks down.
_UNSPACED: Final = r"[^\s\u0e00-\U0010ffff]"


def literal(text: str) -> str:
    """A Typst string literal of `text`."""
    escaped = clean(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def block(pieces: Iterable[str]) -> str:
    """Content that is its pieces one after the other."""
    joined = "; ".join(piece for piece in pieces if piece)
    return "{" + joined + "}" if joined else "[]"


def call(name: str, *arguments: str, **named: str) -> str:
    """A call. Underscores in the names of arguments stand for hyphens."""
    given = [*arguments, *(f"{key.replace('_', '-')}: {value}" for key, value in named.items())]
    return f"{name}({', '.join(given)})"


def array(items: Iterable[str]) -> str:
    """A Typst array: one of a single item needs its comma."""
    return "(" + "".join(f"{item}, " for item in items) + ")"


def words(text: str, longest: int = LONGEST_WORD) -> str:
    """Content of `text`, with places inside very long words where a line may end."""
    pieces = re.split(f"({_UNSPACED}{{{longest}}}|\\S{{2000}})", text)
    if len(pieces) == 1:
        return literal(text)
    shown = [literal(piece) + ("; cut" if number % 2 else "") for number, piece in enumerate(pieces) if piece]
    return block(shown)


def has_run(text: str, length: int) -> bool:
    """Whether so many characters follow each other without a space."""
    return re.search(f"\\S{{{length}}}", text) is not None


def is_rtl(text: str) -> bool:
    """Whether the first letter with a direction is read from right to left."""
    for sign in text[:400]:
        direction = unicodedata.bidirectional(sign)
        if direction in ("L", "R", "AL"):
            return direction != "L"
    return False


def directed(content: str, text: str) -> str:
    """`content` set in the direction of `text`, the words it holds."""
    return call("right-to-left", content) if is_rtl(text) else content
