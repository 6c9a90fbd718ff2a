"""Keyset pages of a list: from where the page before ended, however the list has changed since."""

from collections.abc import Sequence
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection, Row, Select

from app.domain.errors import InvalidRequest


def page(
    conn: Connection,
    query: Select[Any],
    *,
    by: sa.Column[str],
    limit: int,
    after: str | None,
    among: Sequence[sa.ColumnElement[bool]] = (),
    order: Literal["asc", "desc"] = "desc",
) -> tuple[list[Row[Any]], bool]:
    """Return the page of `query` that begins after `after`, and whether there are more. Ids sort as they were made.

    `among` says whose ids may be named: what does not change of a row, so that one which has left the list since, by
    being deleted or delivered, still has its place. Raises InvalidRequest for any other id.
    """
    if after is not None:
        if conn.execute(sa.select(by).where(by == after, *among)).first() is None:
            message = "'after' is not in this list. Use the last_id of the page before."
            raise InvalidRequest(message, code="invalid_cursor", param="after")
        query = query.where(by > after if order == "asc" else by < after)
    found = conn.execute(query.order_by(by if order == "asc" else by.desc()).limit(limit + 1)).all()
    return list(found[:limit]), len(found) > limit
