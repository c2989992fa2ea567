"""That the store was put back to an earlier state."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Create one table."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    positive = sa.text("due > 0")
    op.create_table(
        "restored",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("version", big, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("due", big, nullable=False),
    )
    op.create_index("restored_due", "restored", ["due"], sqlite_where=positive, postgresql_where=positive)
    # A departure, a freeze of a tool or a task's home may not be overlooked by code that knows none of them.
    op.execute("UPDATE schema_floor SET revision = '0019'")
