"""Small documents of each kind, made here, and some that were made to do harm."""

import zipfile
import zlib
from collections.abc import Sequence
from io import BytesIO, StringIO
from typing import IO

import docx
import pytest

from chatcore.knowledge import extracting
from chatcore.knowledge.reading import child

LOCKED = (
    b"/Encrypt << /Filter /Standard /V 2 /R 3 /Length 128 /P -44 /O <" + b"11" * 32 + b"> /U <" + b"22" * 32 + b"> >> "
    b"/ID [<00112233445566778899aabbccddeeff> <00112233445566778899aabbccddeeff>]"
)
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents are read by the child's code in this process: a process for each would take most of the tests' time."""

    def run(kind: str, source: IO[bytes], target: IO[bytes], go_on: object) -> None:
        out = StringIO()
        child.read(kind, source.read(), out)
        target.write(out.getvalue().encode())

    monkeypatch.setattr(extracting, "_run", run)


def pdf(pages: Sequence[str], trailer: bytes = b"", *, bomb: bool = False) -> bytes:
    """A PDF with a line of text on each page; `bomb`: its pages unpack to a gigabyte of drawing."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for text in pages:
        drawing = b"BT /F 12 Tf 72 720 Td (" + text.encode("latin-1") + b") Tj ET "
        machine = zlib.compressobj(9)
        times = 2_000_000 if bomb else 1
        stream = b"".join(machine.compress(drawing * min(times, 10_000)) for _ in range(max(times // 10_000, 1)))
        stream += machine.flush()
        objects.append(b"<< /Filter /FlateDecode /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream))
        kids.append(len(objects) + 1)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R"
            b" /Resources << /Font << /F 3 0 R >> >> >>" % len(objects)
        )
    named = b" ".join(b"%d 0 R" % number for number in kids)
    objects[1] = b"<< /Type /Pages /Kids [%b] /Count %d >>" % (named, len(kids))
    return _file(objects, trailer)


def pdf_of_many(count: int) -> bytes:
    """A PDF that has one page so many times."""
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] >>"
    tree = b"<< /Type /Pages /Kids [%b] /Count %d >>" % (b" ".join([b"3 0 R"] * count), count)
    return _file([b"<< /Type /Catalog /Pages 2 0 R >>", tree, page], b"")


def _file(objects: Sequence[bytes], trailer: bytes) -> bytes:
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer\n<< /Size %d /Root 1 0 R %b >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, trailer, len(out))
    return out + b"xref\n0 %d\n0000000000 65535 f \n%b" % (len(objects) + 1, table) + end


def word() -> bytes:
    """A Word document with headings, a paragraph below each, and a table."""
    document = docx.Document()
    document.add_heading("Handbook", 0)
    document.add_paragraph("Everybody reads this first.")
    document.add_heading("Holidays", 1)
    document.add_paragraph("Thirty days a year, to be asked for in spring.")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip((*table.rows[0].cells, *table.rows[1].cells), ("Month", "Days", "May", "4"), strict=True):
        cell.text = text
    return saved(document)


def saved(document: "docx.document.Document") -> bytes:
    out = BytesIO()
    document.save(out)
    return out.getvalue()


def word_of(xml: bytes, times: int = 1) -> bytes:
    """A Word document whose own part is `xml`, so often."""
    made = BytesIO(word())
    out = BytesIO()
    with zipfile.ZipFile(made) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in source.namelist():
            if name != "word/document.xml":
                packed.writestr(name, source.read(name))
        with packed.open("word/document.xml", "w", force_zip64=True) as part:
            for _ in range(times):
                part.write(xml)
    return out.getvalue()


BILLION_LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "'
    + b"lol" * 1000
    + b'">'
    + b"".join(b'<!ENTITY %c "%b">' % (98 + n, b"&%c;" % (97 + n) * 20) for n in range(8))
    + b']><w:document xmlns:w="%b"><w:body><w:p><w:r><w:t>&i;</w:t></w:r></w:p></w:body></w:document>' % _WORD.encode()
)
FOREIGN_FILE = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    b'<w:document xmlns:w="%b"><w:body><w:p><w:r><w:t>inside &a; outside</w:t></w:r></w:p></w:body></w:document>'
    % _WORD.encode()
)
