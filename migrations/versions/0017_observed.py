"""When a generation was last asked after, and the trace that a job's creation belongs to."""

import sqlalchemy as sa
from alembic import op

from app.db import tables

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("polled_at", tables.UtcDateTime(), nullable=True))
    op.add_column("jobs", sa.Column("trace_parent", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "trace_parent")
    op.drop_column("jobs", "polled_at")
