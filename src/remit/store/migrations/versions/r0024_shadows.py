"""What was seen and nobody registered, and what of it was dismissed."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Create two tables."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    positive = sa.text("due > 0")
    op.create_table(
        "dismissals",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("version", big, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("due", big, nullable=False),
    )
    op.create_index("dismissals_due", "dismissals", ["due"], sqlite_where=positive, postgresql_where=positive)
    op.create_table(
        "shadows",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("reporter", sa.Text, nullable=False),
        sa.Column("first_at", big, nullable=False),
        sa.Column("last_at", big, nullable=False),
        sa.Column("count", big, nullable=False),
    )
    op.create_index("shadows_kind", "shadows", ["kind", "reporter"])
