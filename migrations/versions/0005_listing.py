"""Which models the upstream lists, and uploads that have no width: sounds."""

import sqlalchemy as sa
from alembic import op

from app.db import tables

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SIDES = ("width", "height")
files = sa.table("files", *(sa.column(side, sa.Integer()) for side in SIDES))


def upgrade() -> None:
    op.add_column("price_list", sa.Column("models", tables.Json, nullable=True))
    with op.batch_alter_table("files") as table:
        for side in SIDES:
            table.alter_column(side, existing_type=sa.Integer(), nullable=True)


def downgrade() -> None:
    for side in SIDES:
        op.execute(files.update().where(files.c[side].is_(None)).values({side: 0}))
    with op.batch_alter_table("files") as table:
        for side in SIDES:
            table.alter_column(side, existing_type=sa.Integer(), nullable=False)
    op.drop_column("price_list", "models")
