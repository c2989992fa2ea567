"""A MariaDB account for one task: mint and kill, on a real server, by an admin with few rights. No backstop event."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from credentials import absent, openbao, remit
from pytest import skip
from tests.issuers import servers
from tests.issuers.rigs.mysql import furnish

GRANTS = {"tables": [{"name": "shop.customers", "privileges": ["select"]}]}
CREATION = (
    "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}' WITH MAX_USER_CONNECTIONS 2",
    "GRANT SELECT ON shop.customers TO '{{name}}'@'%'",
)


def main() -> None:
    """Remit, and the peer if it is there."""
    try:
        with servers.mariadb("--innodb-flush-log-at-trx-commit=1") as server:
            furnish(server)
            remit("mysql", f"mysql://boss:boss-password@127.0.0.1:{server.port}/shop", GRANTS)
            connection = {
                "plugin_name": "mysql-database-plugin",
                "connection_url": f"{{{{username}}}}:{{{{password}}}}@tcp(127.0.0.1:{server.port})/",
                "username": "boss",
                "password": "boss-password",
            }
            # Its own statements ask for more than this admin may; these do not end sessions, as Remit does.
            openbao("mysql", connection, CREATION, revocation_statements=("DROP USER '{{name}}'@'%'",))
    except skip.Exception as missing:
        absent("mysql", "remit", str(missing))


main()
