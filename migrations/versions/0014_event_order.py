"""A number for every event, in the order in which they came about; those that are there get theirs by their times."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

NUMBERED = """
UPDATE events SET seq = placed.place FROM (
    SELECT job_id, n, row_number() OVER (ORDER BY reached, job_id, n) AS place FROM (
        SELECT job_id, n, max(created_at) OVER (PARTITION BY job_id ORDER BY n) AS reached FROM events
    ) AS waiting
) AS placed
WHERE events.job_id = placed.job_id AND events.n = placed.n
"""


def upgrade() -> None:
    op.add_column("events", sa.Column("seq", sa.BigInteger(), nullable=True))
    op.execute(NUMBERED)
    op.create_index("uq_events_seq", "events", ["seq"], unique=True)
    op.create_index("ix_events_stream", "events", ["project_id", "seq"])
    where = sa.text("seq IS NULL")
    op.create_index("ix_events_unnumbered", "events", ["job_id", "n"], postgresql_where=where, sqlite_where=where)


def downgrade() -> None:
    for name in ("ix_events_unnumbered", "ix_events_stream", "uq_events_seq"):
        op.drop_index(name, table_name="events")
    op.drop_column("events", "seq")
