"""How deeply a JSON text nests, watched while it is read: the parser's memory grows with the square of it."""

import re
from typing import Final

MOST: Final = 200
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_INSIDE: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")


class Depth:
    """Takes the text in pieces, which may be cut anywhere."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaped = False  # the last piece ended between a backslash and what it stands before

    def is_too_deep(self, piece: bytes) -> bool:
        """Whether the text up to the end of this piece has nested deeper than `MOST`."""
        for byte in self._outside_strings(piece).translate(None, _NO_BRACKETS):
            self._depth += 1 if byte in b"[{" else -1
            if self._depth > MOST:
                return True
        return False

    def _outside_strings(self, piece: bytes) -> bytes:
        start = 1 if self._escaped and piece else 0
        self._escaped = self._escaped and not piece
        if self._in_string:
            inside = _INSIDE.match(piece, start)
            end = inside.end() if inside else start
            if piece[end : end + 1] != b'"':
                self._escaped = piece[end:] == b"\\"
                return b""
            start, self._in_string = end + 1, False
        outside = _STRING.sub(b"", piece[start:])
        opened = outside.find(b'"')
        if opened < 0:
            return outside
        self._in_string = True
        self._escaped = (len(piece) - len(piece.rstrip(b"\\"))) % 2 == 1
        return outside[:opened]
