"""Bring a database to the newest schema when it is opened, while servers of the version before go on working.

So migrations add: tables, columns that have a default in the database, indexes. Whoever must do more, or adds a kind of
row that the version before may not overlook, raises the floor in the same migration: `UPDATE schema_floor SET
revision = …`. An older version works on a newer database if it knows its floor, so that it can be started again in a
rolling upgrade, and after one that was given up; otherwise it is refused.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from remit.domain.errors import StoreUnavailable

_FLOOR = "SELECT revision FROM schema_floor WHERE id = 1"


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
        if connection.execute(sa.text(_FLOOR)).scalar() in known:
            return
        raise StoreUnavailable(
            f"This database is at schema {present}, which this version of Remit does not know.",
            next_step="Run the newer version of Remit that wrote it.",
        )
    command.upgrade(config, "head")
