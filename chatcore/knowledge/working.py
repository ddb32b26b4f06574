"""The thread that indexes, embeds and sweeps in the background."""

import logging
import threading
import time
from typing import Final

from chatcore.conversations.attachments.blobs import Blobs
from chatcore.db import Database
from chatcore.errors import ChatcoreError
from chatcore.knowledge.embedding import DocumentEmbedder
from chatcore.knowledge.indexing import DocumentIndexer, outdated
from chatcore.knowledge.sweeping import collect, sweep
from chatcore.knowledge.values import Embeds

log = logging.getLogger(__name__)

_IDLE: Final = 5.0  # seconds until it looks again for what other processes left
_AFTER_FAULT: Final = 30.0
_COLLECT_EVERY: Final = 3600.0
_PATIENCE: Final = 5.0  # seconds for the step that is being taken when the process ends


class Worker:
    """One thread for all of it; documents first, then vectors."""

    def __init__(self, db: Database, files: Blobs, embeds: Embeds | None, model: str | None) -> None:
        self._db = db
        self._files = files
        self._stopping = threading.Event()
        self._awake = threading.Event()
        self._collected = time.monotonic()
        self._indexer = DocumentIndexer(db, files, self._stopping)
        self._embedder = DocumentEmbedder(db, embeds, model) if embeds and model else None
        self._thread = threading.Thread(target=self._run, name="knowledge", daemon=True)

    def start(self) -> None:
        """Begin, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """End after the step that is being taken. A call to a model is left behind: it is made again."""
        self._stopping.set()
        self._awake.set()
        if self._thread.ident is not None:
            self._thread.join(_PATIENCE)

    def wake(self) -> None:
        """There is something to do."""
        self._awake.set()

    def work_off(self) -> None:
        """Do all that waits, in this thread."""
        self._db.write(outdated)
        while self._step():
            pass

    def _step(self) -> bool:
        """Do something that waits. Returns whether there was anything."""
        if sweep(self._db) or self._indexer.next():
            return True
        return self._embedder is not None and self._embedder.next()

    def _run(self) -> None:
        is_first = True
        while not self._stopping.is_set():
            self._awake.clear()
            try:
                if is_first:
                    self._db.write(outdated)
                    is_first = False
                if self._step():
                    continue
                self._tidy_up()
            except ChatcoreError as error:
                log.warning("documents are not indexed right now", extra={"error": error.code})
                self._stopping.wait(_AFTER_FAULT)
            except Exception:
                if self._stopping.is_set():
                    return  # the database was closed
                log.exception("documents are not indexed right now")
                self._stopping.wait(_AFTER_FAULT)
            self._awake.wait(_IDLE)

    def _tidy_up(self) -> None:
        if time.monotonic() - self._collected > _COLLECT_EVERY:
            self._collected = time.monotonic()
            collect(self._db, self._files)
