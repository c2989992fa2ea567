"""What people want of where the log goes, and how far those have come who follow it."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Create two tables."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    positive = sa.text("due > 0")
    op.create_table(
        "outs",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("version", big, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("due", big, nullable=False),
    )
    op.create_index("outs_due", "outs", ["due"], sqlite_where=positive, postgresql_where=positive)
    op.create_table(
        "marks",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", big, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
