"""The text of a PDF, read by a child process: a file made to break its reader breaks only that."""

import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Final

from chatcore.conversations.attachments import extract as child
from chatcore.conversations.text import clean
from chatcore.errors import InvalidInput

MAX_CHARACTERS: Final = child.MAX_CHARACTERS
_SECONDS: Final = 30.0
_AT_ONCE: Final = threading.Semaphore(2)
_PROBLEMS: Final = {
    "locked": "{} is protected by a password. Remove the protection and attach it again.",
    "broken": "{} is a broken PDF, or only a part of one.",
    "pages": f"{{}} has more than {child.MAX_PAGES:,} pages. Attach a part of it.",
    "characters": f"{{}} has more than {MAX_CHARACTERS:,} characters of text. Attach a part of it.",
    "empty": "{} has no text in it, so it is probably scanned. Attach its pages as pictures.",
    "heavy": "{} takes too much work to read. Attach a simpler version of it.",
}


def extract(name: str, data: bytes) -> tuple[int, str]:
    """Pages and text of a PDF. Raises `InvalidInput` with a sentence that names it."""
    found = _read(data)
    if problem := found.get("problem"):
        raise InvalidInput(_PROBLEMS[problem].format(name))
    return int(found["pages"]), clean(str(found["text"]))


def _read(data: bytes) -> dict[str, Any]:
    """What the child says. `-I` and no environment: it can be told nothing, and knows no secret."""
    command = [sys.executable, "-I", str(Path(child.__file__))]
    with _AT_ONCE, tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as said:
        source.write(data)
        source.seek(0)
        try:
            done = subprocess.run(  # noqa: S603 - our own file
                command, stdin=source, stdout=said, stderr=subprocess.DEVNULL, timeout=_SECONDS, env={}, check=False
            )
        except subprocess.TimeoutExpired:
            return {"problem": "heavy"}
        said.seek(0)
        try:
            found: dict[str, Any] = json.loads(said.read(child.MAX_OUTPUT))
        except ValueError:
            found = {}
    return found if done.returncode == 0 and found else {"problem": "heavy"}
