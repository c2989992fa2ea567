"""A Redis user for one task: mint and kill, on a real server."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from credentials import absent, openbao, remit
from pytest import skip
from tests.issuers import servers

GRANTS = {"commands": ["get"], "keys": [{"under": ["cache", "acme"]}]}


def main() -> None:
    """Remit, and the peer if it is there."""
    try:
        with servers.redis_server() as server:
            remit("redis", f"redis://admin:admin-password@127.0.0.1:{server.port}/0", GRANTS)
            connection = {
                "plugin_name": "valkey-database-plugin",
                "host": "127.0.0.1",
                "port": server.port,
                "username": "admin",
                "password": "admin-password",
            }
            openbao("redis", connection, '["~cache:acme:*", "+get"]')
    except skip.Exception as missing:
        absent("redis", "remit", str(missing))


main()
