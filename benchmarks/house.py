"""A Remit in this process, as it runs: SQLite with every commit durable, the keyring, the issuers, the reconcilers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from remit.attest import Attestors
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.catalogue import IssuerConfig
from remit.formats import signing_key
from remit.issuers import Tools, build
from remit.issuers.keyring import Keyring, RootSealer
from remit.ports import Env
from remit.store.sqlite import SqliteStore
from remit.verbs.apply import apply
from remit.verbs.attest import JoinEvidence, attest, invite
from remit.web.metrics import Metrics
from remit.work.driver import Driver

URL = "https://remit.bench"


def clock() -> int:
    """Now, in ms."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class House:
    """Everything a benchmark needs."""

    env: Env
    keyring: Keyring

    def operator(self) -> Call:
        """A call of the operator's, now."""
        return Call(Caller(CallerKind.OPERATOR, "op"), clock())

    async def agent(self, name: str = "bot") -> Call:
        """An agent that has proved itself."""
        key = signing_key.generate("ES256").public
        token, _ = await invite(self.env, self.operator(), name, 60_000)
        await attest(self.env, self.operator(), JoinEvidence(token), key.thumbprint, key.jwk)
        return Call(Caller(CallerKind.AGENT, name, jkt=key.thumbprint), clock())


@asynccontextmanager
async def house(folder: Path, files: Mapping[str, str], environ: Mapping[str, str]) -> AsyncIterator[House]:
    """Open one with a catalogue in force; close it."""
    store, sealer = SqliteStore.open(folder / "remit.db"), RootSealer(b"r" * 32)
    keyring = await Keyring.open(store, sealer, clock())
    tools = Tools(store, keyring, sealer, URL, environ, clock)
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
        issuer_url=URL,
    )
    found = House(env, keyring)
    await apply(env, found.operator(), files)
    driver.start(env, store, "remit.bench/log", store.forget_spent)
    try:
        yield found
    finally:
        await driver.stop()
        for built in made.values():
            if hasattr(built, "close"):
                await built.close()
        await store.close()


def now(call: Call) -> Call:
    """The same caller, now."""
    return replace(call, now=clock())
