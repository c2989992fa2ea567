"""What open tasks are permitted in, and what was decided again after it changed; and tasks by who began them."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
TABLES = {"redecisions": ("lasts",), "departures": (), "postures": (), "findings": ("state", "about")}


def upgrade() -> None:
    """Create four tables, and write down for each task who began it."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    positive = sa.text("due > 0")
    for table, columns in TABLES.items():
        op.create_table(
            table,
            sa.Column("key", sa.Text, primary_key=True),
            sa.Column("version", big, nullable=False),
            sa.Column("body", sa.LargeBinary, nullable=False),
            sa.Column("due", big, nullable=False),
            *(sa.Column(name, sa.Text, nullable=False) for name in columns),
        )
        op.create_index(f"{table}_due", table, ["due"], sqlite_where=positive, postgresql_where=positive)
        for column in columns:
            op.create_index(f"{table}_{column}", table, [column, "key"])
    connection = op.get_bind()
    op.add_column("tasks", sa.Column("initiator", sa.Text, nullable=False, server_default=""))
    op.create_index("tasks_initiator", "tasks", ["initiator", "key"])
    for key, body in connection.execute(sa.text("SELECT key, body FROM tasks")).all():
        began = json.loads(bytes(body))["chain"]["initiator"]
        who = {"who": f"{began['kind']}:{began['name']}", "key": key}
        connection.execute(sa.text("UPDATE tasks SET initiator = :who WHERE key = :key"), who)
