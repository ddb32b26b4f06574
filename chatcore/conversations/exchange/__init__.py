"""Import: our own JSON and the export files of other products, idempotently, in the background."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from chatcore.accounts.principal import Principal
from chatcore.config import Settings
from chatcore.conversations.attachments import Attachments
from chatcore.conversations.exchange import json_form
from chatcore.conversations.exchange.job import ImportProgress, Job, job
from chatcore.db import Database
from chatcore.errors import Conflict, NotFound

__all__ = ["MOST_BYTES", "ImportProgress", "Imports"]

MOST_BYTES: Final = 200 * 2**20
_AT_ONCE: Final = 2
_KEPT: Final = 5  # imports of a person that have ended, for their page


class Imports:
    """Running and finished imports of this process."""

    def __init__(self, db: Database, settings: Settings, attachments: Attachments) -> None:
        self._db = db
        self._folder = settings.data_dir / "imports"
        self._attachments = attachments
        self._jobs: dict[tuple[str, str], list[Job]] = {}
        self._lock = threading.Lock()
        self._places = threading.Semaphore(_AT_ONCE)

    def start(self, principal: Principal, name: str, source: Path | bytes | IO[bytes]) -> ImportProgress:
        """Import a file of Chatcore, ChatGPT or Open WebUI (JSON or ZIP) in the background; returns at once.

        `source`: the file's path, bytes, or the file opened for reading; it is copied. Raises `InvalidInput` where it
        is empty or too big, `Conflict` while another import of the person runs; what else is wrong is said by `get`.
        """
        self._check_free(principal)
        made = job(principal, " ".join(name.split())[:200] or "file", source, self._folder, MOST_BYTES)
        with self._lock:
            try:
                self._check_free(principal)
            except Conflict:
                made.file.close()
                raise
            mine = self._jobs.setdefault(_key(principal), [])
            mine.append(made)
            del mine[:-_KEPT]
        arguments = (self._db, self._attachments, self._places)
        # A daemon: a process that stops does not wait for it, and the file can be imported again.
        threading.Thread(target=made.run, args=arguments, name="import", daemon=True).start()
        return made.progress

    def mine(self, principal: Principal) -> list[ImportProgress]:
        """The person's imports in this process, newest first."""
        return [made.progress for made in reversed([*self._jobs.get(_key(principal), [])])]

    def get(self, principal: Principal, import_id: str) -> ImportProgress:
        """How far one is. Raises `NotFound`, the same for absent and for somebody else's."""
        return self._find(principal, import_id).progress

    def cancel(self, principal: Principal, import_id: str) -> None:
        """Stop it; what was imported stays. Raises `NotFound`."""
        self._find(principal, import_id).cancelled.set()

    def export_all(self, principal: Principal) -> Iterator[str]:
        """Every conversation of one's own but the temporary ones, as one JSON file in pieces of text."""
        return json_form.dump_all(self._db, principal, self._attachments)

    def _find(self, principal: Principal, import_id: str) -> Job:
        for made in self._jobs.get(_key(principal), []):
            if made.progress.id == import_id:
                return made
        raise NotFound("This import does not exist, or it is not yours.")

    def _check_free(self, principal: Principal) -> None:
        if any(made.progress.state == "running" for made in self._jobs.get(_key(principal), [])):
            raise Conflict("An import of yours is running. Wait until it has ended, or cancel it.")


def _key(principal: Principal) -> tuple[str, str]:
    return principal.tenant_id, principal.user_id
