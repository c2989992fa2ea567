"""What exports say about who can reach what."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Create two tables."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    positive = sa.text("due > 0")
    for table in ("charts", "chart_steps"):
        op.create_table(
            table,
            sa.Column("key", sa.Text, primary_key=True),
            sa.Column("version", big, nullable=False),
            sa.Column("body", sa.LargeBinary, nullable=False),
            sa.Column("due", big, nullable=False),
        )
        op.create_index(f"{table}_due", table, ["due"], sqlite_where=positive, postgresql_where=positive)
