"""What minted secrets are known again by, and what scans have reported."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Create two tables."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    positive = sa.text("due > 0")
    for name, column in (("fingerprints", "print"), ("scan_reports", "")):
        op.create_table(
            name,
            sa.Column("key", sa.Text, primary_key=True),
            sa.Column("version", big, nullable=False),
            sa.Column("body", sa.LargeBinary, nullable=False),
            sa.Column("due", big, nullable=False),
            *([sa.Column(column, sa.Text, nullable=False)] if column else []),
        )
        op.create_index(f"{name}_due", name, ["due"], sqlite_where=positive, postgresql_where=positive)
        if column:
            op.create_index(f"{name}_{column}", name, [column, "key"])
