"""Client tokens, the jobs that were made with them, and keys whose queued jobs ended with them."""

import sqlalchemy as sa
from alembic import op

from app.db import tables

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("scopes", tables.Json, nullable=False),
        sa.Column("models", tables.Json, nullable=True),
        sa.Column("origins", tables.Json, nullable=True),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("max_jobs", sa.Integer(), nullable=True),
        sa.Column("max_cost_micros", sa.BigInteger(), nullable=True),
        sa.Column("jobs_made", sa.Integer(), nullable=False),
        sa.Column("held_micros", sa.BigInteger(), nullable=False),
        sa.Column("spent_micros", sa.BigInteger(), nullable=False),
        sa.Column("created_at", tables.UtcDateTime(), nullable=False),
        sa.Column("expires_at", tables.UtcDateTime(), nullable=False),
        sa.Column("revoked_at", tables.UtcDateTime(), nullable=True),
        sa.CheckConstraint("jobs_made <= max_jobs", name=op.f("ck_tokens_jobs")),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name=op.f("fk_tokens_key_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_tokens_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("hash", name=op.f("uq_tokens_hash")),
    )
    op.create_index("ix_tokens_page", "tokens", ["project_id", "id"])
    op.create_index("ix_tokens_expires_at", "tokens", ["expires_at"])
    op.add_column("jobs", sa.Column("token_id", sa.Text(), nullable=True))
    op.add_column("keys", sa.Column("cancel_queued", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("keys", "cancel_queued")
    op.drop_column("jobs", "token_id")
    op.drop_table("tokens")
