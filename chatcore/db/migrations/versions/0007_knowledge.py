"""Knowledge bases: documents and their passages."""

import sqlalchemy as sa
from alembic import op

revision = "0007_knowledge"
down_revision = "0006_agents"
branch_labels = None
depends_on = None

# Rows are numbered by `knowledge_passages`. `base`: the id of the base as a word, so that a search looks into few. The
# words come spelled as they are to be found, so the tokenizer only splits them at spaces.
_SQLITE_SEARCH = ("CREATE VIRTUAL TABLE knowledge_search USING fts5(base, title, words, tokenize='ascii')",)
_POSTGRES_SEARCH = (
    "CREATE TABLE knowledge_search (id BIGINT PRIMARY KEY, words tsvector NOT NULL)",
    "CREATE INDEX ix_knowledge_search_words ON knowledge_search USING gin (words)"
    " WITH (fastupdate = on, gin_pending_list_limit = 256)",
)
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LIVES = sa.text("deleted_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "knowledge_bases",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), sa.ForeignKey("tenants.id"), nullable=False),
        sa.Column("owner_id", sa.String(), sa.ForeignKey("users.id"), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("visibility", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_knowledge_bases_tenant", "knowledge_bases", ["tenant_id", "visibility", "owner_id"])
    op.create_table(
        "knowledge_documents",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), sa.ForeignKey("tenants.id"), nullable=False),
        sa.Column("base_id", sa.String(), sa.ForeignKey("knowledge_bases.id"), nullable=False),
        sa.Column("user_id", sa.String(), sa.ForeignKey("users.id"), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("problem", sa.String(), nullable=False),
        sa.Column("pages", sa.Integer(), nullable=True),
        sa.Column("passages", sa.Integer(), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("spelling", sa.Integer(), nullable=False),
        sa.Column("embedded", sa.Integer(), nullable=False),
        sa.Column("embedding_model", sa.String(), nullable=True),
        sa.Column("embed_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ux_knowledge_documents_content", "knowledge_documents", ["base_id", "sha256"], unique=True,
        sqlite_where=_LIVES, postgresql_where=_LIVES,
    )  # fmt: skip
    op.create_index("ix_knowledge_documents_sha256", "knowledge_documents", ["sha256"])
    op.create_index("ix_knowledge_documents_state", "knowledge_documents", ["state", "id"])
    op.create_table(
        "knowledge_passages",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("document_id", sa.String(), sa.ForeignKey("knowledge_documents.id"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("document_id", "position"),
    )
    op.create_table(
        "knowledge_vectors",
        sa.Column("passage_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("passage_id"),
    )
    op.create_table(
        "knowledge_sketches",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("base_id", sa.String(), nullable=False),
        sa.Column("document_id", sa.String(), sa.ForeignKey("knowledge_documents.id"), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("passage_ids", sa.LargeBinary(), nullable=False),
        sa.Column("signs", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_knowledge_sketches_base", "knowledge_sketches", ["base_id", "model"])
    op.create_index("ix_knowledge_sketches_document_id", "knowledge_sketches", ["document_id"])
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _SQLITE_SEARCH if is_sqlite else _POSTGRES_SEARCH:
        op.execute(statement)


def downgrade() -> None:
    for name in ("search", "sketches", "vectors", "passages", "documents", "bases"):
        op.execute(f"DROP TABLE knowledge_{name}")
