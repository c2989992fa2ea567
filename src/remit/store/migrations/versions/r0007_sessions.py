"""People's sessions in the console, and the one-time links that begin them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create two tables."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    positive = sa.text("due > 0")
    for name, columns in {"sign_in_links": (), "sessions": ("name", "state")}.items():
        op.create_table(
            name,
            sa.Column("key", sa.Text, primary_key=True),
            sa.Column("version", big, nullable=False),
            sa.Column("body", sa.LargeBinary, nullable=False),
            sa.Column("due", big, nullable=False),
            *(sa.Column(column, sa.Text, nullable=False) for column in columns),
        )
        op.create_index(f"{name}_due", name, ["due"], sqlite_where=positive, postgresql_where=positive)
        for column in columns:
            op.create_index(f"{name}_{column}", name, [column, "key"])
