"""Sections of a document, and how they are cut into passages."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

LONGEST: Final = 1_600  # characters of a passage
SHORTEST: Final = 700  # below which none is cut off where the text goes on
_SPACES: Final = re.compile(r"[^\S\n]+")
_LINE: Final = "\n"
_EMPTY_LINES: Final = re.compile(r"\n{3,}")
_SENTENCE_END: Final = re.compile(r"[.!?…][\"'”’)\]]*\s|[。！？]")


@dataclass(frozen=True)
class Section:
    """A part of a document. `heading`: the headings above it, the outermost first. `place`: where it stands, for
    people. `line`: the number of its first line, where lines are its places."""

    text: str
    heading: str = ""
    place: str = ""
    line: int | None = None


def passages(sections: Iterable[Section]) -> Iterator[Section]:
    """Each section in pieces of sensible length, cut between paragraphs, lines or sentences as far as they are there.

    The work grows with the length of the text only, whatever stands in it.
    """
    for section in sections:
        text = section.text
        if section.line is None:  # else it would count the lines wrongly
            text = _EMPTY_LINES.sub("\n\n", text)
        start, line = 0, section.line or 0
        while start < len(text):
            end = _end(text, start)
            piece = text[start:end]
            if words := piece.strip():
                place = section.place
                if section.line is not None:
                    place = f"line {line + piece[: piece.index(words)].count(_LINE):,}"
                yield Section(piece.strip(_LINE).rstrip(), section.heading, place)
            line += piece.count(_LINE)
            start = end


def _end(text: str, start: int) -> int:
    """Where the piece that begins at `start` ends."""
    if len(text) - start <= LONGEST:
        return len(text)
    first, last = start + SHORTEST, start + LONGEST
    for mark in ("\n\n", "\n"):
        if (found := text.rfind(mark, first, last)) != -1:
            return found + len(mark)
    ends = [match.end() for match in _SENTENCE_END.finditer(text, first, last)]
    if ends:
        return ends[-1]
    space = text.rfind(" ", first, last)
    return last if space == -1 else space + 1


def one_line(text: str) -> str:
    """`text` with single spaces only."""
    return " ".join(text.split())


def squeezed(text: str) -> str:
    """`text` with single spaces inside its lines."""
    return _SPACES.sub(" ", text)


class Outline:
    """The headings above what is being read."""

    def __init__(self) -> None:
        self._path: list[tuple[int, str]] = []

    def enter(self, level: int, title: str) -> None:
        """A heading of this level; the outermost has the lowest."""
        self._path = [one for one in self._path if one[0] < level]
        self._path.append((level, one_line(title)[:120]))

    def __str__(self) -> str:
        return " › ".join(title for _, title in self._path if title)[-300:]
