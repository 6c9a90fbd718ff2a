"""Usage reports: the seconds of a video outlive it, and a project's jobs are found by the time they were made."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0001"
branch_labels = None
depends_on = None

jobs = sa.table(
    "jobs",
    sa.column("video", sa.JSON().with_variant(JSONB(), "postgresql")),
    sa.column("video_seconds", sa.Float()),
)


def upgrade() -> None:
    op.add_column("jobs", sa.Column("video_seconds", sa.Float(), nullable=True))
    op.execute(
        jobs.update().where(jobs.c.video.is_not(None)).values(video_seconds=jobs.c.video["duration_seconds"].as_float())
    )
    op.create_index("ix_jobs_usage", "jobs", ["project_id", "created_at"])


def downgrade() -> None:
    op.drop_index("ix_jobs_usage", table_name="jobs")
    op.drop_column("jobs", "video_seconds")
