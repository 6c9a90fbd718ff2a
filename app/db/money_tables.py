"""The tables of the books: what was spent, the sums by month, and purchases that no job carries."""

import sqlalchemy as sa

from app.db.columns import BigId, UtcDateTime, metadata

strays = sa.Table(
    "strays",
    metadata,
    sa.Column("inference_id", sa.Text, primary_key=True),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id"), index=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("micros", sa.BigInteger, nullable=False),
    sa.Column("bought_at", UtcDateTime, nullable=False),
    sa.Column("seen_at", UtcDateTime, nullable=False),
    sa.CheckConstraint("micros >= 0", name="money"),
)

months = sa.Table(
    "months",
    metadata,
    sa.Column("project_id", sa.Text, sa.ForeignKey("projects.id"), primary_key=True),
    sa.Column("month", sa.Text, primary_key=True),
    sa.Column("reserved_micros", sa.BigInteger, nullable=False),
    sa.Column("spent_micros", sa.BigInteger, nullable=False),
)

ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("id", BigId, primary_key=True, autoincrement=True),
    sa.Column("project_id", sa.Text, sa.ForeignKey("projects.id")),
    sa.Column("month", sa.Text, nullable=False),
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id"), index=True),
    sa.Column("submission", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("micros", sa.BigInteger, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("submission", "kind", "source"),
    sa.CheckConstraint("kind IN ('adjustment', 'charge', 'extra')", name="kind"),
    sa.Index("ix_ledger_month", "project_id", "month"),
)
