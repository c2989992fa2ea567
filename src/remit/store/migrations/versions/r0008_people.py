"""What people hold and agree to beside an approval; and one row for all that is frozen, in place of one an agent."""

import json

import sqlalchemy as sa
from alembic import op

from remit.domain import events
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.change import Change
from remit.domain.freeze import Freeze, Frozen, Reach
from remit.formats.record import encode, pack

revision = "0008"
down_revision = "0007"
TABLES = {
    "frozen": (),
    "standing_yeses": ("task", "usable"),
    "passkeys": ("person",),
    "aways": ("stand_in",),
    "notices": (),
}


def upgrade() -> None:
    """Create five tables; an agent that is frozen stays frozen, and the log says why the row changed."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    positive = sa.text("due > 0")
    for table, columns in TABLES.items():
        op.create_table(
            table,
            sa.Column("key", sa.Text, primary_key=True),
            sa.Column("version", big, nullable=False),
            sa.Column("body", sa.LargeBinary, nullable=False),
            sa.Column("due", big, nullable=False),
            *(sa.Column(name, sa.Text, nullable=False) for name in columns),
        )
        op.create_index(f"{table}_due", table, ["due"], sqlite_where=positive, postgresql_where=positive)
        for column in columns:
            op.create_index(f"{table}_{column}", table, [column, "key"])
    connection = op.get_bind()
    op.add_column("approvals", sa.Column("tool", sa.Text, nullable=False, server_default=""))
    op.create_index("approvals_tool", "approvals", ["tool", "key"])
    for key, body in connection.execute(sa.text("SELECT key, body FROM approvals")).all():
        tool = json.loads(bytes(body))["shown"]["tool"]
        connection.execute(sa.text("UPDATE approvals SET tool = :tool WHERE key = :key"), {"tool": tool, "key": key})
    rows = connection.execute(sa.text("SELECT body FROM standings WHERE state = 'frozen' ORDER BY key")).all()
    old = [json.loads(bytes(row[0])) for row in rows]
    if old:
        _carry_over(connection, [Freeze(Reach.AGENT, o["agent"], o["since"], o["reason"], "upgrade") for o in old])
    op.drop_table("standings")


def _carry_over(connection: sa.Connection, freezes: list[Freeze]) -> None:
    call = Call(Caller(CallerKind.SYSTEM, "upgrade"), max(one.since for one in freezes))
    because = events.Froze(Reach.AGENT.value, freezes[0].name, "frozen before the upgrade")
    encoded = encode(Change(because, call).put(Frozen(tuple(freezes)), was=None))
    (put,) = encoded.puts
    connection.execute(
        sa.text("INSERT INTO frozen (key, version, body, due) VALUES (:key, 1, :body, 0)"),
        {"key": put.key, "body": put.body},
    )
    connection.execute(
        sa.text("INSERT INTO events (leaf, bodies) VALUES (:leaf, :bodies)"),
        {"leaf": encoded.leaf, "bodies": pack([put.told])},
    )
