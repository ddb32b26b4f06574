"""Sections of plain text, Markdown and CSV."""

import csv
import re
from collections.abc import Iterator
from io import StringIO
from itertools import chain, islice
from typing import Final

from chatcore.knowledge.reading.sections import LONGEST, Outline, Section, one_line

_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING: Final = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#*)?[ \t]*$")
_LONGEST_CELL: Final = 1_000_000


def plain(text: str) -> Iterator[Section]:
    """One section, whose passages are told apart by their lines."""
    yield Section(text.replace("\r\n", "\n").replace("\r", "\n"), line=1)


def markdown(text: str) -> Iterator[Section]:
    """A section for each heading, with the heading's own line."""
    outline, lines, fence = Outline(), list[str](), ""
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        heading = None if fence or mark else _HEADING.match(line)
        if heading:
            yield from _section(outline, lines)
            outline.enter(len(heading[1]), heading[2].replace("`", "").replace("*", ""))
            lines = []
        lines.append(line)
    yield from _section(outline, lines)


def _section(outline: Outline, lines: list[str]) -> Iterator[Section]:
    """Nothing for a heading without text: those below it name it."""
    body = lines[1:] if lines and _HEADING.match(lines[0]) else lines
    if any(line.strip() for line in body):
        yield Section("\n".join(lines), str(outline), str(outline))


def table(text: str) -> Iterator[Section]:
    """Some rows at a time, each row as `column: value; …`, so that a passage says what its figures mean."""
    csv.field_size_limit(_LONGEST_CELL)
    rows = csv.reader(StringIO(text, newline=""), delimiter=_delimiter(text))
    header = [one_line(cell) for cell in next(rows, [])]
    first, lines, size, number = 2, list[str](), 0, 1
    for number, row in enumerate(rows, 2):
        line = _row(header, row)
        if lines and size + len(line) > LONGEST:
            yield Section("\n".join(lines), place=_rows(first, number - 1))
            first, lines, size = number, [], 0
        lines.append(line)
        size += len(line) + 1
    if lines:
        yield Section("\n".join(lines), place=_rows(first, number))
    elif number == 1:
        yield Section("; ".join(header), place="row 1")


def _delimiter(text: str) -> str:
    line = text[: text.find("\n")] if "\n" in text else text
    return max(",;\t|", key=line[:10_000].count)


def _row(header: list[str], row: list[str]) -> str:
    names = chain(header, ("" for _ in islice(row, len(header), None)))
    cells = ((name, one_line(cell)) for name, cell in zip(names, row, strict=False))
    return "; ".join(f"{name}: {cell}" if name else cell for name, cell in cells if cell)


def _rows(first: int, last: int) -> str:
    return f"row {first:,}" if first == last else f"rows {first:,}–{last:,}"
