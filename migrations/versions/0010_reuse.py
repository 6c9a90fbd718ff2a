"""Likeness of jobs, and jobs that got the video of another.

A job that reuses a video succeeded without a generation. SQLite cannot change a CHECK in place, and Alembic would copy
the whole table; so its text is changed in the schema itself, as SQLite's documentation of ALTER TABLE describes for
changes that touch no stored row. Every row that the older CHECK let in is right under the new one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

CHECKED = "ck_jobs_generation_known"
BOUGHT = "(generation_id IS NOT NULL AND started_at IS NOT NULL)"
OLDER = f"state NOT IN ('generating', 'saving', 'succeeded') OR {BOUGHT}"
NEWER = f"state NOT IN ('generating', 'saving', 'succeeded') OR reused_from IS NOT NULL OR {BOUGHT}"
REUSED = (
    "reused_from TEXT CONSTRAINT ck_jobs_reused"
    " CHECK (reused_from IS NULL OR (state = 'succeeded' AND generation_id IS NULL AND attempts = 0))"
)


def upgrade() -> None:
    op.add_column("jobs", sa.Column("likeness", sa.Text(), nullable=True))
    op.execute(f"ALTER TABLE jobs ADD COLUMN {REUSED}")
    _replace_check(OLDER, by=NEWER)
    where = sa.text("likeness IS NOT NULL AND state = 'succeeded' AND deleted_at IS NULL")
    columns = ["project_id", "subject", "likeness", "id"]
    op.create_index("ix_jobs_alike", "jobs", columns, postgresql_where=where, sqlite_where=where)


def downgrade() -> None:
    op.drop_index("ix_jobs_alike", table_name="jobs")
    # To an older build each success has a generation; the job's own id is nobody else's.
    op.execute(
        "UPDATE jobs SET reused_from = NULL, generation_id = id, started_at = created_at WHERE reused_from IS NOT NULL"
    )
    _replace_check(NEWER, by=OLDER)
    for column in ("reused_from", "likeness"):
        op.drop_column("jobs", column)


def _replace_check(text: str, *, by: str) -> None:
    if op.get_context().dialect.name != "sqlite":
        op.drop_constraint(op.f(CHECKED), "jobs", type_="check")
        op.create_check_constraint(op.f(CHECKED), "jobs", sa.text(by))
        return
    conn = op.get_bind()
    conn.exec_driver_sql("PRAGMA writable_schema = ON")
    changed = (
        "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name = 'jobs' AND instr(sql, ?)"
    )
    if conn.exec_driver_sql(changed, (text, by, text)).rowcount != 1:
        raise RuntimeError(f"the table jobs has no CHECK of this text: {text}")
    conn.exec_driver_sql("PRAGMA writable_schema = RESET")
