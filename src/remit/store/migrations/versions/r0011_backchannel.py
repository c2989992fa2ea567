"""Questions to people's identity providers, with the provider's id of each sealed."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Create one table."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    positive = sa.text("due > 0")
    op.create_table(
        "backchannel_requests",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("version", big, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("due", big, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("approval", sa.Text, nullable=False),
    )
    op.create_index(
        "backchannel_requests_due", "backchannel_requests", ["due"], sqlite_where=positive, postgresql_where=positive
    )
    for column in ("state", "approval"):
        op.create_index(f"backchannel_requests_{column}", "backchannel_requests", [column, "key"])
