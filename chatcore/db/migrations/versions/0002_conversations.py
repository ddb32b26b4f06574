"""Attachments, shares, prompts, ratings, folders, summaries, temporary chats, and the full-text index of messages."""

import sqlalchemy as sa
from alembic import op

revision = "0002_conversations"
down_revision = "0001_foundation"
branch_labels = None
depends_on = None

# Rows of `message_search` are numbered by `search_entries`. It holds no text, only which words stand where. The words
# come spelled as they are to be found, so the tokenizer only splits them at spaces.
_SQLITE_SEARCH = ("CREATE VIRTUAL TABLE message_search USING fts5(owner, words, content='', tokenize='ascii')",)
_POSTGRES_SEARCH = (
    "CREATE TABLE message_search (id BIGINT PRIMARY KEY, words tsvector NOT NULL)",
    # A short list of what is still to be sorted in: storing costs half as much, and searching no more.
    "CREATE INDEX ix_message_search_words ON message_search USING gin (words)"
    " WITH (fastupdate = on, gin_pending_list_limit = 256)",
)


def upgrade() -> None:
    op.create_table(
        "search_entries",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("message_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("message_id"),
    )
    op.create_index("ix_search_entries_conversation_id", "search_entries", ["conversation_id"], unique=False)
    op.create_table(
        "attachments",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_attachments_created_at", "attachments", ["created_at"], unique=False)
    op.create_index("ix_attachments_sha256", "attachments", ["sha256"], unique=False)
    op.create_index("ix_attachments_user", "attachments", ["user_id", "created_at"], unique=False)
    op.create_table(
        "prompts",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("is_team", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_prompts_tenant", "prompts", ["tenant_id", "is_team", "user_id"], unique=False)
    op.create_table(
        "ratings",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("message_id", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("agent_id", sa.String(), nullable=True),
        sa.Column("stars", sa.Integer(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("question", sa.Text(), nullable=True),
        sa.Column("reply", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "message_id"),
    )
    op.create_index("ix_ratings_tenant", "ratings", ["tenant_id", "created_at"], unique=False)
    op.create_table(
        "message_attachments",
        sa.Column("message_id", sa.String(), nullable=False),
        sa.Column("attachment_id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["attachment_id"], ["attachments.id"]),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("message_id", "attachment_id"),
    )
    op.create_index("ix_message_attachments_attachment_id", "message_attachments", ["attachment_id"], unique=False)
    op.create_index("ix_message_attachments_conversation_id", "message_attachments", ["conversation_id"], unique=False)
    op.create_table(
        "shares",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("can_reply", sa.Boolean(), nullable=False),
        sa.Column("up_to_message_id", sa.String(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_shares_conversation_id", "shares", ["conversation_id"], unique=False)
    op.create_index("ix_shares_tenant", "shares", ["tenant_id", "kind", "revoked_at"], unique=False)
    op.add_column("conversations", sa.Column("folder", sa.String(), nullable=True))
    op.add_column("conversations", sa.Column("title_source", sa.String(), server_default="first", nullable=False))
    op.add_column("conversations", sa.Column("title_words", sa.Text(), server_default="", nullable=False))
    op.add_column("conversations", sa.Column("summary", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("conversations", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_conversations_pinned", "conversations", ["user_id", "pinned_at"], unique=False)
    op.create_index("ix_conversations_expires_at", "conversations", ["expires_at"], unique=False)
    op.add_column("queued_messages", sa.Column("attachments", sa.JSON(), server_default="[]", nullable=False))
    running = sa.text("outcome = 'running'")
    op.create_index(
        "ix_usage_metrics_running", "usage_metrics", ["created_at"], unique=False,
        sqlite_where=running, postgresql_where=running,
    )  # fmt: skip
    op.create_index("ix_usage_metrics_conversation", "usage_metrics", ["conversation_id"], unique=False)
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _SQLITE_SEARCH if is_sqlite else _POSTGRES_SEARCH:
        op.execute(statement)


def downgrade() -> None:
    # Column by column: a copied `conversations` would be dropped, and its messages with it.
    op.execute("DROP TABLE message_search")
    op.drop_index("ix_usage_metrics_running", table_name="usage_metrics")
    op.drop_index("ix_usage_metrics_conversation", table_name="usage_metrics")
    op.drop_column("queued_messages", "attachments")
    op.drop_index("ix_conversations_pinned", table_name="conversations")
    op.drop_index("ix_conversations_expires_at", table_name="conversations")
    op.drop_column("conversations", "expires_at")
    op.drop_column("conversations", "summary")
    op.drop_column("conversations", "title_words")
    op.drop_column("conversations", "title_source")
    op.drop_column("conversations", "folder")
    op.drop_index("ix_shares_tenant", table_name="shares")
    op.drop_index("ix_shares_conversation_id", table_name="shares")
    op.drop_table("shares")
    op.drop_index("ix_message_attachments_conversation_id", table_name="message_attachments")
    op.drop_index("ix_message_attachments_attachment_id", table_name="message_attachments")
    op.drop_table("message_attachments")
    op.drop_index("ix_ratings_tenant", table_name="ratings")
    op.drop_table("ratings")
    op.drop_index("ix_prompts_tenant", table_name="prompts")
    op.drop_table("prompts")
    op.drop_index("ix_attachments_user", table_name="attachments")
    op.drop_index("ix_attachments_sha256", table_name="attachments")
    op.drop_index("ix_attachments_created_at", table_name="attachments")
    op.drop_table("attachments")
    op.drop_index("ix_search_entries_conversation_id", table_name="search_entries")
    op.drop_table("search_entries")
