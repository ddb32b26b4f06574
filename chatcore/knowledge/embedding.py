"""Vectors for passages that are found by their words already. What fails is tried again later; nothing is lost."""

import logging
from datetime import timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from chatcore.accounts.principal import Principal
from chatcore.accounts.sessions import as_principal
from chatcore.db import Database
from chatcore.db.tables import KnowledgeBase as BaseRow
from chatcore.db.tables import KnowledgeDocument as DocumentRow
from chatcore.db.tables import User, utcnow
from chatcore.errors import ChatcoreError
from chatcore.knowledge import vectors
from chatcore.knowledge.access import THERE
from chatcore.knowledge.extracting import GivenUp
from chatcore.knowledge.holding import Holder
from chatcore.knowledge.values import Embeds

log = logging.getLogger(__name__)

_LEASE: Final = 300.0  # seconds that a call to the model may take
_BATCH: Final = 64  # passages in one call
_AGAIN: Final = timedelta(minutes=5)
_NOT_SOON: Final = timedelta(hours=6)
_LONGEST: Final = 6_000  # characters of a passage with its title that a model is sent
_LOOKED_AT: Final = 20


class DocumentEmbedder:
    """Makes vectors, some passages at a time. `model`: its name."""

    def __init__(self, db: Database, embeds: Embeds, model: str) -> None:
        self._db = db
        self._holder = Holder(db, "vectors", _LEASE)
        self._embeds = embeds
        self._model = model

    def next(self) -> bool:
        """Embed some passages of one document that needs it. Returns whether there was one."""
        for document_id, who in self._db.read(partial(_wanting, self._model)):
            if self._holder.take(document_id):
                try:
                    self._embed(document_id, who)
                except GivenUp:
                    pass  # deleted meanwhile
                except ChatcoreError as error:
                    log.warning("a document has no vectors yet", extra={"error": error.code})
                    self._put_off(document_id, _AGAIN)
                except Exception:
                    log.exception("a document has no vectors yet")
                    self._put_off(document_id, _NOT_SOON)
                finally:
                    self._holder.release(document_id)
                return True
        return False

    def _embed(self, document_id: str, who: Principal | None) -> None:
        if who is None:
            return self._put_off(document_id, _NOT_SOON)
        name, first, rows = self._db.write(partial(self._begin, document_id))
        if not rows:
            return None
        texts = [f"{name}\n{row.place}\n{row.content}"[:_LONGEST] for row in rows]
        made = vectors.checked(self._embeds(who, texts), len(texts))
        return self._db.write(partial(self._add, document_id, first, [row.id for row in rows], made))

    def _begin(self, document_id: str, session: Session) -> tuple[str, int, list[Any]]:
        """The document's name, and the next passages, with the position of the first."""
        document = self._holder.locked(session, document_id)
        if document.embedding_model != self._model:
            vectors.forget(session, document_id)
            document.embedding_model, document.embedded = self._model, 0
        return document.name, document.embedded, vectors.passages(session, document_id, document.embedded, _BATCH)

    def _add(self, document_id: str, first: int, rows: list[int], made: Any, session: Session) -> None:
        document = self._holder.locked(session, document_id)
        if document.state != "ready" or (document.embedding_model, document.embedded) != (self._model, first):
            raise GivenUp("The document is left to another process.")
        vectors.add(session, document, self._model, rows, made)
        document.embedded = first + len(rows)

    def _put_off(self, document_id: str, time: timedelta) -> None:
        later = update(DocumentRow).where(DocumentRow.id == document_id).values(embed_after=utcnow() + time)
        self._db.write(lambda session: session.execute(later.execution_options(synchronize_session=False)) and None)


def _wanting(model: str, session: Session) -> list[tuple[str, Principal | None]]:
    """Documents whose passages have no vectors of this model, each with who pays: who uploaded it, or else who owns
    the base; None where neither can sign in any more."""
    owner = aliased(User)
    query = (
        select(DocumentRow.id, User, owner)
        .join(BaseRow, BaseRow.id == DocumentRow.base_id)
        .outerjoin(User, and_(User.id == DocumentRow.user_id, User.disabled_at.is_(None)))
        .outerjoin(owner, and_(owner.id == BaseRow.owner_id, owner.disabled_at.is_(None)))
        .where(DocumentRow.state == "ready", THERE)
        .where(or_(DocumentRow.embed_after.is_(None), DocumentRow.embed_after < utcnow()))
        .where(
            or_(func.coalesce(DocumentRow.embedding_model, "") != model, DocumentRow.embedded < DocumentRow.passages)
        )
        .order_by(DocumentRow.id)
        .limit(_LOOKED_AT)
    )
    found = session.execute(query).all()
    return [(document_id, as_principal(one or other) if one or other else None) for document_id, one, other in found]
