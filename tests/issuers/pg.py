"""A billing database, an admin role that is no superuser, and leases on it."""

from __future__ import annotations

import asyncio
import time

import psycopg

from remit.domain.catalogue import IssuerConfig
from remit.domain.lease import Lease
from remit.issuers import Tools, build

SCHEMA = """
DROP SCHEMA IF EXISTS billing CASCADE; CREATE SCHEMA billing;
CREATE TABLE billing.customers (id int, name text, secret text);
INSERT INTO billing.customers VALUES (1, 'acme', 'hidden');
CREATE TABLE billing.salaries (amount int);
CREATE TABLE billing.invoices (id serial PRIMARY KEY, customer text NOT NULL, cents int NOT NULL);
INSERT INTO billing.invoices (customer, cents) VALUES ('acme', 100), ('acme', 200), ('globex', 4242);
CREATE TABLE billing."odd ""name; DROP TABLE x" (id int);
CREATE TABLE billing.ungrantable (id int);
DROP DATABASE IF EXISTS elsewhere;
DROP OWNED BY boss; DROP ROLE IF EXISTS boss;
DROP OWNED BY heir; DROP ROLE IF EXISTS heir;
CREATE DATABASE elsewhere;
"""
BOSS = """
CREATE ROLE boss LOGIN CREATEROLE PASSWORD 'boss-password';
CREATE ROLE heir NOLOGIN; GRANT heir TO boss; GRANT CREATE ON SCHEMA billing TO heir;
GRANT CONNECT, CREATE ON DATABASE postgres TO boss WITH GRANT OPTION;
GRANT USAGE, CREATE ON SCHEMA billing TO boss WITH GRANT OPTION;
GRANT ALL ON ALL TABLES IN SCHEMA billing TO boss WITH GRANT OPTION;
GRANT ALL ON ALL SEQUENCES IN SCHEMA billing TO boss WITH GRANT OPTION;
REVOKE GRANT OPTION FOR ALL ON billing.ungrantable FROM boss;
"""
READ = {"tables": [{"name": "billing.customers", "privileges": ["select"], "columns": ["id", "name"]}]}

MINE = {
    "tables": [{"name": "billing.invoices", "privileges": ["select", "insert", "update"]}],
    "rows": {"billing.invoices": {"customer": "acme"}},
    "sequences": ["billing.invoices_id_seq"],
}


def furnish(server):
    """Make it, whatever an earlier module left."""
    with psycopg.connect(server.dsn(), autocommit=True) as db:
        for statement in SCHEMA.strip().split("\n"):
            try:
                db.execute(statement)
            except psycopg.Error:
                continue
        db.execute(BOSS)


def lease(handle="remit_a1", grants=READ, seconds=60.0, task="tsk_1", window=30.0):
    """Reserved now, to be minted within `window` seconds."""
    now = int(time.time() * 1000)
    expires = now + int(seconds * 1000)
    return Lease("lse_1", task, "bot", "db", "pg", handle, now, now + int(window * 1000), expires, grants)


def issuer(server, user="boss", password="boss-password", **settings):
    """The issuer, as the admin role."""
    config = IssuerConfig("pg", "postgres", {"dsn_env": "DSN", **settings})
    return build(config, Tools(None, None, None, "https://r", {"DSN": server.dsn(user, password)}))


def on(server, test, **settings):
    """Run `test(issuer)` in a loop of its own."""

    async def main():
        made = issuer(server, **settings)
        try:
            await test(made)
        finally:
            await made.close()

    asyncio.run(main())


def connected(minted, **options):
    """A session of the task."""
    return psycopg.connect(**minted.parts, autocommit=True, **options)


def roles(server):
    """Every role of ours."""
    with psycopg.connect(server.dsn()) as db:
        return {row[0] for row in db.execute(r"SELECT rolname FROM pg_roles WHERE rolname LIKE 'remit\_%'")}


def as_admin(server, statement, user="admin", password="admin-password", database="postgres"):
    """Run one statement; the rows, if it has any."""
    with psycopg.connect(server.dsn(user, password, database), autocommit=True) as db:
        done = db.execute(statement)
        return done.fetchall() if done.description else []
