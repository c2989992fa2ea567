"""`<kind>.mint`, `<kind>.kill`: an issuer of each kind on its server, one credential after the other; and OpenBao beside it.

`revoke.<kind>`: a task is closed → its last credential is confirmed dead; n credentials, the reconciler as it runs.
A kind joins by its line in `tests.issuers.sites.SITES`, a peer by one in `PEERS`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from house import URL, House, clock, house, now
from measure import ONLY, emit
from peer import openbao
from pytest import skip
from tests.issuers import servers
from tests.issuers.rigs import aws
from tests.issuers.sites import SITES, Remit, Site, catalogue

from remit.domain.errors import NotRecallable
from remit.domain.lease import Lease
from remit.domain.task import Task
from remit.testing.postgres import NoPostgres
from remit.verbs.issue import issue
from remit.verbs.propose import Proposal, propose
from remit.verbs.revoke import end_task
from remit.verbs.seal import seal

PAIRS, COUNTS, ROUNDS = 100, (1, 10, 100), 5
NOTE = "per_s is of mint and kill together"
# What a peer does not do either is not measured against it.
WITHOUT = {"mysql": "backstop", "redis": "acl_save"}
UNSAID = {
    "jwt": "nothing upstream: ending its lease is the kill, see revoke.jwt",
    "static": "nothing to kill: whoever was shown it knows it until it is rotated",
}
OURS = {
    **dict.fromkeys(("kubernetes", "github", "google", "azure"), "a faithful server of ours, in this process"),
    "aws": "moto's STS, in a process of its own",
    "jwt": "refused by whoever introspects",
    "ssh": "in the list that sshd reads, durably",
    "x509": "in the list that the TLS server reads, durably",
}


@contextmanager
def moto() -> Iterator[Site]:
    """Somebody else's STS."""
    if not importlib.util.find_spec("moto"):
        skip("pip install 'moto[server]'")
    port = servers.free_port()
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "moto.server", "-p", str(port)]
        server = servers.Running(Path(folder), port, words)
        try:
            yield Site(aws.settings(f"http://127.0.0.1:{port}"), aws.READ, recallable=False)
        finally:
            server.stop()


async def furnished(kind: str, site: Site, made: House) -> Any:
    """The issuer, its server trusting it."""
    _, force = await made.env.in_force()
    issuer: Any = made.env.issuer(force.catalogue.issuers[kind])
    documents = {}
    for name in ("ca.pub", "ca.pem"):
        found = await issuer.published(name) if hasattr(issuer, "published") else None
        documents[name] = found[1] if found else b""
    site.trust(Remit(URL, made.keyring.public("federation"), documents.__getitem__))
    if kind == "static":
        await seal(made.env, made.operator(), "stripe", b"canary")
    return issuer


async def mint_and_kill(kind: str, site: Site, issuer: Any, task: Task, at_once: int) -> None:
    """`at_once` of them, each one credential after the other; `kill` only where it is one."""
    mints, kills, why = [], [], UNSAID.get(kind, "")

    async def one(handle: str) -> None:
        nonlocal why
        at = clock()
        holds = "stripe/1" if kind == "static" else ""
        parameters = {"customer": "acme"}
        lease = Lease(
            "l", task.id, "bot", kind, kind, handle, at, at + 30_000, at + 60_000, site.grants, parameters, holds=holds
        )
        started = time.perf_counter()
        minted = await issuer.mint(lease)
        done = time.perf_counter()
        mints.append(done - started)
        try:
            await issuer.kill(lease.known_as(minted.reference))
        except NotRecallable as lives_on:
            longest = round((lives_on.until - lease.expires_at) / 1000)
            why = f"cannot be taken back: {lives_on.message} At most {longest} s after its lease it is dead"
        kills.append(time.perf_counter() - done)

    async def many(number: int, count: int) -> None:
        for i in range(count):
            await one(f"remit_bench{at_once}_{number}_{i}")

    await many(999, 10)  # connections opened, caches warm
    mints.clear()
    kills.clear()
    started = time.perf_counter()
    await asyncio.gather(*(many(number, PAIRS // at_once) for number in range(at_once)))
    pairs = len(mints) / (time.perf_counter() - started)
    note = "; ".join(filter(None, (OURS.get(kind, ""), "" if why else NOTE)))
    emit(f"{kind}.mint", "remit", at_once, mints, pairs, note)
    if why:
        emit(f"{kind}.kill", "remit", at_once, note=why)
    else:
        emit(f"{kind}.kill", "remit", at_once, kills, pairs, note)


async def revoke(kind: str, site: Site, made: House, agent: Any) -> None:
    """`ROUNDS` tasks for each count; nothing for what only dies by itself."""
    for count in COUNTS:
        if not site.recallable or kind == "static":
            note = UNSAID.get(kind, f"cannot be taken back: see {kind}.kill")
            emit(f"revoke.{kind}", "remit", count, note=note)
            continue
        samples = [await closed(kind, made, agent, count) for _ in range(ROUNDS)]
        emit(f"revoke.{kind}", "remit", count, samples, count / (sum(samples) / ROUNDS), OURS.get(kind, ""))


async def closed(kind: str, made: House, agent: Any, count: int) -> float:
    """Seconds from the close to the settled task."""
    env = made.env
    task = await propose(env, now(agent), Proposal("pay", "bench", {"customer": "acme"}))
    for _ in range(count):
        await issue(env, now(agent), task.id, kind)
    started = time.perf_counter()
    await end_task(env, now(agent), task.id, "done")
    while True:
        row = await env.store.get(Task, task.id)
        if row is not None and row.settled_at:
            return time.perf_counter() - started
        await asyncio.sleep(0.0005)


async def measure(kind: str, site: Site, folder: Path) -> None:
    """Everything of one kind."""
    async with house(folder, catalogue({kind: site}), site.environ) as made:
        issuer, agent = await furnished(kind, site, made), await made.agent()
        if wanted(f"{kind}.mint", f"{kind}.kill"):
            task = await propose(made.env, now(agent), Proposal("pay", "bench", {"customer": "acme"}))
            for at_once in (1, 8):
                await mint_and_kill(kind, site, issuer, task, at_once)
        if wanted(f"revoke.{kind}"):
            await revoke(kind, site, made, agent)


def _postgres(at: Any) -> tuple[Mapping[str, Any], Any, Mapping[str, Any]]:
    url = f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{at.port}/postgres?sslmode=disable"
    connection = {
        "plugin_name": "postgresql-database-plugin",
        "connection_url": url,
        "password_authentication": "scram-sha-256",
    }
    creation = (
        "CREATE ROLE \"{{name}}\" LOGIN NOINHERIT CONNECTION LIMIT 2 PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'",
        'GRANT CONNECT ON DATABASE postgres TO "{{name}}"',
        'GRANT USAGE ON SCHEMA billing TO "{{name}}"',
        'GRANT SELECT (id, name) ON TABLE billing.customers TO "{{name}}"',
    )
    return connection, creation, {}


def _mysql(at: Any) -> tuple[Mapping[str, Any], Any, Mapping[str, Any]]:
    url = f"{{{{username}}}}:{{{{password}}}}@tcp(127.0.0.1:{at.port})/"
    creation = (
        "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}' WITH MAX_USER_CONNECTIONS 2",
        "GRANT SELECT (id, name) ON shop.customers TO '{{name}}'@'%'",
    )
    # Its own statements ask for more than this admin may; these do not end sessions, as Remit does.
    ended = {"revocation_statements": ("DROP USER '{{name}}'@'%'",)}
    return {"plugin_name": "mysql-database-plugin", "connection_url": url}, creation, ended


def _redis(at: Any) -> tuple[Mapping[str, Any], Any, Mapping[str, Any]]:
    connection = {"plugin_name": "valkey-database-plugin", "host": "127.0.0.1", "port": at.port}
    return connection, '["~cache:acme:*", "+get", "+set"]', {}


PEERS: Mapping[str, Callable[[Any], tuple[Mapping[str, Any], Any, Mapping[str, Any]]]] = {
    "postgres": _postgres,
    "mysql": _mysql,
    "redis": _redis,
}


def beside(kind: str, site: Site) -> None:
    """The same server, the same admin, the same grants, by OpenBao."""
    at = urlsplit(next(iter(site.environ.values())))
    connection, creation, more = PEERS[kind](at)
    openbao(kind, {**connection, "username": at.username, "password": at.password}, creation, PAIRS, **more)


def wanted(*names: str) -> bool:
    """Whether any of them was asked for."""
    return any(name.startswith(ONLY) for name in names)


def main() -> None:
    """Every kind that is here."""
    for kind, open_site in {**SITES, "aws": moto}.items():
        if not wanted(f"{kind}.mint", f"{kind}.kill", f"revoke.{kind}"):
            continue
        if kind == "oauth":  # a person has to agree first, and then it is somebody else's server that is measured
            continue
        try:
            with open_site() as site, tempfile.TemporaryDirectory() as folder:
                settings = {key: value for key, value in site.settings.items() if key != WITHOUT.get(kind)}
                site = replace(site, settings=settings)
                asyncio.run(measure(kind, site, Path(folder)))
                if kind in PEERS and wanted(f"{kind}.mint", f"{kind}.kill"):
                    beside(kind, site)
        except (NoPostgres, skip.Exception) as missing:
            for name in (f"{kind}.mint", f"{kind}.kill", f"revoke.{kind}"):
                emit(name, "remit", 0, note=f"absent: {missing}")


main()
