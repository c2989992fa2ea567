"""Bring a database to the newest schema when it is opened; a database from the future is refused."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from remit.domain.errors import StoreUnavailable


def migrate(connection: sa.Connection) -> None:
    """Run what is missing, inside the caller's transaction."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    present = MigrationContext.configure(connection).get_current_revision()
    if present == script.get_current_head():
        return
    known = {revision.revision for revision in script.walk_revisions()}
    if present is not None and present not in known:
        raise StoreUnavailable(
            f"This database is at schema {present}, which this version of Remit does not know.",
            next_step="Run the newer version of Remit that wrote it.",
        )
    command.upgrade(config, "head")
