"""Knowledge bases: documents and their passages."""

revision = "0007_knowledge"
down_revision = "0006_agents"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
