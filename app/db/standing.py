"""Tables of what holds for all jobs: this deployment, its workers, and how the upstream stands."""

import sqlalchemy as sa

from app.db.columns import Json, UtcDateTime, metadata

deployment = sa.Table(
    "deployment",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("deployment_id", sa.Text, nullable=False),
    sa.Column("mode", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.CheckConstraint("id = 1", name="single_row"),
    sa.CheckConstraint("mode IN ('real', 'sandbox')", name="mode"),
)

gate = sa.Table(
    "gate",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("held_since", UtcDateTime),
    sa.Column("held_until", UtcDateTime),
    sa.Column("hold_reason", sa.Text),
    sa.Column("hold_level", sa.Integer, nullable=False),
    sa.Column("trial_out", sa.Boolean, nullable=False),
    sa.Column("probe_first", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("needed_micros", sa.BigInteger),
    sa.Column("doubts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("pace_per_minute", sa.Float),
    sa.Column("next_admission_at", UtcDateTime),
    sa.CheckConstraint("id = 1", name="single_row"),
    sa.CheckConstraint(
        "(held_until IS NULL) = (hold_reason IS NULL) AND (held_until IS NULL) = (held_since IS NULL)",
        name="hold_complete",
    ),
)

model_holds = sa.Table(
    "model_holds",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("held_since", UtcDateTime, nullable=False),
    sa.Column("held_until", UtcDateTime, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("level", sa.Integer, nullable=False),
    sa.Column("trial_out", sa.Boolean, nullable=False),
)

log_reader = sa.Table(
    "log_reader",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("reading_by", sa.Text),
    sa.Column("reading_until", UtcDateTime),
    sa.Column("next_read_at", UtcDateTime),
    sa.Column("minute_began_at", UtcDateTime),
    sa.Column("reads_in_minute", sa.Integer, nullable=False, server_default="0"),
    sa.Column("read_at", UtcDateTime),
    sa.Column("audited_at", UtcDateTime),
    sa.Column("restored_from", UtcDateTime),
    sa.Column("parked_until", UtcDateTime),
    sa.Column("ledger_checked_at", UtcDateTime),
    sa.Column("ledger_check_until", UtcDateTime),
    sa.CheckConstraint("id = 1", name="single_row"),
    sa.CheckConstraint("(restored_from IS NULL) = (parked_until IS NULL)", name="restore_complete"),
)

durations = sa.Table(
    "durations",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("length", sa.Text, primary_key=True, server_default=""),
    sa.Column("seen", sa.Integer, nullable=False),
    sa.Column("mean_log", sa.Float, nullable=False),
    sa.Column("m2_log", sa.Float, nullable=False),
)

price_list = sa.Table(
    "price_list",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("etag", sa.Text),
    sa.Column("fetched_at", UtcDateTime, nullable=False),
    sa.Column("rules", Json, nullable=False),
    sa.Column("models", Json),
    sa.CheckConstraint("id = 1", name="single_row"),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("beat_at", UtcDateTime, nullable=False),
)
