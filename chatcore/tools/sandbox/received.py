"""Reading what a program sent back: bytes of bounded length that may hold anything."""

import json
from typing import Any

from chatcore.conversations.text import clean
from chatcore.tools.sandbox.values import Came, MadeFile

_MOST_LINE = 2**20  # bytes
_MOST = 20  # of tables and of files


def read(data: bytes) -> Came:
    """What makes sense of it. Reading ends at the first thing that makes none. Never raises."""
    ready, whole, more = False, False, 0
    tables: list[dict[str, Any]] = []
    files: list[MadeFile] = []
    left: list[str] = []
    at = 0
    while (line := _line(data, at)) is not None:
        said, start = line
        at = start + _count(said.get("size"))
        if at > len(data):
            break
        match said.get("kind"):
            case "ready":
                ready = True
            case "table" if len(tables) < _MOST:
                tables.append(said)
            case "file" if len(files) < _MOST:
                files.append(MadeFile(_name(said.get("name")), data[start:at]))
            case "left" if isinstance(names := said.get("names"), list):
                left, more = [_name(name) for name in names[:_MOST]], _count(said.get("more"))
            case "end":
                whole = True
    return Came(ready, whole, tuple(tables), tuple(files), tuple(left), more)


def _line(data: bytes, at: int) -> tuple[dict[str, Any], int] | None:
    """The JSON object that begins at `at`, and where the next thing begins."""
    end = data.find(b"\n", at, at + _MOST_LINE)
    if end < 0:
        return None
    try:
        said = json.loads(data[at:end])
    except (ValueError, RecursionError):
        return None
    return (said, end + 1) if isinstance(said, dict) else None


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value < 2**53 else 0


def _name(value: object) -> str:
    return " ".join(clean(str(value)[:200]).split()) or "file"
