"""When a generation was last asked after."""

import sqlalchemy as sa
from alembic import op

from app.db import tables

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("polled_at", tables.UtcDateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "polled_at")
