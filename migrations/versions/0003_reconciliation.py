"""What the usage log teaches: searches, strays, holds of one model, a pace, and restored databases."""

import sqlalchemy as sa
from alembic import op

from app.db import tables

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Written out: SQLite adds a column with its CHECK in place, where Alembic would copy the whole table.
CHECKED_COLUMNS = (
    "on_unconfirmed TEXT DEFAULT 'hold' NOT NULL"
    " CONSTRAINT ck_jobs_on_unconfirmed CHECK (on_unconfirmed IN ('hold', 'resubmit'))",
    "extra_micros BIGINT DEFAULT '0' NOT NULL CONSTRAINT ck_jobs_extra CHECK (extra_micros >= 0)",
)


def upgrade() -> None:
    for column in CHECKED_COLUMNS:
        op.execute(f"ALTER TABLE jobs ADD COLUMN {column}")
    op.add_column("jobs", sa.Column("search_ended_at", tables.UtcDateTime(), nullable=True))
    op.add_column("jobs", sa.Column("parked", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("jobs", sa.Column("attachment", tables.Json, nullable=True))
    for name, condition in (("parked", "parked"), ("attachment", "attachment IS NOT NULL")):
        where = sa.text(condition)
        op.create_index(f"ix_jobs_{name}", "jobs", ["id"], postgresql_where=where, sqlite_where=where)
    op.add_column("submissions", sa.Column("key_print", sa.Text(), nullable=True))
    op.add_column("submissions", sa.Column("searched_at", tables.UtcDateTime(), nullable=True))
    op.add_column("submissions", sa.Column("searched_seconds", sa.Float(), server_default="0", nullable=False))
    op.add_column("gate", sa.Column("probe_first", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("gate", sa.Column("needed_micros", sa.BigInteger(), nullable=True))
    op.add_column("gate", sa.Column("doubts", sa.Integer(), server_default="0", nullable=False))
    op.add_column("gate", sa.Column("pace_per_minute", sa.Float(), nullable=True))
    op.add_column("gate", sa.Column("next_admission_at", tables.UtcDateTime(), nullable=True))
    _create_tables()


def _create_tables() -> None:
    op.create_table(
        "model_holds",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("held_since", tables.UtcDateTime(), nullable=False),
        sa.Column("held_until", tables.UtcDateTime(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("trial_out", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_model_holds")),
    )
    op.create_table(
        "log_reader",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("reading_by", sa.Text(), nullable=True),
        sa.Column("reading_until", tables.UtcDateTime(), nullable=True),
        sa.Column("next_read_at", tables.UtcDateTime(), nullable=True),
        sa.Column("minute_began_at", tables.UtcDateTime(), nullable=True),
        sa.Column("reads_in_minute", sa.Integer(), server_default="0", nullable=False),
        sa.Column("read_at", tables.UtcDateTime(), nullable=True),
        sa.Column("audited_at", tables.UtcDateTime(), nullable=True),
        sa.Column("restored_from", tables.UtcDateTime(), nullable=True),
        sa.Column("parked_until", tables.UtcDateTime(), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_log_reader_single_row")),
        sa.CheckConstraint(
            "(restored_from IS NULL) = (parked_until IS NULL)", name=op.f("ck_log_reader_restore_complete")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_reader")),
    )
    op.create_table(
        "strays",
        sa.Column("inference_id", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.Column("bought_at", tables.UtcDateTime(), nullable=False),
        sa.Column("seen_at", tables.UtcDateTime(), nullable=False),
        sa.CheckConstraint("micros >= 0", name=op.f("ck_strays_money")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_strays_job_id")),
        sa.PrimaryKeyConstraint("inference_id", name=op.f("pk_strays")),
    )
    op.create_index(op.f("ix_strays_job_id"), "strays", ["job_id"])
    op.execute("INSERT INTO log_reader (id) VALUES (1)")


def downgrade() -> None:
    for table in ("strays", "log_reader", "model_holds"):
        op.drop_table(table)
    for column in ("next_admission_at", "pace_per_minute", "doubts", "needed_micros", "probe_first"):
        op.drop_column("gate", column)
    for column in ("searched_seconds", "searched_at", "key_print"):
        op.drop_column("submissions", column)
    for name in ("attachment", "parked"):
        op.drop_index(f"ix_jobs_{name}", table_name="jobs")
    for column in ("attachment", "parked", "search_ended_at", "extra_micros", "on_unconfirmed"):
        op.drop_column("jobs", column)
