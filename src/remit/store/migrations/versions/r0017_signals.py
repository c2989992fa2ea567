"""What other systems said of people, by who said it and its `jti`."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Create one table."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    positive = sa.text("due > 0")
    op.create_table(
        "heard_signals",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("version", big, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("due", big, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
    )
    op.create_index("heard_signals_due", "heard_signals", ["due"], sqlite_where=positive, postgresql_where=positive)
    op.create_index("heard_signals_person", "heard_signals", ["person", "key"])
