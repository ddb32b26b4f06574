"""Sections of a PDF: its pages."""

from collections.abc import Iterator
from typing import Final

import pypdfium2  # type: ignore[import-untyped]

from chatcore.knowledge.reading.problems import MAX_PAGES, Problem
from chatcore.knowledge.reading.sections import Section

_PASSWORD: Final = 4  # FPDF_ERR_PASSWORD
_SECURITY: Final = 5  # FPDF_ERR_SECURITY


def opened(data: bytes) -> "tuple[int, Iterator[Section]]":
    """How many pages there are, and a section for each that has text. Raises `Problem`."""
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        locked = getattr(error, "err_code", None) in (_PASSWORD, _SECURITY)
        raise Problem("locked" if locked else "broken") from error
    if len(document) > MAX_PAGES:
        raise Problem("pages")
    return len(document), _pages(document)


def _pages(document: "pypdfium2.PdfDocument") -> Iterator[Section]:
    unreadable = 0
    for number in range(len(document)):
        try:
            page = document[number]
            words = page.get_textpage()
            text = words.get_text_range().replace("\r\n", "\n").replace("\x00", "").strip()
            words.close()
            page.close()
        except pypdfium2.PdfiumError:
            unreadable += 1
            continue
        yield Section(text, place=f"page {number + 1}")
    if unreadable == len(document):
        raise Problem("broken")
