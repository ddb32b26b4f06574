"""Knowledge bases: documents of a person or a team, split into passages that can be found.

A base is its owner's, or the team's: then everybody of the tenant reads it, and its owner and the admins change it.
"""

from collections.abc import Sequence
from functools import partial

from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.config import Settings
from chatcore.conversations.attachments import checks
from chatcore.conversations.attachments.blobs import Blobs
from chatcore.db import Database
from chatcore.knowledge import finding, kinds, passages, store
from chatcore.knowledge.erasing import erase_person
from chatcore.knowledge.kinds import ENDINGS
from chatcore.knowledge.spelling import marked
from chatcore.knowledge.values import (
    MAX_DESCRIPTION,
    MAX_MB,
    MAX_NAME,
    MAX_QUESTION,
    Added,
    Base,
    Document,
    Embeds,
    Found,
    Kind,
    Passage,
    State,
    Visibility,
)
from chatcore.knowledge.working import Worker

__all__ = [
    "ENDINGS", "FOLDER", "MAX_DESCRIPTION", "MAX_MB", "MAX_NAME", "MAX_QUESTION", "Added", "Base", "Document",
    "Embeds", "Found", "Kind", "Knowledge", "Passage", "State", "Visibility", "erase_person", "marked",
]  # fmt: skip

FOLDER = "knowledge"
"""Where the bytes of documents lie, below the data folder."""


class Knowledge:
    """The knowledge bases of the principal's tenant, as far as they are theirs to read.

    Everything that takes an id raises `NotFound`, the same for absent and for what is not theirs; changing what they
    may only read raises `Forbidden`, and every change `Unauthorized` for who was signed out meanwhile.
    """

    def __init__(self, db: Database, settings: Settings, embeds: Embeds | None = None) -> None:
        """`embeds`: makes the vectors of documents, where an embedding model is configured."""
        self._db = db
        self.files = Blobs(settings.data_dir / FOLDER)
        self.embedding_model = settings.own.embedding_model
        """The model of the vectors; None where passages are found by their words only."""
        self._worker = Worker(db, self.files, embeds, self.embedding_model)

    def start(self) -> None:
        """Begin to index what waits, in the background."""
        self._worker.start()

    def stop(self) -> None:
        """End after the batch that is being written; the next start goes on there."""
        self._worker.stop()

    def bases(self, principal: Principal) -> list[Base]:
        """All that they may read: their own first, then by name."""
        return self._db.read(lambda session: store.bases(session, principal))

    def base(self, principal: Principal, base_id: str) -> Base:
        """One of them."""
        return self._db.read(lambda session: store.base(session, principal, base_id))

    def readable(self, principal: Principal, base_ids: Sequence[str] | None = None) -> list[str]:
        """Those of the ids that they may read; None for all that there are."""
        return self._db.read(lambda session: store.readable(session, principal, base_ids))

    def has_passages(self, principal: Principal, base_ids: Sequence[str] | None = None) -> bool:
        """Whether anything can be found in those of these bases that they may read; None for all."""
        return self._db.read(lambda session: store.has_passages(session, principal, base_ids))

    def create(self, principal: Principal, name: str, description: str = "", visibility: Visibility = "own") -> str:
        """Make a base; returns its id. Raises `InvalidInput`, `Conflict` where they have too many."""
        values = store.checked(name, description, visibility)
        return self._db.write(lambda session: store.create(session, principal, values))

    def change(self, principal: Principal, base_id: str, name: str, description: str, visibility: Visibility) -> None:
        """Rename a base, or say whose it is. Raises `InvalidInput`."""
        values = store.checked(name, description, visibility)
        self._db.write(lambda session: store.change(session, principal, base_id, values))

    def delete(self, principal: Principal, base_id: str) -> None:
        """Delete a base with all its documents."""
        self._db.write(lambda session: store.delete(session, principal, base_id))
        self._worker.wake()

    def documents(self, principal: Principal, base_id: str) -> list[Document]:
        """The documents of a base, newest first."""
        return self._db.read(lambda session: store.documents(session, principal, base_id))

    def add(self, principal: Principal, base_id: str, name: str, data: bytes) -> Added:
        """Keep a document, to be indexed in the background. `name`: as the browser says it.

        Raises `InvalidInput` with a sentence that names the file, `Conflict` where the base has too many documents.
        """
        name = checks.clean_name(name)
        kind = kinds.examine(name, data)
        self._db.read(lambda session: store.base(session, principal, base_id))
        sha256 = self.files.put(data)

        def work(session: Session) -> Added:
            document_id, is_new = store.add(session, principal, base_id, name, kind, len(data), sha256)
            return Added(store.document(session, document_id), is_new)

        added = self._db.write(work)
        self._worker.wake()
        return added

    def retry(self, principal: Principal, document_id: str) -> None:
        """Index a document again that failed."""
        self._db.write(lambda session: store.retry(session, principal, document_id))
        self._worker.wake()

    def remove(self, principal: Principal, document_id: str) -> None:
        """Delete a document."""
        self._db.write(lambda session: store.remove(session, principal, document_id))
        self._worker.wake()

    def search(
        self,
        principal: Principal,
        base_ids: Sequence[str] | None,
        question: str,
        limit: int = 8,
        vector: Sequence[float] | None = None,
    ) -> list[Found]:
        """The passages that are most about the question, the best first, in those of these bases that they may read
        (None for all). `vector`: of the question by `embedding_model`; without it words alone decide.

        Raises `InvalidInput` for a question without any word.
        """
        asked = finding.Asked(question, vector, self.embedding_model, limit)
        return self._db.read(partial(finding.find, principal, base_ids, asked))

    def has_vectors(self, principal: Principal, base_ids: Sequence[str] | None) -> bool:
        """Whether a question's vector would find anything in these bases."""
        model = self.embedding_model
        if model is None:
            return False
        return self._db.read(lambda session: finding.has_vectors(session, principal, base_ids, model))

    def passage(self, principal: Principal, passage_id: str) -> Passage:
        """A passage that a citation names, with its neighbours."""
        return self._db.read(lambda session: passages.one(session, principal, passage_id))

    def work_off(self) -> None:
        """Do in this thread what waits: for tests and tools, where nothing was started."""
        self._worker.work_off()
