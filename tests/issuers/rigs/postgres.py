"""A throw-away PostgreSQL."""

import psycopg

from remit.domain.catalogue import IssuerConfig
from remit.issuers import Tools, build
from tests.issuers import pg

from . import Rig

BACKSTOP = 1.0
SETTINGS = {"dsn_env": "X"}
BAD_GRANTS = [
    {},
    {"tables": []},
    {**pg.READ, "extra": 1},
    {"tables": [5]},
    {"tables": [{"name": "customers", "privileges": ["select"]}]},
    {"tables": [{"name": "a.b", "privileges": ["drop"]}]},
    {"tables": [{"name": "a.b", "privileges": []}]},
    {"tables": [{"name": "a.b", "privileges": ["select"], "columns": [""]}]},
    {"tables": [{"name": "a.b", "privileges": ["delete"], "columns": ["x"]}]},
    {"tables": [{"name": "a.b", "privileges": ["select"], "rows": "x"}]},
]
BAD_SETTINGS = [
    ({}, "dsn_env"),
    ({"dsn_env": "A", "dsn_file": "b"}, "either"),
    ({"dsn": "postgresql://x"}, "did you mean 'dsn_"),
    ({"dsn_env": "A", "connection_limit": 0}, "1 to 100"),
    ({"dsn_env": "A", "statement_timeout": -1}, "0 to"),
    ({"dsn_env": "A", "owner": ""}, "owner"),
    ({"dsn_env": ""}, "must be text"),
    ({"dsn_env": "A", "database": 5}, "must be text"),
]


async def rig(request):
    server = request.getfixturevalue("database")

    def alive(minted):
        try:
            with psycopg.connect(**minted.parts, connect_timeout=5) as db:
                return db.execute("SELECT name FROM billing.customers").fetchall() == [("acme",)]
        except psycopg.Error:
            return False

    dsn = "postgresql://boss:boss-password@127.0.0.1:1/postgres"
    gone = build(IssuerConfig("pg", "postgres", {"dsn_env": "DSN"}), Tools(None, None, None, "https://r", {"DSN": dsn}))
    return Rig(pg.issuer(server), pg.lease(), alive, unreachable=gone)
