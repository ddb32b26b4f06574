"""The child process that reads a document: the file on standard input, passages as lines of JSON on standard output.

Each line is `{"text", "heading", "place", "words"}`, the last one `{"passages", "pages"}` or `{"problem"}`. It is
started by `extracting`, without any secret, and gives up processor time, memory and files before it reads.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final

from chatcore.knowledge.reading.problems import MAX_CHARACTERS, Problem
from chatcore.knowledge.reading.sections import Section, passages

MAX_PLACE: Final = 200
_CPU_SECONDS: Final = 120
_MEMORY: Final = 1024 * 2**20
_MOST_WRITTEN: Final = 400 * 2**20
_NICE: Final = 10  # the chats of the same machine come first


def main() -> None:
    """Read the document whose kind is the last argument."""
    _limit()
    read(sys.argv[-1], sys.stdin.buffer.read(), sys.stdout)


def read(kind: str, data: bytes, out: IO[str]) -> None:
    """Write a document's passages, and how many there are, or why it cannot be read."""
    try:
        _write(out, _sections(kind, data))
    except Problem as problem:
        out.write(json.dumps({"problem": problem.code}) + "\n")
    except (MemoryError, RecursionError):
        out.write(json.dumps({"problem": "heavy"}) + "\n")


@dataclass(frozen=True)
class _Opened:
    sections: Iterator[Section]
    pages: int | None = None


def _limit() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits; the parent's clock holds there
        return
    os.nice(_NICE)
    for what, most in (
        (resource.RLIMIT_CPU, _CPU_SECONDS),
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_FSIZE, _MOST_WRITTEN),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def _sections(kind: str, data: bytes) -> _Opened:
    """What is needed for one kind is imported for that kind only."""
    if kind == "pdf":
        from chatcore.knowledge.reading import pdfs

        pages, sections = pdfs.opened(data)
        return _Opened(sections, pages)
    if kind == "word":
        from chatcore.knowledge.reading import word

        return _Opened(word.sections(data))
    text = _decoded(data)
    if kind == "html":
        from chatcore.knowledge.reading import web

        return _Opened(web.sections(text))
    from chatcore.knowledge.reading import texts

    return _Opened({"markdown": texts.markdown, "csv": texts.table}.get(kind, texts.plain)(text))


def _decoded(data: bytes) -> str:
    """As `kinds.decoded` found it to be."""
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _write(out: IO[str], opened: _Opened) -> None:
    from chatcore.knowledge.spelling import spelled

    count = characters = 0
    for passage in passages(opened.sections):
        characters += len(passage.text)
        if characters > MAX_CHARACTERS:
            raise Problem("characters")
        count += 1
        place = passage.place[-MAX_PLACE:]
        words = " ".join(spelled(passage.text))
        line = {"text": passage.text, "heading": passage.heading, "place": place, "words": words}
        out.write(json.dumps(line) + "\n")
    if not count:
        raise Problem("empty")
    out.write(json.dumps({"passages": count, "pages": opened.pages}) + "\n")
