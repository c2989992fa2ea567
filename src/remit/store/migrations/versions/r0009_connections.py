"""Grants that people gave Remit at other authorization servers, sealed."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Create one table."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    positive = sa.text("due > 0")
    op.create_table(
        "connections",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("version", big, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("due", big, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
    )
    op.create_index("connections_due", "connections", ["due"], sqlite_where=positive, postgresql_where=positive)
    op.create_index("connections_state", "connections", ["state", "key"])
