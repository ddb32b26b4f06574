"""A question's passages: by words, by meaning where there are vectors, and both put together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from chatcore.accounts.principal import Principal
from chatcore.db.tables import KnowledgeSketch as SketchRow
from chatcore.errors import InvalidInput, ProviderError
from chatcore.knowledge import passages, searching, store, vectors
from chatcore.knowledge.spelling import terms
from chatcore.knowledge.values import MAX_QUESTION, Found

MAX_FOUND: Final = 50
_CANDIDATES: Final = 100  # of each kind; some may be of documents that are being swept away
_FUSION: Final = 60  # of reciprocal rank fusion, as its inventors have it


@dataclass(frozen=True)
class Asked:
    """A question. `vector`: of `model`; either may be None."""

    question: str
    vector: Sequence[float] | None
    model: str | None
    limit: int


def find(principal: Principal, base_ids: Sequence[str] | None, asked: Asked, session: Session) -> list[Found]:
    """The passages, the best first, as `Knowledge.search` says."""
    wanted = terms(asked.question[:MAX_QUESTION])
    if not wanted:
        raise InvalidInput("There is no word in this question. Ask with a few words of what you look for.")
    bases = store.readable(session, principal, base_ids)
    by_words = searching.best(session, bases, wanted, _CANDIDATES)
    by_meaning: list[int] = []
    if asked.vector is not None and asked.model is not None and bases:
        try:
            by_meaning = vectors.nearest(session, bases, asked.model, asked.vector, _CANDIDATES)
        except ProviderError:
            by_meaning = []  # no vector at all: the words decide
    order = fused(by_words, by_meaning)
    found = passages.by_rows(session, principal, order)
    return [found[row] for row in order if row in found][: max(1, min(asked.limit, MAX_FOUND))]


def has_vectors(session: Session, principal: Principal, base_ids: Sequence[str] | None, model: str) -> bool:
    """Whether passages of those of these bases that they may read have vectors of the model."""
    bases = store.readable(session, principal, base_ids)
    query = select(SketchRow.id).where(SketchRow.base_id.in_(bases), SketchRow.model == model).limit(1)
    return session.execute(query).first() is not None


def fused(*rankings: Sequence[int]) -> list[int]:
    """One ranking of several by reciprocal rank fusion: what stands high in any of them, higher what does in more."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, row in enumerate(ranking, 1):
            scores[row] = scores.get(row, 0.0) + 1 / (_FUSION + rank)
    return sorted(scores, key=lambda row: -scores[row])
