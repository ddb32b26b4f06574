"""Taking away what was deleted: passages a few at a time, then documents and bases, then files that nobody names."""

import time
from functools import partial
from typing import Final

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from chatcore.conversations.attachments.blobs import Blobs
from chatcore.db import Database
from chatcore.db.tables import KnowledgeBase as BaseRow
from chatcore.db.tables import KnowledgeDocument as DocumentRow
from chatcore.knowledge import passages, store

_BATCH: Final = 100  # passages in one transaction
_PAUSE: Final = 0.02
_FRESH: Final = 600.0  # seconds: an upload writes its row right behind its file


def sweep(db: Database) -> bool:
    """Take some of what was deleted away. Returns whether there was any."""
    swept = db.write(_some)
    if swept:
        time.sleep(_PAUSE)
    return swept


def collect(db: Database, files: Blobs, seconds: float = _FRESH) -> int:
    """Remove files that no document names and that were put longer ago. Returns how many."""
    gone = 0
    for hashes in files.old(seconds):
        kept = db.read(partial(store.kept, hashes=hashes))
        gone += sum(files.drop(sha256, seconds) for sha256 in hashes if sha256 not in kept)
    return gone


def _some(session: Session) -> bool:
    gone = select(DocumentRow.id).where(DocumentRow.deleted_at.is_not(None)).order_by(DocumentRow.id).limit(1)
    document_id = session.scalar(gone.with_for_update(skip_locked=True))
    if document_id is not None:
        if not passages.remove(session, document_id, _BATCH):
            session.execute(delete(DocumentRow).where(DocumentRow.id == document_id))
        return True
    empty = ~exists().where(DocumentRow.base_id == BaseRow.id)
    bases = select(BaseRow.id).where(BaseRow.deleted_at.is_not(None), empty).limit(1)
    base_id = session.scalar(bases.with_for_update(skip_locked=True))
    if base_id is None:
        return False
    session.execute(delete(BaseRow).where(BaseRow.id == base_id))
    return True
