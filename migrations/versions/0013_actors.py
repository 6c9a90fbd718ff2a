"""Who did what: the actor of events, the acts that concern no job, and a key's own limit of requests a minute."""

import sqlalchemy as sa
from alembic import op

from app.db import tables

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "acts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=True),
        sa.Column("actor", tables.Json, nullable=False),
        sa.Column("data", tables.Json, nullable=False),
        sa.Column("created_at", tables.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acts")),
    )
    op.create_index("ix_acts_created_at", "acts", ["created_at"])
    op.add_column("events", sa.Column("actor", tables.Json, nullable=True))
    op.add_column("keys", sa.Column("requests_per_minute", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("keys", "requests_per_minute")
    op.drop_column("events", "actor")
    op.drop_table("acts")
