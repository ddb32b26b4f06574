"""A bill's file as rows of text: its encoding and separator are found, and what is no CSV file is refused.

The file is read once, line by line, so its size does not matter. Nothing in it is ever evaluated.
"""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final

from chatcore.errors import InvalidInput

Row = tuple[int, list[str]]

_LONGEST_LINE: Final = 1_000_000  # characters
_SEPARATORS: Final = ",;\t|"
_BYTE_ORDER_MARKS: Final = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_OTHER_KINDS: Final = (
    (b"PK\x03\x04", "This is a ZIP archive or an Excel workbook. Unpack it, or save the sheet as CSV."),
    (b"\x1f\x8b", "This is a compressed file. Unpack it first."),
    (b"%PDF", "This is a PDF. Take the provider's usage export as CSV instead of the invoice."),
    (b"{", "This is JSON. Take the provider's usage export as CSV."),
    (b"[", "This is JSON. Take the provider's usage export as CSV."),
    (b"<", "This is a page of HTML or XML. Take the provider's usage export as CSV."),
)


@dataclass(frozen=True)
class Sheet:
    """A CSV file: the names in its first line as they stand there, its separator, and its other rows.

    `rows`: the number of the line on which a row begins, and its cells; empty lines are left out. To be read once.
    """

    header: list[str]
    separator: str
    rows: Iterator[Row]


@contextmanager
def sheet(stream: BinaryIO) -> Iterator[Sheet]:
    """Open a seekable stream from its beginning; it stays open afterwards.

    Raises `InvalidInput`, also while the rows are read, with the number of the line that cannot be used.
    """
    stream.seek(0)
    head = stream.read(4096)
    encoding = _encoding(head)
    stream.seek(0)
    text = io.TextIOWrapper(stream, encoding, errors="strict", newline="")
    try:
        yield _sheet(_Lines(text))
    finally:
        text.detach()  # else it closes the stream, which is not ours


def _encoding(head: bytes) -> str:
    if not head.strip():
        raise InvalidInput("The file is empty.")
    for mark, name in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return name
    for start, words in _OTHER_KINDS:
        if head.lstrip().startswith(start):
            raise InvalidInput(words)
    # Text of a western language has every second byte empty in UTF-16.
    if head[1:64:2].count(0) > 20:
        return "utf-16-le"
    return "utf-16-be" if head[0:64:2].count(0) > 20 else "utf-8"


class _Lines:
    """The lines of a text, each checked before the csv module sees it."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self.number = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        try:
            line = self._text.readline(_LONGEST_LINE + 1)
        except UnicodeError as error:
            words = "is not text in UTF-8 or UTF-16. Save the file as “CSV UTF-8”."
            raise InvalidInput(f"The file from about line {self.number + 1} on {words}") from error
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > _LONGEST_LINE:
            raise InvalidInput(
                f"Line {self.number} is longer than {_LONGEST_LINE:,} characters: this is no usage export."
            )
        if "\0" in line:
            raise InvalidInput(f"Line {self.number} contains a NUL character: the file is damaged, or no text.")
        return line


def _sheet(lines: _Lines) -> Sheet:
    first = next((line for line in lines if line.strip(" \t\r\n\ufeff,;")), "")
    separator = ""
    if first.lower().startswith("sep=") and first[4:].strip("\r\n") in tuple(_SEPARATORS):  # Excel's way to name it
        separator, first = first[4], next(lines, "")
    if not first.strip():
        raise InvalidInput("The file is empty.")
    separator = separator or max(_SEPARATORS, key=first.count)
    (header,) = list(csv.reader([first], delimiter=separator)) or [[]]
    return Sheet([name.strip().lstrip("\ufeff") for name in header], separator, _rows(lines, separator))


def _rows(lines: _Lines, separator: str) -> Iterator[Row]:
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        begun = lines.number + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            words = "a quotation mark that is not closed, or one in the wrong place"
            raise InvalidInput(f"The row that begins on line {begun:,} cannot be read: it has {words}.") from error
        if row:
            yield begun, row
