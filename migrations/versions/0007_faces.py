"""Remixes: jobs that were made of another one's input."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("remixed_from", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "remixed_from")
