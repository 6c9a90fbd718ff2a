"""What an operator decides over HTTP: a project's models and a pause; the balance last seen; failed deliveries listed."""

import sqlalchemy as sa
from alembic import op

from app.db import tables

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

FAILED = sa.text("state = 'failed'")


def upgrade() -> None:
    op.add_column("projects", sa.Column("models", tables.Json, nullable=True))
    with op.batch_alter_table("gate") as batch:
        batch.add_column(sa.Column("paused_at", tables.UtcDateTime(), nullable=True))
        batch.add_column(sa.Column("paused_by", sa.Text(), nullable=True))
        batch.add_column(sa.Column("pause_reason", sa.Text(), nullable=True))
        batch.add_column(sa.Column("balance_micros", sa.BigInteger(), nullable=True))
        batch.add_column(sa.Column("balance_at", tables.UtcDateTime(), nullable=True))
        batch.create_check_constraint(
            op.f("ck_gate_pause_complete"),
            "(paused_at IS NULL) = (paused_by IS NULL) AND (paused_at IS NOT NULL OR pause_reason IS NULL)",
        )
    op.create_index("ix_deliveries_failed", "deliveries", ["id"], postgresql_where=FAILED, sqlite_where=FAILED)


def downgrade() -> None:
    op.drop_index("ix_deliveries_failed", "deliveries")
    with op.batch_alter_table("gate") as batch:
        batch.drop_constraint(op.f("ck_gate_pause_complete"), type_="check")
        for column in ("balance_at", "balance_micros", "pause_reason", "paused_by", "paused_at"):
            batch.drop_column(column)
    op.drop_column("projects", "models")
