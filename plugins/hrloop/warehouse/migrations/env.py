"""Alembic's environment: migrations run on the connection that the bootstrap hands over."""

from alembic import context

from hrloop.warehouse.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table_schema="loop",
    include_schemas=True,
)
with context.begin_transaction():
    context.run_migrations()
