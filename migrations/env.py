"""Alembic's way into the house: the connection comes from the caller, or from the settings for the bare command."""

from alembic import context
from sqlalchemy import Connection

from app.db.engine import Database
from app.db.tables import metadata


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        render_as_batch=connection.dialect.name == "sqlite",
        user_module_prefix="tables.",
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    from app.settings import Settings

    database = Database(Settings().sqlalchemy_url)
    with database.transaction() as conn:
        run(conn)
    database.close()
