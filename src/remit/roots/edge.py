"""The composition of an edge: which implementations stand behind its house and its reconcilers."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from remit.web.edge import EdgeHouse
    from remit.work.edge.edge import EdgeWork


@dataclass(frozen=True)
class Enrolment:
    """What `remit edge enrol` wrote to `edge.json`: which edge this is, whom it follows, and whose word it takes.

    `centre` is where the centre is reached, `issuer` what its tokens and statements name; `pins` are thumbprints.
    """

    edge: str
    centre: str
    issuer: str
    key_file: str
    ca: str
    pins: tuple[str, ...]

    @classmethod
    def read(cls, data: Path) -> Enrolment:
        """Raises `BadField` when there is none."""
        from remit.domain.errors import BadField

        try:
            found = json.loads((data / "edge.json").read_text())
            return cls(**{**found, "pins": tuple(found["pins"])})
        except (OSError, ValueError, TypeError, KeyError) as flaw:
            step = "Enrol it first: remit edge enrol --help"
            raise BadField("data", f"{data} is not an enrolled edge", next_step=step, inside=str(flaw)) from flaw

    def key(self) -> str:
        """The bearer key that the centre made for this edge; REMIT_EDGE_KEY_FILE says where it is now."""
        import os

        from remit.domain.errors import BadField

        path = os.environ.get("REMIT_EDGE_KEY_FILE") or self.key_file
        try:
            return Path(path).read_text().strip()
        except OSError as flaw:
            raise BadField("key_file", f"{path} cannot be read: {flaw.strerror}") from flaw


@dataclass(frozen=True)
class EdgeSettings:
    """Where an edge lives. `backlog` is how many events it may have that the centre has not heard.

    `nats` is where frames come too, by `nats_creds`, a file, in the JetStream domain `nats_domain`.
    """

    data: Path = Path("remit-edge")
    host: str = "127.0.0.1"
    port: int = 7451
    tls_cert: str = ""
    tls_key: str = ""
    backlog: int = 100_000
    nats: str = ""
    nats_creds: str = ""
    nats_domain: str = ""


def serve_edge(announce: Callable[[dict[str, Any]], None], **given: Any) -> None:
    """Run an edge until it is told to stop; `announce` is called once it answers."""
    import uvloop

    log_to_stderr()
    settings = EdgeSettings(**given)
    enrolment = Enrolment.read(settings.data)
    enrolment.key()
    socket = listener(settings.host, settings.port, tls=bool(settings.tls_cert and settings.tls_key))
    uvloop.run(_serve(settings, enrolment, socket, announce))


async def _serve(
    settings: EdgeSettings, enrolment: Enrolment, socket: Any, announce: Callable[[dict[str, Any]], None]
) -> None:
    from remit.supervisor import supervised
    from remit.web.app import create_app
    from remit.web.edge import EDGE_ROUTES

    async with open_edge(settings, enrolment) as (house, work):
        server, _ = server_of(create_app(house, EDGE_ROUTES), settings.tls_cert, settings.tls_key)
        stopping(server, house)
        host, port = socket.getsockname()[:2]
        scheme = "https" if settings.tls_cert else "http"
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        (settings.data / "url").write_text(url + "\n")
        socket.listen(2048)
        settle_memory()
        told = {"url": url, "edge": enrolment.edge, "centre": enrolment.centre, "data": str(settings.data)}
        announce({**told, "operator_key": str(settings.data / "operator.key"), "held": await work.holds()})
        sys.stdout.flush()
        async with supervised(url):
            await server.serve(sockets=[socket])


@asynccontextmanager
async def open_edge(
    settings: EdgeSettings,
    enrolment: Enrolment,
    *,
    centre: Any = None,
    bus: Any = None,
    clock: Callable[[], int] | None = None,
    boottime: Callable[[], int] | None = None,
    by_itself: bool = True,
) -> AsyncIterator[tuple[EdgeHouse, EdgeWork]]:
    """Open the store, the keys and the reconcilers; let tasks go home and close them in the other order.

    Not `by_itself`: no pass runs unless somebody calls it.
    """
    import os
    import secrets
    import time
    from urllib.parse import urlsplit

    from remit.attest import Attestors
    from remit.attest.relying_party import RelyingParty
    from remit.attest.sign_in import SignIns
    from remit.domain.errors import IssuerUnavailable
    from remit.estate.https import HttpsCentre
    from remit.estate.keys import EdgeSealer, EdgeSigner
    from remit.issuers.keyring import Keyring, RootSealer
    from remit.ports import Env
    from remit.store.sqlite import SqliteStore
    from remit.web.console.live import Changes
    from remit.web.edge import EdgeHouse
    from remit.web.metrics import Metrics
    from remit.work.edge.edge import EdgeWork
    from remit.work.edge.follow import Follow
    from remit.work.edge.freshness import Freshness
    from remit.work.edge.report import Report
    from remit.work.edge.take import Take

    def no_issuer(config: Any) -> Any:
        raise IssuerUnavailable("No credential is minted at an edge.")

    now = clock or (lambda: time.time_ns() // 1_000_000)
    awake = boottime or (lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000)
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = SqliteStore.open(settings.data / "edge.db")
    reached = centre or HttpsCentre(enrolment.centre, enrolment.key(), enrolment.ca)
    bus = bus or _bus(settings)
    try:
        root = RootSealer(root_key(settings.data), previous_root_key(settings.data))
        signer = EdgeSigner(await Keyring.open(store, root, now(), ("log",)))
        sealer = EdgeSealer(root)
        freshness = Freshness(awake)
        env = Env(
            store=store,
            signer=signer,
            sealer=sealer,
            attestor=Attestors(),
            issuer=no_issuer,
            clock=now,
            new_id=lambda kind: f"{kind}_{secrets.token_hex(16)}",
            nudge=lambda: work.nudge(),
            trust_domain="",
            issuer_url=enrolment.issuer,
            place=enrolment.edge,
            age=freshness.age,
        )
        log_name = f"{urlsplit(enrolment.issuer).netloc}/edges/{enrolment.edge}/log"
        metrics = Metrics()
        follow = Follow(env, reached, freshness, enrolment.pins, signer.follow)
        take = Take(env, reached, follow, sealer)
        report = Report(env, reached, store, log_name, follow, sealer, settings.backlog)
        work = EdgeWork(env, reached, freshness, follow, take, report, metrics, bus)
        await operator_key(env, settings.data, now())
        await work.begin()
        if by_itself:
            work.start(store.forget_spent)
        providers = SignIns(RelyingParty(os.environ))
        try:
            yield EdgeHouse(env, store, log_name, now, metrics, Changes(store), providers, place=work), work
        finally:
            await work.close()
    finally:
        await reached.close()
        await store.close()


def _bus(settings: EdgeSettings) -> Any:
    if not settings.nats:
        return None
    from remit.estate.nats import Nats, NatsBus

    return NatsBus(Nats(settings.nats, settings.nats_creds, settings.nats_domain))
