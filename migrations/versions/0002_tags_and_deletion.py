"""Versions have tags, and are marked as deleted before they are removed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Never as a batch: on SQLite that drops the old table, and what refers to it goes with it.
    op.add_column("versions", sa.Column("deleted_at", sa.DateTime(timezone=True)))
    op.create_table(
        "version_tags",
        sa.Column("version_id", sa.Integer, sa.ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("name", sa.String(128), primary_key=True, index=True),
    )


def downgrade() -> None:
    """What is marked as deleted goes for good: older releases would serve it again."""
    op.execute("DELETE FROM versions WHERE deleted_at IS NOT NULL")
    op.execute("DELETE FROM models WHERE id NOT IN (SELECT model_id FROM versions)")
    op.drop_table("version_tags")
    op.drop_column("versions", "deleted_at")
