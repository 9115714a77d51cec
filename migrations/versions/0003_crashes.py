"""Versions count how often they ended the process that served them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("versions", sa.Column("crashes", sa.Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("versions", "crashes")
