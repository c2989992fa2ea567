"""Alembic's entry: the connection is handed over by `remit.store.migrate`."""

from alembic import context

from remit.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
