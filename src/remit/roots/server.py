"""The composition root of a server: store, keys, issuers, reconcilers, and the application over them."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import uvloop

from remit import issuers as issuing
from remit import out, telemetry
from remit.attest import Attestors
from remit.attest.ciba import Backchannel
from remit.attest.fetch import ask, believing, checked
from remit.attest.relying_party import RelyingParty
from remit.attest.sign_in import SignIns
from remit.attest.signals import SignalsOverHttp
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.catalogue import CatalogueHead
from remit.domain.errors import BadField, Conflict
from remit.domain.keys import Rotation
from remit.issuers.keyring import Keyring, RootSealer
from remit.notify import AppriseNotifier
from remit.ports import Env, NoNotifier, Wake
from remit.supervisor import supervised
from remit.verbs.apply import apply
from remit.verbs.renew import renew
from remit.verbs.sign_in import link
from remit.web.app import create_app
from remit.web.console.live import Changes
from remit.web.house import House
from remit.web.metrics import Metrics
from remit.web.sessions import link_url
from remit.web.tls import keep_trusting
from remit.work.deliver import Delivering
from remit.work.driver import Driver, Reconciler
from remit.work.make_safe import restored_safely
from remit.work.watermark import Watermark
from remit.work.witness import EVERY, Witnessing

from .process import (
    listener,
    log_to_stderr,
    operator_key,
    previous_root_key,
    root_key,
    server_of,
    settle_memory,
    stopping,
)


@dataclass(frozen=True)
class Settings:
    """Where a server lives. `port` 0 picks a free one; `database` empty is SQLite in `data`.

    `workload_api` is the Unix socket that the SPIFFE Workload API is served on; empty: it is not.
    `workers` processes serve it; told to stop, each answers for `drain` seconds more, and says that it is not ready.
    `out_dir` is where the log goes that goes to files; empty: `out` in `data`.
    `nats` is where frames for edges are published too, by `nats_creds`, a file, in the JetStream domain `nats_domain`.
    `svid_ttl` is the life of an X.509-SVID in seconds, `rotate_keys_after` the age at which a signing key is replaced,
    `key_overlap` how long the next one is published before it signs.
    """

    data: Path = Path("remit-data")
    host: str = "127.0.0.1"
    port: int = 7450
    public_url: str = ""
    database: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    trust_domain: str = "remit.local"
    workload_api: str | Path = ""
    svid_ttl: int = 3600
    rotate_keys_after: int = 2_592_000
    key_overlap: int = 3600
    workers: int = 1
    drain: int = 0
    out_dir: str | Path = ""
    nats: str = ""
    nats_creds: str = ""
    nats_domain: str = ""

    @property
    def url(self) -> str:
        """The issuer URL: what tokens and proofs are checked against."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url.rstrip("/") or f"http{'s' if self.tls_cert else ''}://{host}:{self.port}"


def serve(announce: Callable[[str, Path, Path, str], None], *, watched: bool = False, **given: Any) -> None:
    """Run a server until it is told to stop; `announce` is called once it answers.

    Only where it is `watched`, on a terminal, is it given a link that signs in: anything else may keep what it is told.
    """

    log_to_stderr()
    settings = Settings(**given)
    socket = listener(settings.host, settings.port, tls=bool(settings.tls_cert and settings.tls_key))
    settings = Settings(**{**given, "port": socket.getsockname()[1]})
    if settings.workers == 1:
        uvloop.run(_serve(settings, socket, lambda said: announce(*_read(said)), watched))
        return
    if not settings.database:
        raise BadField(
            "workers",
            "more than one needs PostgreSQL: SQLite has one writer, and its processes do not hear of each other",
            next_step="Add --database postgresql://…, or leave --workers out.",
        )
    from remit.cli.workers import Ready, Workers

    def worker(number: int, lifeline: int, ready: Ready) -> None:
        mine = replace(settings, workload_api=settings.workload_api if number == 0 else "")
        uvloop.run(_serve(mine, socket, ready, watched and number == 0, lifeline))

    code = Workers(worker, patience=settings.drain + 30).run(settings.workers, lambda said: announce(*_read(said)))
    if code:
        sys.exit(code)


def _read(said: Sequence[str]) -> tuple[str, Path, Path, str]:
    """What a worker says when it answers: URL, data, operator's key, a link that signs in or nothing."""
    url, data, key, sign_in = said
    return url, Path(data), Path(key), sign_in


async def _serve(
    settings: Settings, socket: Any, ready: Callable[[Sequence[str]], None], watched: bool, lifeline: int = -1
) -> None:

    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(open_house(settings))
        if settings.workload_api:
            from remit.gateway.workload_api import workload_api

            socket_path = Path(str(settings.workload_api).removeprefix("unix://"))
            await stack.enter_async_context(workload_api(house.env, socket_path))
        server, config = server_of(create_app(house), settings.tls_cert, settings.tls_key)
        if config.ssl is not None:
            trusting = asyncio.create_task(keep_trusting(house.env, config.ssl))
            stack.callback(trusting.cancel)
        stopping(server, house, settings.drain, lifeline)
        (settings.data / "url").write_text(settings.url + "\n")
        socket.listen(2048)
        settle_memory()
        sign_in = await _first_link(house) if watched else ""
        ready((settings.url, str(settings.data), str(settings.data / "operator.key"), sign_in))
        sys.stdout.flush()
        async with supervised(settings.url):
            await server.serve(sockets=[socket])


async def _first_link(house: House) -> str:
    """A one-time link that signs whoever reads this terminal in to the console, as the operator they are."""

    call = Call(Caller(CallerKind.SYSTEM, "setup"), house.clock())
    text, _ = await link(house.env, call, "local", (CallerKind.OPERATOR,))
    return link_url(house, text)


@asynccontextmanager
async def open_house(
    settings: Settings, *, clock: Callable[[], int] | None = None, at_rest: bool = False
) -> AsyncIterator[House]:
    """Open the store, the keys and the reconcilers; close them in the other order. `at_rest`: the first two alone.

    A store that was put back to an earlier state is refused until `remit backup restore` has made it safe.
    """
    now = clock or (lambda: time.time_ns() // 1_000_000)
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    store: Any = await open_store(settings)
    try:
        sealer = RootSealer(root_key(settings.data, first=not at_rest), previous_root_key(settings.data))
        keyring = await Keyring.open(store, sealer, now())

        async def lend(issuer: str, lease: str, until: int, use: Any) -> Any:
            return await renew(env, issuer, lease, until, use)

        tools = issuing.Tools(store, keyring, sealer, settings.url, os.environ, now, ask, lend)
        issuers: dict[Any, Any] = {}

        def issuer(config: Any) -> Any:
            key = repr(config)
            if key not in issuers:
                made = issuing.build(config, tools)
                issuers[key] = made if tracing is None else tracing.issuer(made, config, store)
            return issuers[key]

        metrics, party = Metrics(), RelyingParty(os.environ)
        tracing = telemetry.start("remit", os.environ)
        if tracing is not None:
            tracing.store(store, "postgresql" if settings.database else "sqlite")
        store.observed = metrics.committed
        driver = Driver(now, metrics)
        env = Env(
            store=store,
            signer=keyring,
            sealer=sealer,
            attestor=Attestors(),
            issuer=issuer,
            clock=now,
            new_id=lambda kind: f"{kind}_{secrets.token_hex(16)}",
            nudge=driver.nudge,
            trust_domain=settings.trust_domain,
            issuer_url=settings.url,
            svid_ttl=settings.svid_ttl * 1000,
            rotation=Rotation(settings.rotate_keys_after * 1000, settings.key_overlap * 1000),
            notifier=_notifier(),
            backchannel=Backchannel(party),
            signals=SignalsOverHttp(),
        )
        log_name = f"{settings.trust_domain}/log"
        if at_rest:
            yield House(env, store, log_name, now, metrics, Changes(store), SignIns(party))
            return
        watermark = Watermark(settings.data / "log.checkpoint", log_name)
        await watermark.check(store)
        await restored_safely(store)
        await _furnish(env, settings.data, now())
        house = House(env, store, log_name, now, metrics, Changes(store), SignIns(party), tracing)
        publish = _published(settings, env, store, house)
        if publish is not None:
            metrics.unpublished.set_function(lambda: float(publish.failing))
        delivering, witnessing = _outward(settings, env, store, log_name, driver.ours)
        more = (
            Reconciler("deliver", delivering.look, 0.25, Wake.SEQUENCED, finish=delivering.finish),
            Reconciler("witness", witnessing.once, EVERY),
            *((Reconciler("publish", publish.once, 0.5),) if publish else ()),
        )
        driver.start(env, store, log_name, store.forget_spent, more)
        metrics.rolled_back.set_function(lambda: float(watermark.rolled_back))
        remembering = asyncio.create_task(watermark.follow(store))
        try:
            yield house
        finally:
            remembering.cancel()
            await driver.stop()
            if publish is not None:
                await publish.close()
            await watermark.write(store)
            for made in issuers.values():
                if hasattr(made, "close"):
                    await made.close()
            if tracing is not None:
                await asyncio.to_thread(tracing.close)
    finally:
        await store.close()


def _outward(settings: Settings, env: Any, store: Any, log_name: str, ours: Callable[[], bool]) -> tuple[Any, Any]:
    """What takes the log to sinks, and what asks witnesses about it."""

    async def unseal(name: str) -> str:
        found: str = await env.unsealed(name, env.clock())
        return found

    folder = Path(settings.out_dir or settings.data / "out")
    tools = out.Tools(folder, believing, checked, unseal, os.environ, settings.trust_domain)
    delivering = Delivering(env, store, log_name, lambda sink: out.build(sink, tools), ours)
    return delivering, Witnessing(env, store, believing)


def _published(settings: Settings, env: Any, store: Any, house: House) -> Any:
    """What publishes frames over NATS, if that is wanted."""
    if not settings.nats:
        return None
    from remit.estate.nats import Nats, NatsStream
    from remit.work.publish import Publish

    stream = NatsStream(Nats(settings.nats, settings.nats_creds, settings.nats_domain), settings.trust_domain)
    return Publish(env, store, house.frames, stream)


def _notifier() -> Any:

    return AppriseNotifier() if find_spec("apprise") else NoNotifier()


async def open_store(settings: Settings) -> Any:
    """The one that its settings name; opened, it is of this version's schema."""
    if settings.database:
        from remit.store.postgres import PostgresStore

        return await PostgresStore.open(settings.database)
    from remit.store.sqlite import SqliteStore

    return SqliteStore.open(settings.data / "remit.db")


async def _furnish(env: Any, data: Path, now: int) -> None:
    """What a first start needs: an empty catalogue under the default policy, and the operator's key."""

    if await env.store.get(CatalogueHead, "head") is None:
        with suppress(Conflict):  # another replica began at the same time
            await apply(env, Call(Caller(CallerKind.SYSTEM, "setup"), now), {})
    await operator_key(env, data, now)
