"""Finding passages by their meaning: the vectors nearest to that of a question, by a scan that numpy does.

Of every vector there is a sketch, one bit for the sign of each dimension, many of them in one row. A question is first
compared with all sketches of its bases, then with the whole vectors of the best ones. Nothing is kept in memory.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from sqlalchemy import bindparam, delete, event, insert, select
from sqlalchemy.orm import Session

from chatcore.db.tables import KnowledgePassage as PassageRow
from chatcore.db.tables import KnowledgeSketch as SketchRow
from chatcore.db.tables import KnowledgeVector as VectorRow
from chatcore.errors import ProviderError

EXACTLY: Final = 500  # vectors that are compared in full; where there are no more, the sketches are not needed
_AT_ONCE: Final = 500
_BINARY: Final = 1  # of psycopg's formats
_WORD: Final = 64  # bits that are compared at once
_SKETCHES: Final = select(SketchRow.passage_ids, SketchRow.signs).where(
    SketchRow.base_id.in_(bindparam("bases", expanding=True)), SketchRow.model == bindparam("model")
)
_VECTORS: Final = select(VectorRow.passage_id, VectorRow.vector).where(
    VectorRow.passage_id.in_(bindparam("rows", expanding=True))
)
_Matrix = np.ndarray[Any, Any]


def checked(vectors: Sequence[Sequence[float]], count: int) -> _Matrix:
    """Vectors of length 1, as float32. Raises `ProviderError` where they are not `count` sound ones of one size."""
    try:
        found = np.array(vectors, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise ProviderError("The embedding model answered with something that is no vector.") from error
    if found.ndim != 2 or len(found) != count or not found.shape[1] or not np.isfinite(found).all():
        raise ProviderError("The embedding model answered with something that is no vector.")
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return found / np.where(lengths == 0, 1, lengths)


def add(session: Session, document: Any, model: str, rows: Sequence[int], vectors: _Matrix) -> None:
    """Write the vectors of some passages of a document, and their sketches."""
    session.execute(delete(VectorRow).where(VectorRow.passage_id.in_(list(rows))))
    session.execute(
        insert(VectorRow),
        [
            {"passage_id": row, "tenant_id": document.tenant_id, "vector": vector.tobytes()}
            for row, vector in zip(rows, vectors, strict=True)
        ],
    )
    session.execute(
        insert(SketchRow).values(
            tenant_id=document.tenant_id, base_id=document.base_id, document_id=document.id, model=model,
            passage_ids=np.array(rows, dtype=np.int64).tobytes(), signs=_signs(vectors).tobytes(),
        )
    )  # fmt: skip


def forget(session: Session, document_id: str) -> None:
    """A document's vectors are found no more, and made anew."""
    session.execute(delete(SketchRow).where(SketchRow.document_id == document_id))


def passages(session: Session, document_id: str, first: int, count: int) -> list[Any]:
    """Numbers, places and texts of some passages of a document."""
    query = select(PassageRow.id, PassageRow.place, PassageRow.content).where(
        PassageRow.document_id == document_id, PassageRow.position >= first, PassageRow.position < first + count
    )
    return list(session.execute(query.order_by(PassageRow.position)))


def nearest(session: Session, base_ids: Sequence[str], model: str, question: Sequence[float], limit: int) -> list[int]:
    """Numbers of the passages of these bases whose vectors are nearest to the question's, the nearest first."""
    wanted = checked([question], 1)[0]
    with _bytes_as_they_are(session):
        rows, signs = _sketches(session, base_ids, model, len(wanted))
        if len(rows) > EXACTLY:
            differing = np.bitwise_count(signs ^ _signs(wanted[None])).sum(axis=1, dtype=np.int32)
            rows = rows[np.argpartition(differing, EXACTLY)[:EXACTLY]]
        found, scores = _compared(session, rows.tolist(), wanted)
    order = np.argsort(-scores, kind="stable")[:limit]
    return [found[place] for place in order]


@contextmanager
def _bytes_as_they_are(session: Session) -> Iterator[None]:
    """Else psycopg is sent bytes as hexadecimal text, which takes three times as long."""
    if session.get_bind().dialect.name == "sqlite":
        yield
        return
    connection = session.connection()
    event.listen(connection, "before_cursor_execute", _binary)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", _binary)


def _binary(_connection: Any, cursor: Any, *_: Any) -> None:
    cursor.format = _BINARY


def _signs(vectors: _Matrix) -> _Matrix:
    """The sign of each number as a bit, a row of whole words (uint64) for each vector."""
    count, size = vectors.shape
    padded = np.zeros((count, -(-size // _WORD) * _WORD), dtype=bool)
    padded[:, :size] = vectors > 0
    return np.packbits(padded, axis=1).view(np.uint64)


def _sketches(session: Session, base_ids: Sequence[str], model: str, size: int) -> tuple[_Matrix, _Matrix]:
    """Numbers of passages, and their sketches, a row of words for each."""
    width = -(-size // _WORD)
    numbers, signs = bytearray(), bytearray()
    for some, sketches in session.execute(_SKETCHES, {"bases": list(base_ids), "model": model}):
        if len(sketches) == len(some) * width:  # else the model gave vectors of another size then
            numbers += some
            signs += sketches
    return np.frombuffer(numbers, dtype=np.int64), np.frombuffer(signs, dtype=np.uint64).reshape(-1, width)


def _compared(session: Session, rows: Sequence[int], wanted: _Matrix) -> tuple[list[int], _Matrix]:
    found: list[int] = []
    vectors = bytearray()
    for start in range(0, len(rows), _AT_ONCE):
        for row, vector in session.execute(_VECTORS, {"rows": rows[start : start + _AT_ONCE]}):
            if len(vector) == wanted.nbytes:
                found.append(row)
                vectors += vector
    return found, np.frombuffer(vectors, dtype=np.float32).reshape(-1, len(wanted)) @ wanted
