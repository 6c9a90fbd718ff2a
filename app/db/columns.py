"""What tables are made of: types that are the same on both databases, names of constraints, small statements."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Connection, Dialect

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
    # The row itself is the answer: the number of rows of an INSERT is not reported on Postgres.
    statement = insert(table).values(**values).on_conflict_do_nothing().returning(*table.primary_key)
    return conn.execute(statement).first() is not None


def given_rows(dialect: str, **columns: type[sa.types.TypeEngine[Any]]) -> sa.FromClause:
    """A table of the rows, dicts with these names, that a statement is given as its parameter `rows`.

    One parameter for any number of rows: the statement is the same for all of them, and so is its plan.
    """
    rows = sa.bindparam("rows", type_=sa.JSON())
    if dialect == "postgresql":
        listed = [sa.column(name, kind) for name, kind in columns.items()]
        return sa.func.json_to_recordset(rows).table_valued(*listed, name="given").render_derived(with_types=True)
    each = sa.func.json_each(rows).table_valued("value", name="each")
    named = [sa.func.json_extract(each.c.value, f"$.{name}", type_=kind).label(name) for name, kind in columns.items()]
    return sa.select(*named).select_from(each).subquery("given")


def one_of(column: sa.Column[str], allowed: Iterable[str]) -> sa.ColumnElement[bool]:
    """`column IN (...)` with the words spelled out: a partial index does not match bound parameters.

    One word alone is `column = ...`: SQLite does not take `IN` of one for the same.
    """
    if len(listed := sorted(map(str, allowed))) == 1:
        return column == sa.literal_column(repr(listed[0]))
    return column.in_(sa.bindparam(None, listed, expanding=True, literal_execute=True))


PARKED = sa.text("parked")
"""As the index has it: SQLite does not take `parked = 1` for the same."""


def words(column: str, allowed: Iterable[str]) -> str:
    """`column IN (...)` as the text of a constraint."""
    return f"{column} IN ({', '.join(repr(str(word)) for word in sorted(allowed))})"


def index(name: str, *columns: Any, where: str | None = None, unique: bool = False) -> sa.Index:
    """An index, partial on both databases where `where` says so."""
    condition = sa.text(where) if where else None
    return sa.Index(name, *columns, unique=unique, postgresql_where=condition, sqlite_where=condition)
