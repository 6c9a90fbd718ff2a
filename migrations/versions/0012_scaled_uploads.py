"""What an upload measured before it was scaled down."""

import sqlalchemy as sa
from alembic import op

from app.db import tables

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("files", sa.Column("scaled_from", tables.Json, nullable=True))


def downgrade() -> None:
    op.drop_column("files", "scaled_from")
