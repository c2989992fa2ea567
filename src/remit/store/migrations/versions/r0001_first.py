"""The first schema: rows, events, the log."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# Frozen here on purpose: a migration says what was, not what the code says today.
ROWS = {
    "catalogue_files": (),
    "catalogue_head": (),
    "standings": ("state",),
    "identities": ("agent",),
    "join_tokens": ("agent",),
    "access_keys": ("name", "kind"),
    "signing_keys": ("use",),
    "sealed_secrets": (),
    "tasks": ("state", "agent", "purpose"),
    "approvals": ("state", "task", "access"),
    "leases": ("state", "task", "issuer"),
}


def upgrade() -> None:
    """Create everything."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    positive = sa.text("due > 0")
    for name, columns in ROWS.items():
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
    op.create_table(
        "events",
        sa.Column("number", big, primary_key=True, autoincrement=True),
        sa.Column("leaf", sa.LargeBinary, nullable=False),
        sa.Column("bodies", sa.LargeBinary, nullable=False),
        sa.Column("log_index", big, nullable=True, unique=True),
        sqlite_autoincrement=True,
    )
    waiting = sa.text("log_index IS NULL")
    op.create_index("events_unsequenced", "events", ["number"], sqlite_where=waiting, postgresql_where=waiting)
    op.create_table("spent", sa.Column("token", sa.Text, primary_key=True), sa.Column("until", big, nullable=False))
    op.create_index("ix_spent_until", "spent", ["until"])
    op.create_table(
        "tiles",
        sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("position", big, primary_key=True, autoincrement=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "log_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("size", big, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )
