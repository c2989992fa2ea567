"""Static secrets in versions, hand-overs, and no envelope in the history of events any more.

An event says with a digest what it wrote, and that stays; the bodies of rows that hold envelopes are taken out, so
that destroying or rewrapping an envelope in its row is all there is to do.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# Frozen here on purpose, as in the first.
NEW = {"hand_overs": ("state", "sender", "recipient"), "outboxes": ()}
ADDED = {"sealed_secrets": {"name": "", "state": "active", "overdue": "no"}, "leases": {"holds": ""}}
WITHHELD = ("SigningKey", "SealedSecret")
WROTE_THEM = ("SigningKeyCreated", "SecretSealed")


def upgrade() -> None:
    """Add tables and columns, then take envelopes out of what events keep."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    positive = sa.text("due > 0")
    for name, columns in NEW.items():
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
    for name, added in ADDED.items():
        for column, value in added.items():
            op.add_column(name, sa.Column(column, sa.Text, nullable=False, server_default=value))
            op.create_index(f"{name}_{column}", name, [column, "key"])
    op.execute("UPDATE sealed_secrets SET name = key")
    _withhold(op.get_bind())


def _withhold(db: sa.Connection) -> None:
    events = sa.table(
        "events",
        sa.column("number", sa.BigInteger()),
        sa.column("leaf", sa.LargeBinary),
        sa.column("bodies", sa.LargeBinary),
    )
    sqlite = db.dialect.name == "sqlite"
    if sqlite:
        db.execute(sa.text("PRAGMA secure_delete=ON"))
    text = "instr(leaf, CAST(:word AS BLOB)) > 0" if sqlite else "position(convert_to(:word, 'UTF8') IN leaf) > 0"
    for kind in WROTE_THEM:
        found = sa.text(text).bindparams(word=f'"type":"{kind}"')
        numbers = sa.select(events.c.number).where(found).order_by(events.c.number)
        for number in db.execute(numbers).scalars().all():
            leaf, bodies = db.execute(sa.select(events.c.leaf, events.c.bodies).where(events.c.number == number)).one()
            said = json.loads(leaf)
            if said["type"] == kind:
                kept = _without(bytes(bodies), [write[0] for write in said["writes"]])
                db.execute(sa.update(events).where(events.c.number == number).values(bodies=kept))


def _without(packed: bytes, kinds: list[str]) -> bytes:
    """Each body is after its length in four bytes; what is withheld has length 0."""
    kept, at = b"", 0
    for kind in kinds:
        end = at + 4 + int.from_bytes(packed[at : at + 4], "big")
        kept += bytes(4) if kind in WITHHELD else packed[at:end]
        at = end
    return kept
