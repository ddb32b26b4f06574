"""Indexing in the background, in pieces: a document is read by a child process, then written a few passages at a time.

One process at a time works on a document: it holds a lease, and looks in each transaction whether it still does. What
was written stays written, so that after a kill the next one goes on there.
"""

import logging
import threading
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from chatcore.conversations.attachments.blobs import Blobs
from chatcore.db import Database
from chatcore.db.tables import KnowledgeDocument as DocumentRow
from chatcore.errors import ChatcoreError, InvalidInput
from chatcore.knowledge import extracting, passages
from chatcore.knowledge.access import THERE
from chatcore.knowledge.extracting import GivenUp, Piece
from chatcore.knowledge.holding import Holder
from chatcore.knowledge.spelling import VERSION
from chatcore.knowledge.values import MAX_PASSAGES

log = logging.getLogger(__name__)

_LEASE: Final = 20.0  # seconds; taken anew with every batch, and every 2 s while a child reads
_BATCH: Final = 40  # passages in one transaction: about 0.02 s of the writer
_PAUSE: Final = 0.02  # seconds between two of them, for others to write
_LOOKED_AT: Final = 20
_FULL: Final = f"The knowledge base is full: it has {MAX_PASSAGES:,} passages. Delete what is no longer needed."
_FAULT: Final = "Something went wrong in Chatcore while this was read. Try it again."
_UNDONE: Final = {"state": "waiting", "passages": None, "done": 0, "embedded": 0, "embedding_model": None}


class DocumentIndexer:
    """Indexes documents one after the other. `files`: where their bytes lie."""

    def __init__(self, db: Database, files: Blobs, stopping: threading.Event) -> None:
        self._db = db
        self._files = files
        self._stopping = stopping
        self._holder = Holder(db, "words", _LEASE)

    def next(self) -> bool:
        """Index one document that waits. Returns whether there was one."""
        for document in self._db.read(_waiting):
            if self._holder.take(document.id):
                try:
                    self._index(document)
                except GivenUp:
                    pass  # it is deleted, another's by now, or goes on after the next start
                finally:
                    self._holder.release(document.id)
                return True
        return False

    def _index(self, document: Any) -> None:
        read = self._files.beside(document.sha256, f"passages{VERSION}")
        try:
            if not read.is_file():
                source = self._files.path(document.sha256)
                extracting.extract(source, document.kind, read, partial(self._go_on, document.id))
            self._write(document.id, read)
            read.unlink(missing_ok=True)
        except InvalidInput as error:
            self._fail(document.id, str(error))
        except FileNotFoundError:
            self._fail(document.id, "The file is lost. Upload it again.")
        except ChatcoreError:  # the database is away, or somebody else goes on: it waits
            raise
        except Exception:
            if self._stopping.is_set():
                raise
            log.exception("a document could not be indexed", extra={"document_id": document.id})
            self._fail(document.id, _FAULT)

    def _go_on(self, document_id: str) -> bool:
        return not self._stopping.is_set() and self._holder.take(document_id)

    def _write(self, document_id: str, read: Path) -> None:
        with read.open("rb") as file:
            total, pages = extracting.summary(file)
            while not self._db.write(partial(self._begin, document_id, total, pages)):
                self._rest()
            done = self._db.read(lambda session: session.get_one(DocumentRow, document_id).done)
            waiting = extracting.pieces(file, done)
            while some := list(islice(waiting, _BATCH)):
                self._db.write(partial(self._add, document_id, done, some))
                done += len(some)
                self._rest()
        self._db.write(partial(self._end, document_id, done))

    def _rest(self) -> None:
        if self._stopping.wait(_PAUSE):
            raise GivenUp("The process ends.")

    def _begin(self, document_id: str, total: int, pages: int | None, session: Session) -> bool:
        """Note what is to be done. Returns whether nothing is left of an earlier time, so that it can begin."""
        document = self._holder.locked(session, document_id)
        if document.state == "indexing" and document.passages == total and document.spelling == VERSION:
            return True
        if passages.remove(session, document_id, _BATCH):
            return False
        others = select(func.coalesce(func.sum(DocumentRow.passages), 0)).where(
            DocumentRow.base_id == document.base_id, DocumentRow.id != document_id, THERE
        )
        if int(session.scalar(others) or 0) + total > MAX_PASSAGES:
            raise InvalidInput(_FULL)
        new = {**_UNDONE, "state": "indexing", "passages": total, "pages": pages, "spelling": VERSION}
        session.execute(update(DocumentRow).where(DocumentRow.id == document_id).values(**new))
        return True

    def _add(self, document_id: str, done: int, some: list[Piece], session: Session) -> None:
        document = self._holder.locked(session, document_id)
        if document.done != done:
            raise GivenUp("The document is left to another process.")
        passages.add(session, document, done, some)
        document.done = done + len(some)

    def _end(self, document_id: str, done: int, session: Session) -> None:
        self._holder.locked(session, document_id)
        ready = {"state": "ready", "problem": "", "passages": done, "embed_after": None}
        session.execute(update(DocumentRow).where(DocumentRow.id == document_id).values(**ready))

    def _fail(self, document_id: str, problem: str) -> None:
        def work(session: Session) -> None:
            self._holder.locked(session, document_id)
            failed = {"state": "failed", "problem": problem}
            session.execute(update(DocumentRow).where(DocumentRow.id == document_id).values(**failed))

        self._db.write(work)


def outdated(session: Session) -> None:
    """What was spelled by an earlier version of the words waits again."""
    old = update(DocumentRow).where(DocumentRow.state == "ready", DocumentRow.spelling != VERSION)
    session.execute(old.values(state="waiting").execution_options(synchronize_session=False))


def _waiting(session: Session) -> list[Any]:
    wanted = or_(DocumentRow.state == "waiting", DocumentRow.state == "indexing")
    query = select(DocumentRow.id, DocumentRow.sha256, DocumentRow.kind).where(wanted, THERE)
    return list(session.execute(query.order_by(DocumentRow.id).limit(_LOOKED_AT)))
