"""Who answers for what nobody answers for, and what directories say of accounts."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Create two tables."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    positive = sa.text("due > 0")
    for table, columns in (("successions", ("lasts",)), ("directory_users", ("directory", "folded"))):
        op.create_table(
            table,
            sa.Column("key", sa.Text, primary_key=True),
            sa.Column("version", big, nullable=False),
            sa.Column("body", sa.LargeBinary, nullable=False),
            sa.Column("due", big, nullable=False),
            *(sa.Column(column, sa.Text, nullable=False) for column in columns),
        )
        op.create_index(f"{table}_due", table, ["due"], sqlite_where=positive, postgresql_where=positive)
        for column in columns:
            op.create_index(f"{table}_{column}", table, [column, "key"])
