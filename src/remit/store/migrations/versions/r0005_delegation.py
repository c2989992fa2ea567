"""Tasks that were handed on: found by what they hang from, and ended by one row."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create one table, and two indexed columns; what is there already was handed on by nobody."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    positive = sa.text("due > 0")
    op.create_table(
        "branches",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("version", big, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("due", big, nullable=False),
    )
    op.create_index("branches_due", "branches", ["due"], sqlite_where=positive, postgresql_where=positive)
    for table, column in (("tasks", "parent"), ("observations", "root")):
        op.add_column(table, sa.Column(column, sa.Text, nullable=False, server_default=""))
        op.create_index(f"{table}_{column}", table, [column, "key"])
    op.execute(sa.text("UPDATE observations SET root = task"))
