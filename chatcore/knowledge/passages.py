"""The SQL of passages and of their full-text index. Functions work inside the caller's transaction."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import bindparam, delete, insert, select, text
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.db.tables import KnowledgeBase as BaseRow
from chatcore.db.tables import KnowledgeDocument as DocumentRow
from chatcore.db.tables import KnowledgePassage as PassageRow
from chatcore.db.tables import KnowledgeSketch as SketchRow
from chatcore.db.tables import KnowledgeVector as VectorRow
from chatcore.errors import NotFound
from chatcore.knowledge import access
from chatcore.knowledge.extracting import Piece
from chatcore.knowledge.spelling import spelled
from chatcore.knowledge.values import Found, Passage

_GONE: Final = "This passage is no longer there, or it is not yours to read."
_INSERT: Final = {
    True: text("INSERT INTO knowledge_search (rowid, base, title, words) VALUES (:id, :base, :title, :words)"),
    False: text("INSERT INTO knowledge_search (id, words) VALUES (:id, CAST(:words AS tsvector))"),
}
_DELETE: Final = {
    True: text("DELETE FROM knowledge_search WHERE rowid = :id"),
    False: text("DELETE FROM knowledge_search WHERE id = :id"),
}
_NUMBERED: Final = insert(PassageRow.__table__).returning(  # type: ignore[arg-type]
    PassageRow.__table__.c.id, sort_by_parameter_order=True
)
_FOUND: Final = (
    select(
        PassageRow.id, PassageRow.document_id, PassageRow.position, PassageRow.place, PassageRow.content,
        DocumentRow.base_id, DocumentRow.name.label("title"), BaseRow.name.label("base"),
    )
    .join(DocumentRow, DocumentRow.id == PassageRow.document_id)
    .join(BaseRow, BaseRow.id == DocumentRow.base_id)
    .where(access.READABLE, access.THERE)
)  # fmt: skip
_BY_ROWS: Final = _FOUND.where(PassageRow.id.in_(bindparam("rows", expanding=True)))
_BY_PLACE: Final = _FOUND.where(
    PassageRow.document_id == bindparam("document"), PassageRow.position == bindparam("position")
)


def base_word(base_id: str) -> str:
    """The id of a base as a word of the index."""
    return base_id.replace("_", "")


def add(session: Session, document: Any, first: int, pieces: Sequence[Piece]) -> None:
    """Write passages of a document, the first of them at position `first`, and their words."""
    whose = {"tenant_id": document.tenant_id, "document_id": document.id}
    rows = [
        {**whose, "position": position, "place": piece.place, "content": piece.text}
        for position, piece in enumerate(pieces, first)
    ]
    numbers = session.scalars(_NUMBERED, rows).all()
    is_sqlite = _is_sqlite(session)
    entry = _entry if is_sqlite else _vector
    base, name = base_word(document.base_id), document.name.rpartition(".")[0] or document.name
    values = [
        entry(number, base, spelled(f"{name} {piece.heading}"), piece.words)
        for number, piece in zip(numbers, pieces, strict=True)
    ]
    session.execute(_INSERT[is_sqlite], values)


def remove(session: Session, document_id: str, most: int) -> bool:
    """Take up to `most` passages of a document away, with all that was made of them; returns whether any was left."""
    query = select(PassageRow.id).where(PassageRow.document_id == document_id)
    ids = list(session.scalars(query.order_by(PassageRow.position.desc()).limit(most)))
    if not ids:
        session.execute(delete(SketchRow).where(SketchRow.document_id == document_id))
        return False
    session.execute(_DELETE[_is_sqlite(session)], [{"id": number} for number in ids])
    session.execute(delete(VectorRow).where(VectorRow.passage_id.in_(ids)))
    session.execute(delete(PassageRow).where(PassageRow.id.in_(ids)))
    return True


def by_rows(session: Session, principal: Principal, rows: Sequence[int]) -> dict[int, Found]:
    """Those of these passages that the principal may read, by their numbers."""
    found = session.execute(_BY_ROWS, access.scope(principal) | {"rows": list(rows)})
    return {row.id: _found(row) for row in found}


def one(session: Session, principal: Principal, passage_id: str) -> Passage:
    """A passage with its neighbours. Raises `NotFound`, the same for absent and for somebody else's."""
    document_id, _, position = passage_id.rpartition(".")
    if not (position.isascii() and position.isdigit() and len(position) < 9):
        raise NotFound(_GONE)
    place = {"document": document_id, "position": int(position)}
    row = session.execute(_BY_PLACE, access.scope(principal) | place).one_or_none()
    if row is None:
        raise NotFound(_GONE)
    around = select(PassageRow.position, PassageRow.content).where(
        PassageRow.document_id == document_id, PassageRow.position.in_((row.position - 1, row.position + 1))
    )
    beside = {one.position: one.content for one in session.execute(around)}
    return Passage(_found(row), row.base, beside.get(row.position - 1, ""), beside.get(row.position + 1, ""))


def _found(row: Any) -> Found:
    return Found(f"{row.document_id}.{row.position}", row.base_id, row.document_id, row.title, row.place, row.content)


def _entry(number: int, base: str, title: list[str], words: str) -> dict[str, Any]:
    return {"id": number, "base": base, "title": " ".join(title), "words": words}


def _vector(number: int, base: str, title: list[str], words: str) -> dict[str, Any]:
    """A tsvector as PostgreSQL reads it, so that no dictionary of the server has a say. The title's weight is A."""
    places: dict[str, list[str]] = {}
    for position, word in enumerate(title, 1):
        places.setdefault(word, []).append(f"{position}A")
    for position, word in enumerate(words.split(), len(title) + 2):  # no phrase begins in the title
        places.setdefault(word, []).append(str(position))
    marks = [f"'@{base}'", *(f"'{word}':{','.join(held[:255])}" for word, held in places.items())]
    return {"id": number, "words": " ".join(marks)}


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"
