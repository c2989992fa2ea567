"""`revoke.<issuer>`: a task is closed → its last credential is confirmed dead; n credentials, the reconciler as it runs.

An issuer joins by one line in `RIGS`: its name, and a context manager that yields a `Rig`. The store is SQLite with every commit durable.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from measure import ONLY, emit

from remit.attest import Attestors
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.catalogue import IssuerConfig
from remit.formats import signing_key
from remit.issuers import Tools, build
from remit.issuers.keyring import Keyring, RootSealer
from remit.ports import Env
from remit.store.sqlite import SqliteStore
from remit.testing.postgres import NoPostgres, PostgresServer
from remit.verbs.apply import apply
from remit.verbs.attest import JoinEvidence, attest, invite
from remit.verbs.issue import issue
from remit.verbs.propose import Proposal, propose
from remit.verbs.revoke import end_task
from remit.web.metrics import Metrics
from remit.work.driver import Driver

COUNTS, ROUNDS = (1, 10, 100), 5
BOSS = """
CREATE TABLE invoices (id int);
CREATE ROLE boss LOGIN CREATEROLE PASSWORD 'boss-password';
GRANT CONNECT ON DATABASE postgres TO boss WITH GRANT OPTION;
GRANT USAGE ON SCHEMA public TO boss WITH GRANT OPTION;
GRANT ALL ON invoices TO boss WITH GRANT OPTION;
"""


@dataclass(frozen=True)
class Rig:
    """`config` and `grants` are TOML; `environment` is what the issuer reads its secrets from."""

    config: str
    grants: str
    environment: Mapping[str, str]


@contextmanager
def postgres() -> Iterator[Rig]:
    """A real server with fsync on."""
    with PostgresServer(durable=True) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as db:
            db.execute(BOSS)
        grants = '{ tables = [{ name = "public.invoices", privileges = ["select"] }] }'
        yield Rig('kind = "postgres"\ndsn_env = "D"', grants, {"D": server.dsn("boss", "boss-password")})


@contextmanager
def jwt() -> Iterator[Rig]:
    """Nothing upstream: what it costs to end leases."""
    yield Rig('kind = "jwt"', '{ audience = "https://rs.example" }', {})


RIGS: Mapping[str, Callable[[], AbstractContextManager[Rig]]] = {
    "postgres": postgres,
    "jwt": jwt,
}


def catalogue(rig: Rig) -> dict[str, str]:
    """One agent, one purpose, one credential."""
    return {
        "remit.toml": f"[people.olga]\n[issuers.it]\n{rig.config}\n",
        "agents/bot.toml": 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n',
        "purposes/work.toml": 'owner = "olga"\nagents = ["bot"]\nmax_duration = "15m"\nmax_calls = 5\n'
        f'[[credentials]]\nname = "it"\nissuer = "it"\nttl = "10m"\ngrants = {rig.grants}\n',
        "policies/default.cedar": '@id("within") permit (principal, action, resource);\n',
    }


async def measure(name: str, rig: Rig, folder: Path) -> None:
    """`ROUNDS` tasks for each count."""
    store, sealer = SqliteStore.open(folder / "remit.db"), RootSealer(b"r" * 32)
    keyring = await Keyring.open(store, sealer, clock())
    tools = Tools(store, keyring, sealer, "https://remit.bench", rig.environment, clock)
    made: dict[str, Any] = {}

    def issuer(config: IssuerConfig) -> Any:
        if config.name not in made:
            made[config.name] = build(config, tools)
        return made[config.name]

    driver, counter = Driver(clock, Metrics()), iter(range(10**9))
    env = Env(
        store=store,
        signer=keyring,
        sealer=sealer,
        attestor=Attestors(),
        issuer=issuer,
        clock=clock,
        new_id=lambda kind: f"{kind}_{next(counter):032x}",
        nudge=driver.nudge,
        trust_domain="remit.bench",
        issuer_url="https://remit.bench",
    )
    operator = Call(Caller(CallerKind.OPERATOR, "op"), clock())
    await apply(env, operator, catalogue(rig))
    key = signing_key.generate("ES256").public
    token, _ = await invite(env, operator, "bot", 60_000)
    await attest(env, operator, JoinEvidence(token), key.thumbprint, key.jwk)
    agent = Call(Caller(CallerKind.AGENT, "bot", jkt=key.thumbprint), clock())
    driver.start(env, store, keyring.log_key("remit.bench/log"), store.forget_spent)
    for count in COUNTS:
        samples = [await one(env, agent, count) for _ in range(ROUNDS)]
        emit(f"revoke.{name}", "remit", count, samples, count / (sum(samples) / ROUNDS))
    await driver.stop()
    for built in made.values():
        if hasattr(built, "close"):
            await built.close()
    await store.close()


async def one(env: Env, agent: Call, count: int) -> float:
    """Seconds from the close to the settled task."""
    task = await propose(env, replace(agent, now=clock()), Proposal("work", "bench", {}))
    for _ in range(count):
        await issue(env, replace(agent, now=clock()), task.id, "it")
    started = time.perf_counter()
    await end_task(env, replace(agent, now=clock()), task.id, "done")
    while True:
        row = await env.store.get(type(task), task.id)
        if row is not None and row.settled_at:
            return time.perf_counter() - started
        await asyncio.sleep(0.0005)


def clock() -> int:
    """Now, in ms."""
    return time.time_ns() // 1_000_000


def main() -> None:
    """Every rig that is here."""
    for name, rig in RIGS.items():
        if not f"revoke.{name}".startswith(ONLY):
            continue
        try:
            with rig() as found, tempfile.TemporaryDirectory() as folder:
                asyncio.run(measure(name, found, Path(folder)))
        except NoPostgres as missing:
            emit(f"revoke.{name}", "remit", 0, note=f"absent: {missing}")


main()
