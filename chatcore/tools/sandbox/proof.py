"""Proves that the sandbox of this machine holds, before anything is run in it: tries to get out, and must fail."""

import asyncio
import concurrent.futures
import json
import logging
import secrets
import socket
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chatcore.tools.sandbox.confine import ENVIRONMENT, Cell, find_cell
from chatcore.tools.sandbox.running import run
from chatcore.tools.sandbox.values import GivenFile, Limits, NoSandbox

log = logging.getLogger(__name__)

LIMITS: Final = Limits(
    seconds=15,
    cpu_seconds=8,
    memory_bytes=512 * 2**20,
    folder_bytes=2**20,
    folder_files=20,
    file_bytes=2**19,
    threads=6,
)
_ATTEMPTS: Final = Path(__file__).with_name("attempts.py")
_HOST_FILES: Final = ("/etc/passwd", "/etc/hostname", "/proc/1/environ", "/proc/self/status", "/sys/kernel", "/bin/sh")


class Proof:
    """Whether this machine can shut programs in: found out once, in a thread of its own, when it is first asked."""

    def __init__(self, private: Sequence[Path] = ()) -> None:
        """`private`: files and folders that a program must not see, beside those that none must see."""
        self._private = tuple(private)
        self._begun = threading.Lock()
        self._found: concurrent.futures.Future[Cell] = concurrent.futures.Future()
        self._found.set_running_or_notify_cancel()  # so that nobody who stops waiting for it ends it for the others

    def begin(self) -> None:
        """Find out, unless that has begun. Returns at once."""
        if self._begun.acquire(blocking=False):
            threading.Thread(target=self._find, name="sandbox-proof", daemon=True).start()

    @property
    def why_not(self) -> str | None:
        """Empty where the sandbox holds, a sentence where it does not, None while that is not known yet."""
        if not self._found.done():
            return None
        error = self._found.exception()
        return str(error) if error is not None else ""

    async def cell(self) -> Cell:
        """What shuts programs in, as soon as that is known. Raises `NoSandbox`."""
        self.begin()
        await asyncio.wait([asyncio.wrap_future(self._found)])
        if why := self.why_not:
            raise NoSandbox(why)
        return self._found.result()

    def _find(self) -> None:
        try:
            cell = find_cell()
            asyncio.run(prove(cell, self._private))
        except NoSandbox as error:
            log.warning("no code can be run on this machine", extra={"why": str(error)})
            self._found.set_exception(error)
        except (OSError, subprocess.SubprocessError) as error:
            log.warning("no code can be run on this machine", exc_info=True)
            self._found.set_exception(NoSandbox(f"The sandbox cannot be started here ({type(error).__name__})."))
        except BaseException:
            log.exception("trying the sandbox failed")
            self._found.set_exception(NoSandbox("Trying the sandbox of this server failed, so no code is run."))
        else:
            log.info("the sandbox holds")
            self._found.set_result(cell)


async def prove(cell: Cell, private: Sequence[Path] = ()) -> None:
    """Try to get out of it. Raises `NoSandbox` where it does not hold, or where nothing can be run in it."""
    word = secrets.token_hex(16)
    with tempfile.NamedTemporaryFile("w") as secret, socket.socket() as listener:
        secret.write(word)
        secret.flush()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        told = {
            "files": [*_HOST_FILES, secret.name, *map(str, private)],
            "port": listener.getsockname()[1],
            "threads": LIMITS.threads,
            "memory": LIMITS.memory_bytes,
            "folder": LIMITS.folder_bytes,
            "folder_files": LIMITS.folder_files,
            "environment": [*ENVIRONMENT, "PWD", "LC_CTYPE"],
            "word": word,
        }
        given = GivenFile("told.json", json.dumps(told).encode())
        outcome = await run(cell, _ATTEMPTS.read_text(), [given], LIMITS)
    expected = json.dumps({"word": word, "through": []})
    if outcome.stdout.strip() != expected or outcome.ending != "ended":
        said = (outcome.ending, outcome.stdout[-2000:], outcome.stderr[-2000:])
        log.warning("the sandbox of this machine does not hold", extra={"said": said})
        raise NoSandbox("The sandbox of this server does not hold everything back, so no code is run in it.")
