"""Every table, constraint and index."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Connection, Dialect

from app.domain.job import SubmissionState
from app.domain.states import ENDED_FOR_CALLERS, OCCUPYING, JobState

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware moment in UTC on both databases. SQLite stores it as text, which sorts as time does."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime: every moment in the database is aware")
        return value.astimezone(UTC).replace(tzinfo=None) if dialect.name == "sqlite" else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def insert_if_absent(conn: Connection, table: sa.Table, **values: Any) -> bool:
    """Insert the row unless one with its key is there; tell whether it was inserted."""
    insert = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
    return conn.execute(insert(table).values(**values).on_conflict_do_nothing()).rowcount == 1


def one_of(column: sa.Column[str], words: Iterable[str]) -> sa.ColumnElement[bool]:
    """`column IN (...)` with the words spelled out: a partial index does not match bound parameters."""
    return column.in_(sa.bindparam(None, sorted(map(str, words)), expanding=True, literal_execute=True))


def _words(column: str, words: Any) -> str:
    return f"{column} IN ({', '.join(repr(str(word)) for word in sorted(words))})"


def _index(name: str, *columns: Any, where: str | None = None, unique: bool = False) -> sa.Index:
    condition = sa.text(where) if where else None
    return sa.Index(name, *columns, unique=unique, postgresql_where=condition, sqlite_where=condition)


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

projects = sa.Table(
    "projects",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("max_in_flight", sa.Integer),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("archived_at", UtcDateTime),
    sa.Column("last_admitted_at", UtcDateTime),
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("project_id", sa.Text, sa.ForeignKey("projects.id"), nullable=False, index=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False, unique=True),
    sa.Column("hint", sa.Text, nullable=False),
    sa.Column("scopes", Json, nullable=False),
    sa.Column("subject", sa.Text),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime),
    sa.Column("revoked_at", UtcDateTime),
)

files = sa.Table(
    "files",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("project_id", sa.Text, sa.ForeignKey("projects.id"), nullable=False),
    sa.Column("subject", sa.Text),
    sa.Column("content_type", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("storage_key", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),
    sa.Column("condemned_at", UtcDateTime),
    sa.Index("ix_files_expires_at", "expires_at"),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("project_id", sa.Text, sa.ForeignKey("projects.id"), nullable=False),
    sa.Column("key_id", sa.Text, sa.ForeignKey("keys.id")),
    sa.Column("subject", sa.Text),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("input", Json, nullable=False),
    sa.Column("metadata", Json, nullable=False),
    sa.Column("priority", sa.SmallInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("saves", sa.Integer, nullable=False),
    sa.Column("bad_results", sa.Integer, nullable=False),
    sa.Column("event_count", sa.Integer, nullable=False),
    sa.Column("due_at", UtcDateTime, nullable=False),
    sa.Column("wait_reason", sa.Text),
    sa.Column("lease_token", sa.Text),
    sa.Column("lease_expires_at", UtcDateTime),
    sa.Column("cancel_requested_at", UtcDateTime),
    sa.Column("start_by", UtcDateTime),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("started_at", UtcDateTime),
    sa.Column("finished_at", UtcDateTime),
    sa.Column("deleted_at", UtcDateTime),
    sa.Column("retried_from", sa.Text, sa.ForeignKey("jobs.id")),
    sa.Column("upstream_path", sa.Text, nullable=False),
    sa.Column("generation_id", sa.Text),
    sa.Column("expected_seconds", sa.Float),
    sa.Column("empty_since", UtcDateTime),
    sa.Column("result_url", sa.Text),
    sa.Column("max_cost_micros", sa.BigInteger),
    sa.Column("estimated_micros", sa.BigInteger),
    sa.Column("estimate_basis", sa.Text),
    sa.Column("charged_micros", sa.BigInteger),
    sa.Column("charge_basis", sa.Text),
    sa.Column("settled", sa.Boolean, nullable=False),
    sa.Column("error_code", sa.Text),
    sa.Column("error_message", sa.Text),
    sa.Column("billed", sa.Boolean),
    sa.Column("video", Json),
    sa.Column("video_seconds", sa.Float),
    sa.CheckConstraint(_words("state", JobState), name="state"),
    sa.CheckConstraint(
        f"({_words('state', ENDED_FOR_CALLERS)}) = (finished_at IS NOT NULL)", name="finished_at_with_final_state"
    ),
    sa.CheckConstraint(
        "state NOT IN ('generating', 'saving', 'succeeded') OR (generation_id IS NOT NULL AND started_at IS NOT NULL)",
        name="generation_known",
    ),
    sa.CheckConstraint("(state = 'succeeded') = (video IS NOT NULL) OR deleted_at IS NOT NULL", name="video_saved"),
    sa.CheckConstraint("(state = 'failed') = (error_code IS NOT NULL)", name="error_of_failed"),
    sa.CheckConstraint("(lease_token IS NULL) = (lease_expires_at IS NULL)", name="lease_complete"),
    sa.CheckConstraint("lease_token IS NULL OR state IN ('saving', 'submitting')", name="lease_in_worked_states"),
    sa.CheckConstraint("charge_basis IN ('reported', 'estimated')", name="charge_basis"),
    sa.CheckConstraint(
        "estimated_micros >= 0 AND charged_micros >= 0 AND (charged_micros IS NULL) = (charge_basis IS NULL)",
        name="money",
    ),
    _index("ix_jobs_page", "project_id", "id", where="deleted_at IS NULL"),
    _index("ix_jobs_usage", "project_id", "created_at"),
    _index("ix_jobs_queue", "project_id", "priority", "id", where="state = 'queued'"),
    _index("ix_jobs_occupying", "project_id", where=_words("state", OCCUPYING)),
    _index("ix_jobs_doubtful", "id", where="generation_id IS NULL AND state IN ('abandoned', 'unconfirmed')"),
    _index("ix_jobs_poll", "due_at", where="state IN ('abandoned', 'generating')"),
    _index("ix_jobs_save", "due_at", where="state = 'saving'"),
    _index("ix_jobs_lease", "lease_expires_at", where="lease_token IS NOT NULL"),
    _index("ix_jobs_start_by", "start_by", where="state = 'queued' AND start_by IS NOT NULL"),
    _index("ix_jobs_finished", "finished_at", where="finished_at IS NOT NULL AND deleted_at IS NULL"),
    _index("ix_jobs_unburied", "id", where="deleted_at IS NOT NULL AND video IS NOT NULL"),
    _index("uq_jobs_generation", "generation_id", where="generation_id IS NOT NULL", unique=True),
    _index("ix_jobs_retried_from", "retried_from", where="retried_from IS NOT NULL"),
)

job_files = sa.Table(
    "job_files",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("file_id", sa.Text, primary_key=True, index=True),
)

submissions = sa.Table(
    "submissions",
    metadata,
    sa.Column("id", BigId, primary_key=True, autoincrement=True),
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id"), nullable=False),
    sa.Column("n", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False, unique=True),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("prepared_at", UtcDateTime, nullable=False),
    sa.Column("sent_at", UtcDateTime),
    sa.Column("answered_at", UtcDateTime),
    sa.Column("http_status", sa.Integer),
    sa.Column("generation_id", sa.Text),
    sa.Column("inference_id", sa.Text),
    sa.Column("credits", sa.BigInteger),
    sa.Column("refusal", sa.Text),
    sa.Column("retry_after_seconds", sa.Float),
    sa.Column("message", sa.Text),
    sa.UniqueConstraint("job_id", "n"),
    sa.CheckConstraint(_words("state", SubmissionState), name="state"),
    sa.CheckConstraint("(state = 'accepted') = (generation_id IS NOT NULL)", name="generation_of_accepted"),
    sqlite_autoincrement=True,
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("project_id", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("data", Json, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
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
    sa.CheckConstraint("id = 1", name="single_row"),
    sa.CheckConstraint(
        "(held_until IS NULL) = (hold_reason IS NULL) AND (held_until IS NULL) = (held_since IS NULL)",
        name="hold_complete",
    ),
)

durations = sa.Table(
    "durations",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
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
    sa.CheckConstraint("id = 1", name="single_row"),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("beat_at", UtcDateTime, nullable=False),
)
