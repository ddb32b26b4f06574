"""Alembic's entry: runs on the connection that `chatcore.db.migrate` hands over, inside its transaction."""

from alembic import context

from chatcore.db.tables import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=Base.metadata, render_as_batch=connection.dialect.name == "sqlite"
)
context.run_migrations()
