"""One process at a time works on a document: who holds its lease."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from chatcore.db import Database, leases
from chatcore.db.tables import KnowledgeDocument as DocumentRow
from chatcore.ids import new_id
from chatcore.knowledge.access import THERE
from chatcore.knowledge.extracting import GivenUp


class Holder:
    """Somebody who takes leases of documents for one kind of work, all for equally long, as `leases` wants it."""

    def __init__(self, db: Database, work: str, seconds: float) -> None:
        """`work`: a word for the kind. `seconds`: until others go on, unless it is taken again before."""
        self._db = db
        self._work = work
        self._seconds = seconds
        self._holder = new_id("holder")

    def take(self, document_id: str) -> bool:
        """Take a document's lease, or go on holding it. False where another process has it."""
        return self._db.write(lambda session: self._take(session, document_id))

    def release(self, document_id: str) -> None:
        """Give it up."""
        self._db.write(lambda session: leases.release(session, self._name(document_id), self._holder))

    def locked(self, session: Session, document_id: str) -> Any:
        """The row of a document that is there, for this transaction; its lease is taken anew.

        Raises `GivenUp` where it is another's, or deleted.
        """
        there = select(DocumentRow).where(DocumentRow.id == document_id, THERE).with_for_update()
        row = session.execute(there).scalar_one_or_none()
        if row is None or not self._take(session, document_id):
            raise GivenUp("The document is left to another process.")
        return row

    def _take(self, session: Session, document_id: str) -> bool:
        return leases.take(session, self._name(document_id), self._holder, self._seconds)

    def _name(self, document_id: str) -> str:
        return f"knowledge/{self._work}/{document_id}"
