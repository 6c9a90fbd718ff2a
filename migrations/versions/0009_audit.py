"""The ledger's check: whose turn it is, over all replicas. What one purchase of an unknown price is taken to cost."""

import sqlalchemy as sa
from alembic import op

from app.db import tables

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

COLUMNS = (
    ("jobs", "each_micros", sa.BigInteger()),
    ("log_reader", "ledger_checked_at", tables.UtcDateTime()),
    ("log_reader", "ledger_check_until", tables.UtcDateTime()),
)


def upgrade() -> None:
    for table, name, kind in COLUMNS:
        op.add_column(table, sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    for table, name, _ in COLUMNS:
        op.drop_column(table, name)
