"""Creations: what was asked for, so that asking again makes nothing new."""

import sqlalchemy as sa
from alembic import op

from app.db import tables

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEYED = sa.text("idempotency_key IS NOT NULL")
KEYLESS = sa.text("idempotency_key IS NULL")


def upgrade() -> None:
    op.create_table(
        "creations",
        sa.Column("made_id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("counts", sa.Integer(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("created_at", tables.UtcDateTime(), nullable=False),
        sa.Column("expires_at", tables.UtcDateTime(), nullable=False),
        sa.CheckConstraint("counts > 0", name=op.f("ck_creations_counts")),
        sa.CheckConstraint("idempotency_key IS NOT NULL OR answer IS NULL", name=op.f("ck_creations_answer_of_a_key")),
        sa.PrimaryKeyConstraint("made_id", name=op.f("pk_creations")),
    )
    op.create_index(
        "uq_creations_key",
        "creations",
        ["project_id", "subject", "idempotency_key"],
        unique=True,
        postgresql_where=KEYED,
        sqlite_where=KEYED,
    )
    op.create_index(
        "ix_creations_keyless",
        "creations",
        ["key_id", "fingerprint", "created_at"],
        postgresql_where=KEYLESS,
        sqlite_where=KEYLESS,
    )
    op.create_index("ix_creations_expires_at", "creations", ["expires_at"])


def downgrade() -> None:
    op.drop_table("creations")
