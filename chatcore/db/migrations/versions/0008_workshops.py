"""Workshops: playbooks, sessions and who takes part."""

revision = "0008_workshops"
down_revision = "0007_knowledge"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
