"""Workshops: playbooks, sessions and who takes part."""

import sqlalchemy as sa
from alembic import op

revision = "0008_workshops"
down_revision = "0007_knowledge"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant_id", sa.String(), sa.ForeignKey("tenants.id"), nullable=False)


def _session() -> sa.Column[str]:
    gone = sa.ForeignKey("workshop_sessions.id", ondelete="CASCADE")
    return sa.Column("session_id", sa.String(), gone, nullable=False)


def upgrade() -> None:
    op.create_table(
        "playbooks",
        sa.Column("id", sa.String(), nullable=False),
        _tenant(),
        sa.Column("owner_id", sa.String(), sa.ForeignKey("users.id"), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("archived_at", _TIME, nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_playbooks_tenant", "playbooks", ["tenant_id", "archived_at", "name"])
    op.create_table(
        "workshop_sessions",
        sa.Column("id", sa.String(), nullable=False),
        _tenant(),
        sa.Column("owner_id", sa.String(), sa.ForeignKey("users.id"), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("open_to_team", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.Column("archived_at", _TIME, nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_workshop_sessions_owner_id", "workshop_sessions", ["owner_id"])
    op.create_index("ix_workshop_sessions_tenant", "workshop_sessions", ["tenant_id", "archived_at", "updated_at"])
    op.create_table(
        "workshop_participants",
        _session(),
        sa.Column("user_id", sa.String(), sa.ForeignKey("users.id"), nullable=False),
        _tenant(),
        sa.Column("joined_at", _TIME, nullable=False),
        sa.Column("removed_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("session_id", "user_id"),
    )
    op.create_index("ix_workshop_participants_user_id", "workshop_participants", ["user_id"])
    op.create_table(
        "workshop_steps",
        _session(),
        sa.Column("step_id", sa.String(), nullable=False),
        _tenant(),
        sa.Column(
            "conversation_id", sa.String(), sa.ForeignKey("conversations.id", ondelete="SET NULL"), nullable=True
        ),
        sa.Column("notes", sa.Integer(), nullable=False),
        sa.Column("done_at", _TIME, nullable=True),
        sa.Column("done_by", sa.String(), sa.ForeignKey("users.id"), nullable=True),
        sa.PrimaryKeyConstraint("session_id", "step_id"),
        sa.UniqueConstraint("conversation_id"),
    )
    op.create_table(
        "workshop_notes",
        _session(),
        sa.Column("step_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        _tenant(),
        sa.Column("user_id", sa.String(), sa.ForeignKey("users.id"), nullable=True),
        sa.Column("model", sa.String(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("session_id", "step_id", "number"),
    )


def downgrade() -> None:
    for name in ("workshop_notes", "workshop_steps", "workshop_participants", "workshop_sessions", "playbooks"):
        op.drop_table(name)
