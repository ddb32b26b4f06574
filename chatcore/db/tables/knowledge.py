"""Knowledge bases: documents, their passages, and the vectors of these."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from chatcore.db.tables.base import Base, utcnow

_NUMBER = BigInteger().with_variant(Integer, "sqlite")
_LIVES = text("deleted_at IS NULL")


class KnowledgeBase(Base):
    """Documents under a name. `visibility`: own | team. `owner_id`: None for a team's whose owner was erased.

    `deleted_at`: it is gone for everybody, and swept away in the background.
    """

    __tablename__ = "knowledge_bases"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    owner_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    visibility: Mapped[str] = mapped_column(default="own")
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)
    deleted_at: Mapped[datetime | None]
    __table_args__ = (Index("ix_knowledge_bases_tenant", "tenant_id", "visibility", "owner_id"),)


class KnowledgeDocument(Base):
    """A file of a base, whose bytes lie in the data folder by their `sha256`.

    `state`: waiting | indexing | ready | failed; `problem`: why it failed, a sentence. `pages`: of a PDF. `passages`:
    how many it has, None until it was read; the first `done` of them are indexed, the first `embedded` have vectors
    of `embedding_model`. `spelling`: of which version of the words. `embed_after`: no vectors are tried before then.
    """

    __tablename__ = "knowledge_documents"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    base_id: Mapped[str] = mapped_column(ForeignKey("knowledge_bases.id"))
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str]
    kind: Mapped[str]  # pdf | word | markdown | html | csv | text
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(default="waiting")
    problem: Mapped[str] = mapped_column(default="")
    pages: Mapped[int | None]
    passages: Mapped[int | None]
    done: Mapped[int] = mapped_column(Integer, default=0)
    spelling: Mapped[int] = mapped_column(Integer, default=0)
    embedded: Mapped[int] = mapped_column(Integer, default=0)
    embedding_model: Mapped[str | None]
    embed_after: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    deleted_at: Mapped[datetime | None]
    __table_args__ = (
        # The same bytes are one document of a base; one that is being swept away does not stand in the way.
        Index(
            "ux_knowledge_documents_content", "base_id", "sha256", unique=True,
            sqlite_where=_LIVES, postgresql_where=_LIVES,
        ),
        Index("ix_knowledge_documents_state", "state", "id"),
    )  # fmt: skip


class KnowledgePassage(Base):
    """A piece of a document, the `position`th from 0. `place`: where it stands, for people. `id`: its row in
    `knowledge_search`, the full-text index: an FTS5 table on SQLite, a table with a tsvector on PostgreSQL."""

    __tablename__ = "knowledge_passages"
    id: Mapped[int] = mapped_column(_NUMBER, primary_key=True, autoincrement=True)
    tenant_id: Mapped[str]
    document_id: Mapped[str] = mapped_column(ForeignKey("knowledge_documents.id"))
    position: Mapped[int]
    place: Mapped[str]
    content: Mapped[str] = mapped_column(Text)
    __table_args__ = (UniqueConstraint("document_id", "position"),)


class KnowledgeVector(Base):
    """What a passage means, as float32 of length 1, one after the other."""

    __tablename__ = "knowledge_vectors"
    passage_id: Mapped[int] = mapped_column(_NUMBER, primary_key=True, autoincrement=False)
    tenant_id: Mapped[str]
    vector: Mapped[bytes] = mapped_column(LargeBinary)


class KnowledgeSketch(Base):
    """The signs of some vectors of a document, a bit each, beside the ids of their passages (int64): small enough to
    read those of a whole base for each question."""

    __tablename__ = "knowledge_sketches"
    id: Mapped[int] = mapped_column(_NUMBER, primary_key=True, autoincrement=True)
    tenant_id: Mapped[str]
    base_id: Mapped[str]
    document_id: Mapped[str] = mapped_column(ForeignKey("knowledge_documents.id"), index=True)
    model: Mapped[str]
    passage_ids: Mapped[bytes] = mapped_column(LargeBinary)
    signs: Mapped[bytes] = mapped_column(LargeBinary)
    __table_args__ = (Index("ix_knowledge_sketches_base", "base_id", "model"),)
