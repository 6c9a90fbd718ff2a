"""The ledger: budgets and rates of projects, reservations of jobs, sums by month, an entry for what was spent.

Jobs under way get a reservation of their estimate. What was charged before gets an entry, so that the sums are whole.
"""

import sqlalchemy as sa
from alembic import op

from app.db import tables

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Written out: SQLite adds a column with its CHECK in place, where Alembic would copy the whole table.
CHECKED_COLUMNS = (
    ("projects", "monthly_budget_micros BIGINT CONSTRAINT ck_projects_budget CHECK (monthly_budget_micros >= 0)"),
    ("projects", "requests_per_minute INTEGER CONSTRAINT ck_projects_rate CHECK (requests_per_minute > 0)"),
    (
        "jobs",
        "reserved_micros BIGINT DEFAULT '0' NOT NULL CONSTRAINT ck_jobs_reserved CHECK (reserved_micros >= 0)",
    ),
)


def upgrade() -> None:
    for table, column in CHECKED_COLUMNS:
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
    op.create_table(
        "months",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("reserved_micros", sa.BigInteger(), nullable=False),
        sa.Column("spent_micros", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_months_project_id")),
        sa.PrimaryKeyConstraint("project_id", "month", name=op.f("pk_months")),
    )
    op.create_table(
        "ledger",
        sa.Column("id", tables.BigId, autoincrement=True, nullable=False),
        sa.Column("project_id", sa.Text(), nullable=True),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("submission", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.Column("created_at", tables.UtcDateTime(), nullable=False),
        sa.Column("changed_at", tables.UtcDateTime(), nullable=False),
        sa.CheckConstraint("kind IN ('adjustment', 'charge', 'extra')", name=op.f("ck_ledger_kind")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_ledger_job_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_ledger_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger")),
        sa.UniqueConstraint("submission", "kind", "source", name=op.f("uq_ledger_submission")),
    )
    op.create_index(op.f("ix_ledger_job_id"), "ledger", ["job_id"])
    op.create_index("ix_ledger_month", "ledger", ["project_id", "month"])
    where = sa.text("inference_id IS NOT NULL")
    op.create_index(
        "ix_submissions_inference", "submissions", ["inference_id"], postgresql_where=where, sqlite_where=where
    )
    _book_what_is_there()


def _book_what_is_there() -> None:
    on_sqlite = op.get_context().dialect.name == "sqlite"
    month = "substr(created_at, 1, 7)" if on_sqlite else "to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM')"
    op.execute(
        "UPDATE jobs SET reserved_micros = estimated_micros "
        "WHERE NOT settled AND charged_micros IS NULL AND estimated_micros IS NOT NULL"
    )
    for kind, amount, source in (
        ("charge", "charged_micros", "CASE charge_basis WHEN 'estimated' THEN 'estimate' ELSE 'generation' END"),
        ("extra", "extra_micros", "'usage_log'"),
    ):
        op.execute(
            "INSERT INTO ledger (project_id, month, job_id, submission, kind, source, micros, created_at, changed_at) "
            f"SELECT project_id, {month}, id, id || ':' || attempts, '{kind}', {source}, {amount}, "
            f"coalesce(finished_at, created_at), coalesce(finished_at, created_at) FROM jobs WHERE {amount} > 0"
        )
    op.execute(
        "INSERT INTO months (project_id, month, reserved_micros, spent_micros) "
        f"SELECT project_id, {month}, sum(reserved_micros), sum(coalesce(charged_micros, 0) + extra_micros) "
        f"FROM jobs GROUP BY project_id, {month}"
    )


def downgrade() -> None:
    op.drop_index("ix_submissions_inference", table_name="submissions")
    op.drop_table("ledger")
    op.drop_table("months")
    op.drop_column("jobs", "reserved_micros")
    for column in ("requests_per_minute", "monthly_budget_micros"):
        op.drop_column("projects", column)
