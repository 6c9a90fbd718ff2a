"""The first tables."""

import sqlalchemy as sa
from alembic import op

from app.db import tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "deployment",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("deployment_id", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("created_at", tables.UtcDateTime(), nullable=False),
        sa.CheckConstraint("mode IN ('real', 'sandbox')", name=op.f("ck_deployment_mode")),
        sa.CheckConstraint("id = 1", name=op.f("ck_deployment_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployment")),
    )
    op.create_table(
        "durations",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("seen", sa.Integer(), nullable=False),
        sa.Column("mean_log", sa.Float(), nullable=False),
        sa.Column("m2_log", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_durations")),
    )
    op.create_table(
        "gate",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("held_since", tables.UtcDateTime(), nullable=True),
        sa.Column("held_until", tables.UtcDateTime(), nullable=True),
        sa.Column("hold_reason", sa.Text(), nullable=True),
        sa.Column("hold_level", sa.Integer(), nullable=False),
        sa.Column("trial_out", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "(held_until IS NULL) = (hold_reason IS NULL) AND (held_until IS NULL) = (held_since IS NULL)",
            name=op.f("ck_gate_hold_complete"),
        ),
        sa.CheckConstraint("id = 1", name=op.f("ck_gate_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gate")),
    )
    op.create_table(
        "price_list",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("fetched_at", tables.UtcDateTime(), nullable=False),
        sa.Column("rules", tables.Json, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_price_list_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_list")),
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("max_in_flight", sa.Integer(), nullable=True),
        sa.Column("created_at", tables.UtcDateTime(), nullable=False),
        sa.Column("archived_at", tables.UtcDateTime(), nullable=True),
        sa.Column("last_admitted_at", tables.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("name", name=op.f("uq_projects_name")),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("started_at", tables.UtcDateTime(), nullable=False),
        sa.Column("beat_at", tables.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_table(
        "files",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("created_at", tables.UtcDateTime(), nullable=False),
        sa.Column("expires_at", tables.UtcDateTime(), nullable=False),
        sa.Column("condemned_at", tables.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_files_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
    )
    op.create_index("ix_files_expires_at", "files", ["expires_at"], unique=False)

    op.create_table(
        "keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("scopes", tables.Json, nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("created_at", tables.UtcDateTime(), nullable=False),
        sa.Column("expires_at", tables.UtcDateTime(), nullable=True),
        sa.Column("revoked_at", tables.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_keys_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
        sa.UniqueConstraint("hash", name=op.f("uq_keys_hash")),
    )
    op.create_index("ix_keys_project_id", "keys", ["project_id"], unique=False)

    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("input", tables.Json, nullable=False),
        sa.Column("metadata", tables.Json, nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("saves", sa.Integer(), nullable=False),
        sa.Column("bad_results", sa.Integer(), nullable=False),
        sa.Column("event_count", sa.Integer(), nullable=False),
        sa.Column("due_at", tables.UtcDateTime(), nullable=False),
        sa.Column("wait_reason", sa.Text(), nullable=True),
        sa.Column("lease_token", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", tables.UtcDateTime(), nullable=True),
        sa.Column("cancel_requested_at", tables.UtcDateTime(), nullable=True),
        sa.Column("start_by", tables.UtcDateTime(), nullable=True),
        sa.Column("created_at", tables.UtcDateTime(), nullable=False),
        sa.Column("started_at", tables.UtcDateTime(), nullable=True),
        sa.Column("finished_at", tables.UtcDateTime(), nullable=True),
        sa.Column("deleted_at", tables.UtcDateTime(), nullable=True),
        sa.Column("retried_from", sa.Text(), nullable=True),
        sa.Column("upstream_path", sa.Text(), nullable=False),
        sa.Column("generation_id", sa.Text(), nullable=True),
        sa.Column("expected_seconds", sa.Float(), nullable=True),
        sa.Column("empty_since", tables.UtcDateTime(), nullable=True),
        sa.Column("result_url", sa.Text(), nullable=True),
        sa.Column("max_cost_micros", sa.BigInteger(), nullable=True),
        sa.Column("estimated_micros", sa.BigInteger(), nullable=True),
        sa.Column("estimate_basis", sa.Text(), nullable=True),
        sa.Column("charged_micros", sa.BigInteger(), nullable=True),
        sa.Column("charge_basis", sa.Text(), nullable=True),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("billed", sa.Boolean(), nullable=True),
        sa.Column("video", tables.Json, nullable=True),
        sa.CheckConstraint("(state = 'failed') = (error_code IS NOT NULL)", name=op.f("ck_jobs_error_of_failed")),
        sa.CheckConstraint(
            "(state = 'succeeded') = (video IS NOT NULL) OR deleted_at IS NOT NULL", name=op.f("ck_jobs_video_saved")
        ),
        sa.CheckConstraint(
            "(state IN ('abandoned', 'canceled', 'failed', 'succeeded')) = (finished_at IS NOT NULL)",
            name=op.f("ck_jobs_finished_at_with_final_state"),
        ),
        sa.CheckConstraint("charge_basis IN ('reported', 'estimated')", name=op.f("ck_jobs_charge_basis")),
        sa.CheckConstraint(
            "lease_token IS NULL OR state IN ('saving', 'submitting')", name=op.f("ck_jobs_lease_in_worked_states")
        ),
        sa.CheckConstraint(
            "state IN ('abandoned', 'canceled', 'failed', 'generating', 'queued', 'saving', 'submitting', 'succeeded', 'unconfirmed')",
            name=op.f("ck_jobs_state"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('generating', 'saving', 'succeeded') OR (generation_id IS NOT NULL AND started_at IS NOT NULL)",
            name=op.f("ck_jobs_generation_known"),
        ),
        sa.CheckConstraint("(lease_token IS NULL) = (lease_expires_at IS NULL)", name=op.f("ck_jobs_lease_complete")),
        sa.CheckConstraint(
            "estimated_micros >= 0 AND charged_micros >= 0 AND (charged_micros IS NULL) = (charge_basis IS NULL)",
            name=op.f("ck_jobs_money"),
        ),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name=op.f("fk_jobs_key_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_jobs_project_id")),
        sa.ForeignKeyConstraint(["retried_from"], ["jobs.id"], name=op.f("fk_jobs_retried_from")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(
        "ix_jobs_finished",
        "jobs",
        ["finished_at"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NOT NULL AND deleted_at IS NULL"),
        sqlite_where=sa.text("finished_at IS NOT NULL AND deleted_at IS NULL"),
    )
    op.create_index(
        "ix_jobs_lease",
        "jobs",
        ["lease_expires_at"],
        unique=False,
        postgresql_where=sa.text("lease_token IS NOT NULL"),
        sqlite_where=sa.text("lease_token IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_occupying",
        "jobs",
        ["project_id"],
        unique=False,
        postgresql_where=sa.text("state IN ('abandoned', 'generating', 'submitting', 'unconfirmed')"),
        sqlite_where=sa.text("state IN ('abandoned', 'generating', 'submitting', 'unconfirmed')"),
    )
    op.create_index(
        "ix_jobs_page",
        "jobs",
        ["project_id", "id"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
        sqlite_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_jobs_poll",
        "jobs",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('abandoned', 'generating')"),
        sqlite_where=sa.text("state IN ('abandoned', 'generating')"),
    )
    op.create_index(
        "ix_jobs_queue",
        "jobs",
        ["project_id", "priority", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
        sqlite_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_jobs_retried_from",
        "jobs",
        ["retried_from"],
        unique=False,
        postgresql_where=sa.text("retried_from IS NOT NULL"),
        sqlite_where=sa.text("retried_from IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_save",
        "jobs",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("state = 'saving'"),
        sqlite_where=sa.text("state = 'saving'"),
    )
    op.create_index(
        "ix_jobs_start_by",
        "jobs",
        ["start_by"],
        unique=False,
        postgresql_where=sa.text("state = 'queued' AND start_by IS NOT NULL"),
        sqlite_where=sa.text("state = 'queued' AND start_by IS NOT NULL"),
    )
    op.create_index(
        "uq_jobs_generation",
        "jobs",
        ["generation_id"],
        unique=True,
        postgresql_where=sa.text("generation_id IS NOT NULL"),
        sqlite_where=sa.text("generation_id IS NOT NULL"),
    )

    op.create_table(
        "events",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("data", tables.Json, nullable=False),
        sa.Column("created_at", tables.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_events_job_id")),
        sa.PrimaryKeyConstraint("job_id", "n", name=op.f("pk_events")),
        sa.UniqueConstraint("id", name=op.f("uq_events_id")),
    )
    op.create_index(
        "ix_jobs_doubtful",
        "jobs",
        ["id"],
        unique=False,
        postgresql_where=sa.text("generation_id IS NULL AND state IN ('abandoned', 'unconfirmed')"),
        sqlite_where=sa.text("generation_id IS NULL AND state IN ('abandoned', 'unconfirmed')"),
    )

    op.create_index(
        "ix_jobs_unburied",
        "jobs",
        ["id"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NOT NULL AND video IS NOT NULL"),
        sqlite_where=sa.text("deleted_at IS NOT NULL AND video IS NOT NULL"),
    )

    op.create_table(
        "job_files",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("file_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_files_job_id")),
        sa.PrimaryKeyConstraint("job_id", "file_id", name=op.f("pk_job_files")),
    )
    op.create_index(op.f("ix_job_files_file_id"), "job_files", ["file_id"], unique=False)

    op.create_table(
        "submissions",
        sa.Column("id", tables.BigId, autoincrement=True, nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("prepared_at", tables.UtcDateTime(), nullable=False),
        sa.Column("sent_at", tables.UtcDateTime(), nullable=True),
        sa.Column("answered_at", tables.UtcDateTime(), nullable=True),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("generation_id", sa.Text(), nullable=True),
        sa.Column("inference_id", sa.Text(), nullable=True),
        sa.Column("credits", sa.BigInteger(), nullable=True),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.Column("retry_after_seconds", sa.Float(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(state = 'accepted') = (generation_id IS NOT NULL)", name=op.f("ck_submissions_generation_of_accepted")
        ),
        sa.CheckConstraint(
            "state IN ('accepted', 'not_sent', 'prepared', 'refused', 'sending', 'unconfirmed')",
            name=op.f("ck_submissions_state"),
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_submissions_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submissions")),
        sa.UniqueConstraint("job_id", "n", name=op.f("uq_submissions_job_id")),
        sa.UniqueConstraint("request_id", name=op.f("uq_submissions_request_id")),
        sqlite_autoincrement=True,
    )
    op.execute("INSERT INTO gate (id, hold_level, trial_out) VALUES (1, 0, false)")


def downgrade() -> None:
    for table in (
        "job_files",
        "events",
        "submissions",
        "jobs",
        "keys",
        "files",
        "workers",
        "projects",
        "price_list",
        "gate",
        "durations",
        "deployment",
    ):
        op.drop_table(table)
