"""The HTTP API: the workshop session and step of a conversation, and when it was deleted; services."""

import sqlalchemy as sa
from alembic import op

revision = "0005_api"
down_revision = "0004_operations"
branch_labels = None
depends_on = None

_STEP = "ix_conversations_step"


def upgrade() -> None:
    op.add_column("conversations", sa.Column("workshop_session_id", sa.String(), nullable=True))
    op.add_column("conversations", sa.Column("step_id", sa.String(), nullable=True))
    op.add_column("users", sa.Column("is_service", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("conversations", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(_STEP, "conversations", ["user_id", "workshop_session_id", "step_id"], unique=True)


def downgrade() -> None:
    op.drop_column("users", "is_service")
    op.drop_index(_STEP, "conversations")
    for name in ("deleted_at", "step_id", "workshop_session_id"):
        op.drop_column("conversations", name)
