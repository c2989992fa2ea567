"""OpenBao (`bao`) mints and kills, one after the other: a development server on loopback with its storage in memory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from measure import emit
from pytest import skip
from tests.issuers import servers
from tests.issuers.rigs.openbao import root

NOTE = "per_s is of mint and kill together"


def openbao(kind: str, connection: Mapping[str, Any], creation: Any, pairs: int, **more: Any) -> None:
    """`connection` is its database configuration, `more` of its role."""
    role = {"db_name": "db", "creation_statements": creation, "default_ttl": "1m", "max_ttl": "1m", **more}
    mints, kills = [], []
    try:
        with servers.openbao() as server, root(server) as http:
            http.post("/sys/mounts/database", json={"type": "database"}).raise_for_status()
            http.post("/database/config/db", json={"allowed_roles": "*", **connection}).raise_for_status()
            http.post("/database/roles/task", json=role).raise_for_status()
            for _ in range(pairs + 10):
                started = time.perf_counter()
                made = http.get("/database/creds/task").raise_for_status().json()
                minted = time.perf_counter()
                http.put("/sys/leases/revoke", json={"lease_id": made["lease_id"], "sync": True}).raise_for_status()
                mints.append(minted - started)
                kills.append(time.perf_counter() - minted)
    except skip.Exception as missing:
        for name in (f"{kind}.mint", f"{kind}.kill"):
            emit(name, "openbao", 0, note=f"absent: {missing}")
        return
    together = pairs / (sum(mints[10:]) + sum(kills[10:]))
    emit(f"{kind}.mint", "openbao", 1, mints[10:], together, NOTE)
    emit(f"{kind}.kill", "openbao", 1, kills[10:], together, NOTE)
