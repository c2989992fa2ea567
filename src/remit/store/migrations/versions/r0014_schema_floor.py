"""The oldest schema whose code may still work here; see `remit.store.migrate`."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Create one table with one row: code that knows no floor is refused as before."""
    op.create_table(
        "schema_floor",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.Text, nullable=False),
    )
    op.execute("INSERT INTO schema_floor (id, revision) VALUES (1, '0014')")
