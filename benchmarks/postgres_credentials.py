"""A database role for one task: mint and kill, on a real server with fsync on, by an admin that is no superuser.

Both subjects give the same grants to a role with a SCRAM password.
"""

from __future__ import annotations

import psycopg
from credentials import absent, openbao, remit

from remit.testing.postgres import NoPostgres, PostgresServer

GRANTS = {"tables": [{"name": "public.invoices", "privileges": ["select"]}]}
ADMIN = """
CREATE TABLE invoices (id int);
CREATE ROLE boss LOGIN CREATEROLE PASSWORD 'boss-password';
GRANT CONNECT ON DATABASE postgres TO boss WITH GRANT OPTION;
GRANT USAGE ON SCHEMA public TO boss WITH GRANT OPTION;
GRANT ALL ON invoices TO boss WITH GRANT OPTION;
"""
CREATION = (
    "CREATE ROLE \"{{name}}\" LOGIN NOINHERIT CONNECTION LIMIT 2 PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'",
    'GRANT CONNECT ON DATABASE postgres TO "{{name}}"',
    'GRANT USAGE ON SCHEMA public TO "{{name}}"',
    'GRANT SELECT ON TABLE public.invoices TO "{{name}}"',
)


def main() -> None:
    """Remit, and the peer if it is there."""
    try:
        with PostgresServer(durable=True) as server:
            with psycopg.connect(server.dsn(), autocommit=True) as db:
                db.execute(ADMIN)
            remit("postgres", server.dsn("boss", "boss-password"), GRANTS)
            connection = {
                "plugin_name": "postgresql-database-plugin",
                "connection_url": f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{server.port}/postgres?sslmode=disable",
                "username": "boss",
                "password": "boss-password",
                "password_authentication": "scram-sha-256",
            }
            openbao("postgres", connection, CREATION)
    except NoPostgres as missing:
        absent("postgres", "remit", str(missing))


main()
