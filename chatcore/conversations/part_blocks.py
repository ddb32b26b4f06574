"""Structured parts in a model's text: a fenced block of the language `chart`, `table` or `component`, written in JSON.

Any model can write them, with tools or without. A block that is not valid stays what it was: code in the text.
"""

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, Never

from chatcore.conversations.parts import parse

LANGUAGES: Final = ("chart", "table", "component")

_MOST_BLOCKS: Final = 20
_MOST_TRIED: Final = 100  # valid or not
_MOST_FENCES: Final = 20_000
_MOST_CHARACTERS: Final = 100_000  # in all blocks; a table of 1,000 rows by 10 columns has room
_FENCE: Final = re.compile(r"^ {0,3}(?P<marks>`{3,}+|~{3,}+)(?P<info>[^\n]*+)\n?", re.M)


def split(text: str) -> list[dict[str, Any]]:
    """The parts of a text, in order: its structured blocks, and text parts for what stands between them.

    A text without a valid block is one text part; an empty one is none. Blank text between two blocks is left out.
    Of a text at most 100 blocks and 100,000 characters in blocks are looked at, and 20 become parts; what comes after
    them stays text. So it takes at most about 60 ms, whatever a model wrote.
    """
    parts: list[dict[str, Any]] = []
    for source, part in pieces(text):
        if part is not None:
            parts.append(part)
        elif source.strip() or source == text:
            parts.append({"type": "text", "text": source})
    return parts


def pieces(text: str) -> list[tuple[str, dict[str, Any] | None]]:
    """What the text is made of: each piece of its source, with its structured part where it has one."""
    found: list[tuple[str, dict[str, Any] | None]] = []
    at, blocks, room = 0, 0, _MOST_CHARACTERS
    for start, (first, last), after, language in islice(_blocks(text), _MOST_TRIED):
        room -= last - first
        if room < 0 or blocks == _MOST_BLOCKS:
            break
        part = _structured(language, text[first:last])
        if part is None:
            continue
        if start > at:
            found.append((text[at:start], None))
        found.append((text[start:after], part))
        at, blocks = after, blocks + 1
    if at < len(text):
        found.append((text[at:], None))
    return found


def _blocks(text: str) -> Iterator[tuple[int, tuple[int, int], int, str]]:
    """Closed blocks of our languages: start, start and end of the body, end, language."""
    opening: re.Match[str] | None = None
    for fence in islice(_FENCE.finditer(text), _MOST_FENCES):
        if opening is None:
            # A line of backticks with more of them after it is a span of code, not a fence.
            opening = None if fence["marks"][0] == "`" and "`" in fence["info"] else fence
        elif fence["marks"].startswith(opening["marks"]) and not fence["info"].strip():
            language = opening["info"].strip()
            if opening["marks"] == "```" and language in LANGUAGES:
                yield opening.start(), (opening.end(), fence.start()), fence.end(), language
            opening = None


def _structured(language: str, body: str) -> dict[str, Any] | None:
    try:
        data = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    part = parse({**data, "type": language}) if isinstance(data, dict) else None
    return part.model_dump() if part is not None else None


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is not JSON")
