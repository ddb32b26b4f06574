"""Finding passages by their words: BM25 of FTS5 on SQLite, the same idea with tsvectors on PostgreSQL.

A passage need not have all the words of a question: each that it has counts, a seldom one more than a common one.
"""

import math
from collections.abc import Sequence
from typing import Final

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from chatcore.db.tables import KnowledgeDocument as DocumentRow
from chatcore.knowledge.access import THERE
from chatcore.knowledge.passages import base_word

Term = tuple[str, ...]
_MOST_LOOKED_AT: Final = {True: 60_000, False: 6_000}
"""Occurrences (passages of a word) that are ranked for a question, on SQLite or not: what keeps it below 0.2 s. The
seldom words come first."""
_COUNT: Final = {
    True: text("SELECT count(*) FROM (SELECT 1 FROM knowledge_search WHERE knowledge_search MATCH :words LIMIT :most)"),
    False: text(
        "SELECT count(*) FROM (SELECT 1 FROM knowledge_search WHERE words @@ CAST(:words AS tsquery) LIMIT :most) AS s"
    ),
}
# A word in the name or in a heading counts more.
_BEST_FTS5: Final = text(
    "SELECT rowid FROM knowledge_search WHERE knowledge_search MATCH :words"
    " ORDER BY bm25(knowledge_search, 0.0, 3.0, 1.0), rowid LIMIT :limit"
)
# A word's rank rises with its occurrences and ends at 1, as in BM25; what it lacks is how seldom the word is.
_BEST_TSVECTOR: Final = (
    "SELECT id FROM (SELECT id, words FROM knowledge_search WHERE words @@ CAST(:words AS tsquery) LIMIT :most) AS s"
    " ORDER BY {score} DESC, id LIMIT :limit"
)
_RANK: Final = (
    "CAST(:weight{n} AS float8) * ts_rank(CAST(ARRAY[.5, .5, .5, 1] AS float4[]), words, CAST(:term{n} AS tsquery), 1)"
)


def best(session: Session, base_ids: Sequence[str], terms: Sequence[Term], limit: int) -> list[int]:
    """Numbers of the passages of these bases that are most about the terms, the best first. It looks at nobody's
    rights: the ids are of bases that may be read."""
    if not base_ids or not terms:
        return []
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    spell = _fts5 if is_sqlite else _tsquery
    most = _MOST_LOOKED_AT[is_sqlite]
    if not is_sqlite:  # it thinks too well of reading every row
        session.execute(text("SET LOCAL enable_seqscan = off"))
    counts = {
        term: session.scalar(_COUNT[is_sqlite], {"words": spell(base_ids, [term]), "most": most}) or 0 for term in terms
    }
    chosen = _chosen(counts, most)
    if not chosen:
        return []
    words = spell(base_ids, chosen)
    if is_sqlite:
        return list(session.scalars(_BEST_FTS5, {"words": words, "limit": limit}))
    total = session.scalar(select(func.sum(DocumentRow.done)).where(DocumentRow.base_id.in_(base_ids), THERE)) or 0
    values: dict[str, object] = {"words": words, "limit": limit, "most": most}
    for n, term in enumerate(chosen):
        values |= {f"weight{n}": _seldomness(counts[term], int(total)), f"term{n}": _phrase(term)}
    score = " + ".join(_RANK.format(n=n) for n in range(len(chosen)))
    return list(session.scalars(text(_BEST_TSVECTOR.format(score=score)), values))


def _chosen(counts: dict[Term, int], most: int) -> list[Term]:
    """The terms that occur, the most seldom first, as many as may be looked at together, and one at least."""
    chosen: list[Term] = []
    left = most
    for term, count in sorted(counts.items(), key=lambda one: one[1]):
        if count and (count <= left or not chosen):
            chosen.append(term)
            left -= count
    return chosen


def _seldomness(count: int, total: int) -> float:
    """The inverse document frequency of BM25, above 0."""
    return math.log1p((max(total - count, 0) + 0.5) / (count + 0.5))


def _fts5(base_ids: Sequence[str], terms: Sequence[Term]) -> str:
    """As FTS5 reads it. Words have letters and digits only, so nothing in them can mean anything else."""
    bases = " OR ".join(f'"{base_word(one)}"' for one in base_ids)
    spelled = " OR ".join(f'"{" ".join(term)}"' for term in terms)
    return f"base : ({bases}) AND {{title words}} : ({spelled})"


def _tsquery(base_ids: Sequence[str], terms: Sequence[Term]) -> str:
    """As PostgreSQL's tsquery reads it."""
    bases = " | ".join(f"'@{base_word(one)}'" for one in base_ids)
    return f"({bases}) & ({' | '.join(map(_phrase, terms))})"


def _phrase(term: Term) -> str:
    spelled = " <-> ".join(f"'{word}'" for word in term)
    return f"({spelled})"
