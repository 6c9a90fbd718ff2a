"""The statement that moves a job, built once for each set of columns: building it anew takes longer than running it."""

from functools import cache

import sqlalchemy as sa

from app.db.tables import jobs

_AS_READ = {"id": "its_id", "state": "its_state", "version": "its_version"}


@cache
def moving(columns: tuple[str, ...]) -> sa.Update:
    """Return the update of the state and these columns, each to `new_` and its name, of a row that nobody moved since.

    That it has not is told by `its_id`, `its_state`, `its_version` and `its_lease`. The new row comes back.
    """
    unmoved = [jobs.c[name] == sa.bindparam(given, type_=jobs.c[name].type) for name, given in _AS_READ.items()]
    same_lease = jobs.c.lease_token.is_not_distinct_from(sa.bindparam("its_lease", type_=jobs.c.lease_token.type))
    new = {name: sa.bindparam(f"new_{name}", type_=jobs.c[name].type) for name in columns}
    counted = {"version": jobs.c.version + 1, "event_count": jobs.c.event_count + 1}
    moved = (
        jobs.update()
        .where(*unmoved, same_lease)
        .values(**new, **counted, state=sa.bindparam("new_state", type_=jobs.c.state.type))
    )
    return moved.returning(*jobs.c)
