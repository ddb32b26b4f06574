"""Reading a document in a child process: a file made to break its reader breaks only that."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from chatcore.conversations.attachments import blobs
from chatcore.conversations.text import clean
from chatcore.errors import ChatcoreError, InvalidInput
from chatcore.knowledge.reading.problems import MAX_CHARACTERS, MAX_PAGES
from chatcore.knowledge.values import Kind

PROBLEMS: Final = {
    "locked": "It is protected by a password. Remove the protection and upload it again.",
    "broken": "It is broken, or only a part of a file.",
    "pages": f"It has more than {MAX_PAGES:,} pages. Upload it in parts.",
    "characters": f"It has more than {MAX_CHARACTERS:,} characters of text. Upload it in parts.",
    "empty": "There is no text in it, so it is probably scanned. Upload it with its text recognised.",
    "heavy": "It takes too much work to read. Upload a simpler version of it.",
}
_SECONDS: Final = 300.0
_BEAT: Final = 2.0  # seconds between two looks at whether to go on
_LAST_LINE: Final = 4096  # bytes
_PIECE: Final = b'{"text"'
_ROOT: Final = Path(__file__).resolve().parents[2]
# The packages above what the child needs would bring the database along: half a second for each document.
_START: Final = f"""
import sys, types
sys.path.append({str(_ROOT)!r})
for name in ("knowledge", "conversations"):
    package = sys.modules["chatcore." + name] = types.ModuleType("chatcore." + name)
    package.__path__ = [{str(_ROOT / "chatcore")!r} + "/" + name]
from chatcore.knowledge.reading import child
child.main()
"""


class GivenUp(ChatcoreError):
    """Somebody else goes on with the document, or the process ends."""

    code = "given_up"


@dataclass(frozen=True)
class Piece:
    """A passage as it was read. `words`: in the spelling of the index."""

    text: str
    heading: str
    place: str
    words: str


def extract(source: Path, kind: Kind, target: Path, go_on: Callable[[], bool]) -> None:
    """Read `source`, and write its passages to `target`.

    `go_on` is asked every 2 seconds; False raises `GivenUp`. Raises `InvalidInput` with a sentence about the document
    where it cannot be read.
    """
    with source.open("rb") as opened, blobs.writing(target) as file:
        _run(kind, opened, file, go_on)
    with target.open("rb") as written:
        problem = _last(written).get("problem")
    if problem:
        target.unlink()
        raise InvalidInput(PROBLEMS[problem])


def _run(kind: Kind, source: IO[bytes], target: IO[bytes], go_on: Callable[[], bool]) -> None:
    """`-I` and no environment: it can be told nothing, and knows no secret."""
    child = subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-I", "-c", _START, kind], stdin=source, stdout=target, stderr=subprocess.DEVNULL, env={}
    )
    deadline = time.monotonic() + _SECONDS
    try:
        while True:
            try:
                code = child.wait(_BEAT)
                break
            except subprocess.TimeoutExpired as error:
                if not go_on():
                    raise GivenUp("The document is left to another process.") from error
                if time.monotonic() > deadline:
                    raise InvalidInput(PROBLEMS["heavy"]) from error
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    if code != 0:
        raise InvalidInput(PROBLEMS["heavy"])


def summary(file: IO[bytes]) -> tuple[int, int | None]:
    """How many passages were read, and of how many pages where it has pages."""
    last = _last(file)
    return int(last["passages"]), last["pages"]


def pieces(file: IO[bytes], skipped: int) -> Iterator[Piece]:
    """The passages, from that number on."""
    file.seek(0)
    for number, line in enumerate(file):
        if number >= skipped and line.startswith(_PIECE):
            found = json.loads(line)
            yield Piece(clean(found["text"]), clean(found["heading"]), clean(found["place"]), found["words"])


def _last(file: IO[bytes]) -> dict[str, Any]:
    """The last line. Raises `InvalidInput` where the child did not come so far."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LAST_LINE))
    line = file.read().rstrip().rpartition(b"\n")[2]
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise InvalidInput(PROBLEMS["heavy"]) from error
    return found
