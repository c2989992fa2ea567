"""Streams in which other systems are told what ends here, with their headers sealed."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Create one table."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    positive = sa.text("due > 0")
    op.create_table(
        "streams",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("version", big, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("due", big, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
    )
    op.create_index("streams_due", "streams", ["due"], sqlite_where=positive, postgresql_where=positive)
    op.create_index("streams_state", "streams", ["state", "key"])
