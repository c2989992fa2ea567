"""Signing keys that rotate: what orders their changes. Outages of issuers."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create two tables."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    positive = sa.text("due > 0")
    for name in ("key_turns", "issuer_outages"):
        op.create_table(
            name,
            sa.Column("key", sa.Text, primary_key=True),
            sa.Column("version", big, nullable=False),
            sa.Column("body", sa.LargeBinary, nullable=False),
            sa.Column("due", big, nullable=False),
        )
        op.create_index(f"{name}_due", name, ["due"], sqlite_where=positive, postgresql_where=positive)
