"""Cleaning what people and models write, so that it can be stored, searched and shown."""

import re
from typing import Final

TITLE_LENGTH: Final = 100
PREVIEW_LENGTH: Final = 160

# Tab, newline and carriage return stay; everything else below space, DEL and the C1 block goes.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def clean(text: str) -> str:
    """`text` without control characters; surrogate pairs joined, lone ones replaced by U+FFFD."""
    if _SURROGATE.search(text):
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _CONTROL.sub("", text)


def title_from(text: str) -> str:
    """A title of at most 100 characters: the message's own beginning, on one line."""
    return _shorten(text, TITLE_LENGTH) or "New chat"


def preview_from(text: str) -> str:
    """The beginning of a reply on one line, for lists."""
    return _shorten(text, PREVIEW_LENGTH)


def _shorten(text: str, length: int) -> str:
    line = " ".join(text[: length * 20].split())
    if len(line) <= length:
        return line
    cut = line[: length - 1].rsplit(" ", 1)[0]
    # A first word longer than half the room is cut where the room ends.
    return (cut if len(cut) > length // 2 else line[: length - 1]) + "…"


class Cleaner:
    """`clean` for text that arrives in pieces: a surrogate pair cut in two is joined again."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """The cleaned text that is complete so far."""
        piece = self._held + piece
        self._held = ""
        if piece and "\ud800" <= piece[-1] <= "\udbff":
            self._held, piece = piece[-1], piece[:-1]
        return clean(piece)

    def finish(self) -> str:
        """What was held back, cleaned."""
        held, self._held = self._held, ""
        return clean(held)
