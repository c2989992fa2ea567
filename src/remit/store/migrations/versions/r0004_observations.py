"""What open tasks have read, as keyed digests, to tell where the values of a call came from."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create one table."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    positive = sa.text("due > 0")
    op.create_table(
        "observations",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("version", big, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("due", big, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("kept", sa.Text, nullable=False),
    )
    op.create_index("observations_due", "observations", ["due"], sqlite_where=positive, postgresql_where=positive)
    for column in ("task", "kept"):
        op.create_index(f"observations_{column}", "observations", [column, "key"])
