"""Durations are learned for each length of video too, in a table of their own: older replicas go on with theirs."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "durations_by_length",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("length", sa.Text(), nullable=False),
        sa.Column("seen", sa.Integer(), nullable=False),
        sa.Column("mean_log", sa.Float(), nullable=False),
        sa.Column("m2_log", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("model", "length", name=op.f("pk_durations_by_length")),
    )


def downgrade() -> None:
    op.drop_table("durations_by_length")
