"""Sections of a Word document: what stands below its headings, tables row by row."""

import re
import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final

import docx
from docx.oxml.ns import qn
from docx.table import Table
from docx.text.paragraph import Paragraph

from chatcore.knowledge.reading.problems import Problem
from chatcore.knowledge.reading.sections import Outline, Section, one_line

_MAX_UNPACKED: Final = 300 * 2**20  # bytes of all that is in the file
_MAX_XML: Final = 60 * 2**20  # bytes of one part that is parsed
_MAX_PARTS: Final = 20_000
_HEADING: Final = re.compile(r"heading ([1-9])", re.I)
_TEXT, _TAB, _BREAK = qn("w:t"), qn("w:tab"), qn("w:br")


def sections(data: bytes) -> Iterator[Section]:
    """A section for each heading. Raises `Problem`."""
    _require_modest(data)
    try:
        document = docx.Document(BytesIO(data))
    except Exception as error:  # python-docx and lxml raise anything on a broken file
        raise Problem("broken") from error
    levels = {style.style_id: _level(style.name or "") for style in document.styles}
    outline, lines = Outline(), list[str]()
    for block in document.iter_inner_content():
        level = levels.get(block._p.style or "") if isinstance(block, Paragraph) else None
        if level is not None and (title := one_line(_words(block._element))):
            if lines:
                yield Section("\n\n".join(lines), str(outline), str(outline))
            outline.enter(level, title)
            lines = []
        else:
            lines += [_words(block._element)] if isinstance(block, Paragraph) else _rows(block)
    yield Section("\n\n".join(lines), str(outline), str(outline))


def _require_modest(data: bytes) -> None:
    """What the archive says it unpacks to is also the most that it can."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as packed:
            parts = packed.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise Problem("broken") from error
    if any(one.flag_bits & 1 for one in parts):
        raise Problem("locked")
    parsed = (one for one in parts if one.filename.endswith((".xml", ".rels")))
    if len(parts) > _MAX_PARTS or sum(one.file_size for one in parts) > _MAX_UNPACKED:
        raise Problem("heavy")
    if any(one.file_size > _MAX_XML for one in parsed):
        raise Problem("heavy")


def _level(style: str) -> int | None:
    if style.lower() == "title":
        return 0
    found = _HEADING.fullmatch(style)
    return int(found[1]) if found else None


def _rows(table: Table) -> list[str]:
    rows = (" | ".join(one_line(_words(cell)) for cell in row.tc_lst) for row in table._tbl.tr_lst)
    return ["\n".join(row for row in rows if row.strip(" |"))]


def _words(element: Any) -> str:
    """The text in an element of Word's, hyperlinks and insertions too."""
    signs = {_TAB: "\t", _BREAK: "\n"}
    return "".join(one.text or "" if one.tag == _TEXT else signs[one.tag] for one in element.iter(_TEXT, _TAB, _BREAK))
