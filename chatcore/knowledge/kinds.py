"""What an uploaded document is, by its content; the ending of its name decides only between kinds of text."""

import zipfile
from io import BytesIO
from pathlib import PurePosixPath
from typing import Final

from chatcore.conversations.attachments import checks
from chatcore.errors import InvalidInput
from chatcore.knowledge.values import MAX_MB, Kind

ENDINGS: Final = ("pdf", "docx", "md", "html", "htm", "txt", "csv", "tsv")
"""Endings of names that can be uploaded."""
_TEXTS: Final[dict[str, Kind]] = {
    ".md": "markdown", ".markdown": "markdown", ".html": "html", ".htm": "html", ".csv": "csv", ".tsv": "csv",
}  # fmt: skip
_OLD_OFFICE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HTML: Final = ("<!doctype html", "<html")
_UNKNOWN: Final = (
    "{} is of a kind that cannot be read here. Upload PDF, Word (.docx), Markdown, HTML, CSV or plain text."
)


def examine(name: str, data: bytes) -> Kind:
    """The kind of a document. `name`: as `checks.clean_name` returns it. Raises `InvalidInput`, which names it."""
    if len(data) > MAX_MB * 2**20:
        raise InvalidInput(f"{name} has {len(data) / 2**20:,.0f} MB; the most is {MAX_MB} MB. Upload it in parts.")
    if not data.strip():
        raise InvalidInput(f"{name} is empty.")
    if b"%PDF-" in data[:1024]:
        return "pdf"
    if data.startswith(_OLD_OFFICE):
        raise InvalidInput(f"{name} is an old Office file, or protected by a password. Save it as .docx without one.")
    if data.startswith(b"PK\x03\x04"):
        return _packed(name, data)
    text = decoded(data)
    if text is None or PurePosixPath(name).suffix.lower() in (".pdf", ".docx"):
        raise InvalidInput(_UNKNOWN.format(name))
    if not text.strip():
        raise InvalidInput(f"{name} is empty.")
    ending = PurePosixPath(name).suffix.lower()
    return _TEXTS.get(ending) or ("html" if text[:500].lstrip().lower().startswith(_HTML) else "text")


def decoded(data: bytes) -> str | None:
    """The text of UTF-8, UTF-16 with its mark, or Windows-1252; None for what is no text."""
    text = checks.decoded(data)
    if text is not None or data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return text
    try:
        return checks.decoded(data.decode("cp1252").encode())
    except UnicodeDecodeError:
        return None


def _packed(name: str, data: bytes) -> Kind:
    try:
        with zipfile.ZipFile(BytesIO(data)) as packed:
            names = set(packed.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InvalidInput(f"{name} is broken, or only a part of a file.") from error
    if "word/document.xml" not in names:
        raise InvalidInput(_UNKNOWN.format(name))
    return "word"
