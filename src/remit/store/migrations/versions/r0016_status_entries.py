"""Indices in status lists, each of one token and never of a second."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Create one table."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    positive = sa.text("due > 0")
    op.create_table(
        "status_entries",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("version", big, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("due", big, nullable=False),
        sa.Column("list", sa.Text, nullable=False),
    )
    op.create_index("status_entries_due", "status_entries", ["due"], sqlite_where=positive, postgresql_where=positive)
    op.create_index("status_entries_list", "status_entries", ["list", "key"])
