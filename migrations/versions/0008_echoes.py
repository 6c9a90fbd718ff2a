"""Creations may stand for what another request had made: a retry that was under way already."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ECHOES = sa.text("stands_for IS NOT NULL")


def upgrade() -> None:
    op.add_column("creations", sa.Column("stands_for", sa.Text(), nullable=True))
    op.create_index(
        "ix_creations_stands_for", "creations", ["stands_for"], postgresql_where=ECHOES, sqlite_where=ECHOES
    )


def downgrade() -> None:
    # To an older build their ids would be those of jobs.
    op.execute(sa.text("DELETE FROM creations WHERE stands_for IS NOT NULL"))
    op.drop_index("ix_creations_stands_for", "creations")
    op.drop_column("creations", "stands_for")
