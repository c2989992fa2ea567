"""The composition root: the only module that names implementations."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from remit.process import (
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
    from remit.web.house import House


@dataclass(frozen=True)
class Settings:
    """Where a server lives. `port` 0 picks a free one; `database` empty is SQLite in `data`.

    `workload_api` is the Unix socket that the SPIFFE Workload API is served on; empty: it is not.
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

    @property
    def url(self) -> str:
        """The issuer URL: what tokens and proofs are checked against."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url.rstrip("/") or f"http{'s' if self.tls_cert else ''}://{host}:{self.port}"


def main() -> NoReturn:
    """The `remit` command. `--version` answers before anything heavy is imported."""
    if sys.argv[1:] == ["--version"]:
        from remit import __version__

        print(f"remit {__version__}")
        sys.exit(0)
    from remit.cli.app import Parts, run

    run(Parts(serve, _enforce, _gateway, _describe, _egress, _egress_run, _serve_edge))


def _enforce(command: list[str], **options: Any) -> None:
    """An MCP enforcement point on this process's stdio."""
    import asyncio

    from remit.gateway.mcp import run

    asyncio.run(run(command, **options))


def _gateway(url: str, announce: Callable[[str], None], **options: Any) -> None:
    import uvloop

    from remit.gateway.mcp.serve import serve as serve_gateway

    uvloop.run(serve_gateway(url, announce, **options))


def _egress(url: str, announce: Callable[[str], None], **options: Any) -> None:
    import uvloop

    from remit.gateway.egress.serve import serve as serve_egress

    uvloop.run(serve_egress(url, announce, **options))


def _egress_run(command: tuple[str, ...], told: Callable[[str], None], **options: Any) -> int:
    import asyncio

    from remit.gateway.egress.serve import run

    return asyncio.run(run(command, told, **options))


def _serve_edge(announce: Callable[[dict[str, Any]], None], **options: Any) -> None:
    from remit.main_edge import serve_edge

    serve_edge(announce, **options)


def _describe(server: str, **where: Any) -> list[tuple[str, dict[str, Any], str]]:
    """The tools of the MCP server started by `command`, or at `url` (with MCP_SERVER_TOKEN, if it wants one)."""
    import asyncio
    import os

    from remit.domain.catalogue import ServerConfig
    from remit.gateway.mcp import describe

    return asyncio.run(describe(ServerConfig(server, **where), server, os.environ.get("MCP_SERVER_TOKEN", "")))


def serve(announce: Callable[[str, Path, Path, str], None], *, watched: bool = False, **given: Any) -> None:
    """Run a server until it is told to stop; `announce` is called once it answers.

    Only where it is `watched`, on a terminal, is it given a link that signs in: anything else may keep what it is told.
    """
    import uvloop

    log_to_stderr()
    settings = Settings(**given)
    socket = listener(settings.host, settings.port, tls=bool(settings.tls_cert and settings.tls_key))
    settings = Settings(**{**given, "port": socket.getsockname()[1]})
    uvloop.run(_serve(settings, socket, announce, watched))


async def _serve(
    settings: Settings, socket: Any, announce: Callable[[str, Path, Path, str], None], watched: bool
) -> None:
    import asyncio

    from remit.web.app import create_app
    from remit.web.tls import keep_trusting

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
        stopping(server, house.close)
        (settings.data / "url").write_text(settings.url + "\n")
        socket.listen(2048)
        settle_memory()
        sign_in = await _first_link(house) if watched else ""
        announce(settings.url, settings.data, settings.data / "operator.key", sign_in)
        sys.stdout.flush()
        await server.serve(sockets=[socket])


async def _first_link(house: House) -> str:
    """A one-time link that signs whoever reads this terminal in to the console, as the operator they are."""
    from remit.domain.caller import Call, Caller, CallerKind
    from remit.verbs.sign_in import link
    from remit.web.sessions import link_url

    call = Call(Caller(CallerKind.SYSTEM, "setup"), house.clock())
    text, _ = await link(house.env, call, "local", (CallerKind.OPERATOR,))
    return link_url(house, text)


@asynccontextmanager
async def open_house(settings: Settings, *, clock: Callable[[], int] | None = None) -> AsyncIterator[House]:
    """Open the store, the keys and the reconcilers; close them in the other order."""
    import os
    import secrets
    import time

    from remit.attest import Attestors
    from remit.attest.ciba import Backchannel
    from remit.attest.fetch import ask
    from remit.attest.relying_party import RelyingParty
    from remit.attest.sign_in import SignIns
    from remit.domain.keys import Rotation
    from remit.issuers import Tools, build
    from remit.issuers.keyring import Keyring, RootSealer
    from remit.ports import Env
    from remit.verbs.renew import renew
    from remit.web.console.live import Changes
    from remit.web.house import House
    from remit.web.metrics import Metrics
    from remit.work.driver import Driver

    now = clock or (lambda: time.time_ns() // 1_000_000)
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    store: Any = await _open_store(settings)
    try:
        sealer = RootSealer(root_key(settings.data), previous_root_key(settings.data))
        keyring = await Keyring.open(store, sealer, now())

        async def lend(issuer: str, lease: str, until: int, use: Any) -> Any:
            return await renew(env, issuer, lease, until, use)

        tools = Tools(store, keyring, sealer, settings.url, os.environ, now, ask, lend)
        issuers: dict[Any, Any] = {}

        def issuer(config: Any) -> Any:
            key = repr(config)
            if key not in issuers:
                issuers[key] = build(config, tools)
            return issuers[key]

        metrics, party = Metrics(), RelyingParty(os.environ)
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
        )
        log_name = f"{settings.trust_domain}/log"
        await _furnish(env, settings.data, now())
        driver.start(env, store, log_name, store.forget_spent)
        try:
            yield House(env, store, log_name, now, metrics, Changes(store), SignIns(party))
        finally:
            await driver.stop()
            for made in issuers.values():
                if hasattr(made, "close"):
                    await made.close()
    finally:
        await store.close()


def _notifier() -> Any:
    from importlib.util import find_spec

    from remit.notify import AppriseNotifier
    from remit.ports import NoNotifier

    return AppriseNotifier() if find_spec("apprise") else NoNotifier()


async def _open_store(settings: Settings) -> Any:
    if settings.database:
        from remit.store.postgres import PostgresStore

        return await PostgresStore.open(settings.database)
    from remit.store.sqlite import SqliteStore

    return SqliteStore.open(settings.data / "remit.db")


async def _furnish(env: Any, data: Path, now: int) -> None:
    """What a first start needs: an empty catalogue under the default policy, and the operator's key."""
    from remit.domain.caller import Call, Caller, CallerKind
    from remit.domain.catalogue import CatalogueHead
    from remit.verbs.apply import apply

    if await env.store.get(CatalogueHead, "head") is None:
        await apply(env, Call(Caller(CallerKind.SYSTEM, "setup"), now), {})
    await operator_key(env, data, now)


if __name__ == "__main__":
    main()
