"""The table of client tokens. Those of projects and keys are with the rest in `tables`."""

import sqlalchemy as sa

from app.db.columns import Json, UtcDateTime, metadata

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("project_id", sa.Text, sa.ForeignKey("projects.id"), nullable=False),
    sa.Column("key_id", sa.Text, sa.ForeignKey("keys.id"), nullable=False),
    sa.Column("hash", sa.Text, nullable=False, unique=True),
    sa.Column("hint", sa.Text, nullable=False),
    sa.Column("scopes", Json, nullable=False),
    sa.Column("models", Json),
    sa.Column("origins", Json),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("max_jobs", sa.Integer),
    sa.Column("max_cost_micros", sa.BigInteger),
    sa.Column("jobs_made", sa.Integer, nullable=False),
    sa.Column("held_micros", sa.BigInteger, nullable=False),
    sa.Column("spent_micros", sa.BigInteger, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),
    sa.Column("revoked_at", UtcDateTime),
    sa.CheckConstraint("jobs_made <= max_jobs", name="jobs"),
    sa.Index("ix_tokens_page", "project_id", "id"),
    sa.Index("ix_tokens_expires_at", "expires_at"),
)
