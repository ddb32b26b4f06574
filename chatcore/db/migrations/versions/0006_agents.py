"""Agents that people make: their versions, access, knowledge and pictures; what was said to tools that ask first."""

import sqlalchemy as sa
from alembic import op

revision = "0006_agents"
down_revision = "0005_api"
branch_labels = None
depends_on = None

_TEXTS = (("knowledge", sa.JSON(), "[]"), ("visibility", sa.String(), "team"), ("shared_with", sa.JSON(), "[]"))


def upgrade() -> None:
    for name, kind, default in _TEXTS:
        op.add_column("agents", sa.Column(name, kind, nullable=False, server_default=default))
    op.add_column("agents", sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("agents", sa.Column("picture", sa.LargeBinary(), nullable=True))
    op.create_table(
        "agent_versions",
        sa.Column("agent_id", sa.String(), sa.ForeignKey("agents.id", ondelete="CASCADE"), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant_id", sa.String(), sa.ForeignKey("tenants.id"), nullable=False),
        sa.Column("user_id", sa.String(), sa.ForeignKey("users.id"), nullable=True),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("agent_id", "number"),
    )
    op.create_table(
        "tool_decisions",
        sa.Column("turn_id", sa.String(), sa.ForeignKey("turns.id", ondelete="CASCADE"), nullable=False),
        sa.Column("call_id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), sa.ForeignKey("tenants.id"), nullable=False),
        sa.Column("user_id", sa.String(), sa.ForeignKey("users.id"), nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("turn_id", "call_id"),
    )


def downgrade() -> None:
    op.drop_table("tool_decisions")
    op.drop_table("agent_versions")
    for name in ("picture", "version", "shared_with", "visibility", "knowledge"):
        op.drop_column("agents", name)
