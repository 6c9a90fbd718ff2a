"""Webhooks: where events go, what is owed there, each attempt; and the URL that a job brings along."""

import sqlalchemy as sa
from alembic import op

from app.db import tables

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("events", tables.Json, nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("previous_secret", sa.Text(), nullable=True),
        sa.Column("previous_until", tables.UtcDateTime(), nullable=True),
        sa.Column("created_at", tables.UtcDateTime(), nullable=False),
        sa.Column("failing_since", tables.UtcDateTime(), nullable=True),
        sa.Column("disabled_at", tables.UtcDateTime(), nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "disabled_reason IN ('by_request', 'failing', 'gone')", name=op.f("ck_webhooks_disabled_reason")
        ),
        sa.CheckConstraint(
            "(disabled_at IS NULL) = (disabled_reason IS NULL)", name=op.f("ck_webhooks_disabled_complete")
        ),
        sa.CheckConstraint(
            "(previous_secret IS NULL) = (previous_until IS NULL)", name=op.f("ck_webhooks_rotation_complete")
        ),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name=op.f("fk_webhooks_key_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_webhooks_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_index("ix_webhooks_project", "webhooks", ["project_id", "id"])
    _partial("uq_webhooks_default", "webhooks", ["project_id"], where="url IS NULL", unique=True)
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("event_at", tables.UtcDateTime(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("moment", tables.Json, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", tables.UtcDateTime(), nullable=False),
        sa.Column("lease_token", sa.Text(), nullable=True),
        sa.Column("finished_at", tables.UtcDateTime(), nullable=True),
        sa.CheckConstraint("state IN ('delivered', 'failed', 'owed')", name=op.f("ck_deliveries_state")),
        sa.CheckConstraint(
            "(state = 'owed') = (finished_at IS NULL)", name=op.f("ck_deliveries_finished_at_with_state")
        ),
        sa.CheckConstraint("lease_token IS NULL OR state = 'owed'", name=op.f("ck_deliveries_lease_of_owed")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_deliveries_job_id")),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhooks.id"], name=op.f("fk_deliveries_webhook_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("event_id", "webhook_id", name=op.f("uq_deliveries_event_id")),
    )
    _partial("ix_deliveries_owed", "deliveries", ["webhook_id", "due_at"], where="state = 'owed'")
    op.create_index("ix_deliveries_page", "deliveries", ["webhook_id", "id"])
    _partial("ix_deliveries_job", "deliveries", ["job_id"], where="job_id IS NOT NULL")
    _partial("ix_deliveries_finished", "deliveries", ["finished_at"], where="finished_at IS NOT NULL")
    op.create_table(
        "delivery_attempts",
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("started_at", tables.UtcDateTime(), nullable=False),
        sa.Column("duration_seconds", sa.Float(), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], name=op.f("fk_delivery_attempts_delivery_id")),
        sa.PrimaryKeyConstraint("delivery_id", "n", name=op.f("pk_delivery_attempts")),
    )
    op.add_column("jobs", sa.Column("webhook_url", sa.Text(), nullable=True))


def _partial(name: str, table: str, columns: list[str], *, where: str, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, postgresql_where=condition, sqlite_where=condition)


def downgrade() -> None:
    op.drop_column("jobs", "webhook_url")
    for table in ("delivery_attempts", "deliveries", "webhooks"):
        op.drop_table(table)
