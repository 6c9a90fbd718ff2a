"""Durations are learned for each length of video too; those learned so far are of any length."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("durations") as batch:
        batch.add_column(sa.Column("length", sa.Text(), server_default="", nullable=False))
        batch.drop_constraint("pk_durations", type_="primary")
        batch.create_primary_key("pk_durations", ["model", "length"])


def downgrade() -> None:
    op.execute("DELETE FROM durations WHERE length != ''")
    with op.batch_alter_table("durations") as batch:
        batch.drop_constraint("pk_durations", type_="primary")
        batch.drop_column("length")
        batch.create_primary_key("pk_durations", ["model"])
