"""Tables of webhooks: where events go, what is owed there, and each attempt."""

import sqlalchemy as sa

from app.db.columns import Json, UtcDateTime, index, metadata, words
from app.domain.webhooks import Delivery, Disabled

webhooks = sa.Table(
    "webhooks",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("project_id", sa.Text, sa.ForeignKey("projects.id"), nullable=False),
    # Null for the project's default, whose secret signs what goes to the URLs that jobs bring along.
    sa.Column("url", sa.Text),
    sa.Column("events", Json),
    sa.Column("subject", sa.Text),
    sa.Column("key_id", sa.Text, sa.ForeignKey("keys.id"), nullable=False),
    sa.Column("secret", sa.Text, nullable=False),
    sa.Column("previous_secret", sa.Text),
    sa.Column("previous_until", UtcDateTime),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("failing_since", UtcDateTime),
    sa.Column("disabled_at", UtcDateTime),
    sa.Column("disabled_reason", sa.Text),
    sa.CheckConstraint(words("disabled_reason", Disabled), name="disabled_reason"),
    sa.CheckConstraint("(disabled_at IS NULL) = (disabled_reason IS NULL)", name="disabled_complete"),
    sa.CheckConstraint("(previous_secret IS NULL) = (previous_until IS NULL)", name="rotation_complete"),
    sa.Index("ix_webhooks_project", "project_id", "id"),
    index("uq_webhooks_default", "project_id", where="url IS NULL", unique=True),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("webhook_id", sa.Text, sa.ForeignKey("webhooks.id"), nullable=False),
    sa.Column("url", sa.Text),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("event_at", UtcDateTime, nullable=False),
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id")),
    sa.Column("subject", sa.Text),
    sa.Column("moment", Json, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    # While it is being sent: when another worker may take it for dead.
    sa.Column("due_at", UtcDateTime, nullable=False),
    sa.Column("lease_token", sa.Text),
    sa.Column("finished_at", UtcDateTime),
    sa.UniqueConstraint("event_id", "webhook_id"),
    sa.CheckConstraint(words("state", Delivery), name="state"),
    sa.CheckConstraint("(state = 'owed') = (finished_at IS NULL)", name="finished_at_with_state"),
    sa.CheckConstraint("lease_token IS NULL OR state = 'owed'", name="lease_of_owed"),
    index("ix_deliveries_owed", "webhook_id", "due_at", where="state = 'owed'"),
    sa.Index("ix_deliveries_page", "webhook_id", "id"),
    index("ix_deliveries_job", "job_id", where="job_id IS NOT NULL"),
    index("ix_deliveries_failed", "id", where="state = 'failed'"),
    index("ix_deliveries_finished", "finished_at", where="finished_at IS NOT NULL"),
)

attempts = sa.Table(
    "delivery_attempts",
    metadata,
    sa.Column("delivery_id", sa.Text, sa.ForeignKey("deliveries.id"), primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("duration_seconds", sa.Float, nullable=False),
    sa.Column("status_code", sa.Integer),
    sa.Column("error", sa.Text),
)
