"""The trace of a job, and how often its generation was asked after."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("traceparent", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("polls", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "polls")
    op.drop_column("jobs", "traceparent")
