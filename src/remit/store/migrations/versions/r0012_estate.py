"""Edges: which of them decides a task's calls, how far their logs are taken in, and what they said of themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add a column that an older version leaves empty, and five tables."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    positive = sa.text("due > 0")
    op.add_column("tasks", sa.Column("home", sa.Text, nullable=False, server_default=""))
    op.create_index("tasks_home", "tasks", ["home", "key"])
    for table, columns in (
        ("edge_seats", ()),
        ("edge_logs", ("edge",)),
        ("following", ()),
        ("held_tasks", ("state",)),
    ):
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
    op.create_table(
        "edges_seen",
        sa.Column("edge", sa.Text, primary_key=True),
        sa.Column("seen_at", big, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
