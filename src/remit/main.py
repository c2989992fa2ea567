"""The composition root: the only module that names implementations."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from remit.web.house import House

OPERATOR_KEY_TTL = 30 * 86_400_000


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

    run(Parts(serve, _enforce, _gateway, _describe, _egress, _egress_run, _check_store, _restore))


def _enforce(command: list[str], **options: Any) -> None:
    """An MCP enforcement point on this process's stdio."""
    import asyncio

    from remit.gateway.mcp import run

    asyncio.run(run(command, **options))


def _gateway(url: str, announce: Callable[[str], None], **options: Any) -> None:
    import uvloop

    from remit.gateway.mcp.serve import serve as serve_gateway

    with _traced("remit-gateway"):
        uvloop.run(serve_gateway(url, announce, **options))


def _egress(url: str, announce: Callable[[str], None], **options: Any) -> None:
    import uvloop

    from remit.gateway.egress.serve import serve as serve_egress

    with _traced("remit-egress"):
        uvloop.run(serve_egress(url, announce, **options))


@contextmanager
def _traced(service: str) -> Iterator[None]:
    import os

    from remit import telemetry

    tracing = telemetry.start(service, os.environ)
    try:
        yield
    finally:
        if tracing is not None:
            tracing.close()


def _egress_run(command: tuple[str, ...], told: Callable[[str], None], **options: Any) -> int:
    import asyncio

    from remit.gateway.egress.serve import run

    return asyncio.run(run(command, told, **options))


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
    import socket

    import uvloop

    from remit.domain.errors import BadField

    _log_to_stderr()
    settings = Settings(**given)
    if not _is_loopback(settings.host) and not (settings.tls_cert and settings.tls_key):
        raise BadField(
            "host",
            f"{settings.host} is not loopback, and beyond loopback Remit serves only with TLS",
            next_step="Add --tls-cert and --tls-key, or bind 127.0.0.1 behind a TLS proxy.",
        )
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as taken:
        step = "Is another server running there? --port 0 picks a free one."
        raise BadField(
            "port", f"cannot listen on {settings.host}:{settings.port}: {taken.strerror}", next_step=step
        ) from taken
    settings = Settings(**{**given, "port": listener.getsockname()[1]})
    uvloop.run(_serve(settings, listener, announce, watched))


def _settle_memory() -> None:
    """What was made at start stays: the collector need not look at it again, nor so often at what requests make."""
    import gc

    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _log_to_stderr() -> None:
    """One line an event, JSON unless somebody is watching; standard output is for what was asked for."""
    import structlog

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


async def _serve(
    settings: Settings, listener: Any, announce: Callable[[str, Path, Path, str], None], watched: bool
) -> None:
    import asyncio

    import uvicorn

    from remit.supervisor import supervised
    from remit.web.app import create_app
    from remit.web.tls import TlsProtocol, keep_trusting

    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(open_house(settings))
        if settings.workload_api:
            from remit.gateway.workload_api import workload_api

            socket_path = Path(str(settings.workload_api).removeprefix("unix://"))
            await stack.enter_async_context(workload_api(house.env, socket_path))
        config = uvicorn.Config(
            create_app(house),
            http=TlsProtocol if settings.tls_cert else "httptools",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            limit_concurrency=2048,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
            h11_max_incomplete_event_size=64 * 1024,
            ssl_certfile=settings.tls_cert or None,
            ssl_keyfile=settings.tls_key or None,
        )
        config.load()
        if config.ssl is not None:
            trusting = asyncio.create_task(keep_trusting(house.env, config.ssl))
            stack.callback(trusting.cancel)
        server = uvicorn.Server(config)
        _stopping(server, house.changes.close)
        (settings.data / "url").write_text(settings.url + "\n")
        listener.listen(2048)
        _settle_memory()
        sign_in = await _first_link(house) if watched else ""
        announce(settings.url, settings.data, settings.data / "operator.key", sign_in)
        sys.stdout.flush()
        async with supervised(settings.url):
            await server.serve(sockets=[listener])


async def _first_link(house: House) -> str:
    """A one-time link that signs whoever reads this terminal in to the console, as the operator they are."""
    from remit.domain.caller import Call, Caller, CallerKind
    from remit.verbs.sign_in import link
    from remit.web.sessions import link_url

    call = Call(Caller(CallerKind.SYSTEM, "setup"), house.clock())
    text, _ = await link(house.env, call, "local", (CallerKind.OPERATOR,))
    return link_url(house, text)


def _stopping(server: Any, before: Callable[[], None]) -> None:
    """Stop on SIGINT and SIGTERM. uvicorn itself raises the signal again, and then nothing after it would be closed.

    `before` lets go of whoever would listen for ever.
    """
    import asyncio
    import signal
    from contextlib import nullcontext

    def stop(number: int) -> None:
        before()
        server.handle_exit(number, None)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    server.capture_signals = nullcontext


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@asynccontextmanager
async def open_house(
    settings: Settings, *, clock: Callable[[], int] | None = None, at_rest: bool = False
) -> AsyncIterator[House]:
    """Open the store, the keys and the reconcilers; close them in the other order. `at_rest`: the first two alone.

    A store that was put back to an earlier state is refused until `remit backup restore` has made it safe.
    """
    import asyncio
    import os
    import secrets
    import time

    from remit import telemetry
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
    from remit.work.make_safe import restored_safely
    from remit.work.watermark import Watermark

    now = clock or (lambda: time.time_ns() // 1_000_000)
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    store: Any = await _open_store(settings)
    try:
        sealer = RootSealer(_root_key(settings.data, first=not at_rest), _previous_root_key(settings.data))
        keyring = await Keyring.open(store, sealer, now())

        async def lend(issuer: str, lease: str, until: int, use: Any) -> Any:
            return await renew(env, issuer, lease, until, use)

        tools = Tools(store, keyring, sealer, settings.url, os.environ, now, ask, lend)
        issuers: dict[Any, Any] = {}

        def issuer(config: Any) -> Any:
            key = repr(config)
            if key not in issuers:
                made = build(config, tools)
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
        )
        log_name = f"{settings.trust_domain}/log"
        if at_rest:
            yield House(env, store, log_name, now, metrics, Changes(store), SignIns(party))
            return
        watermark = Watermark(settings.data / "log.checkpoint", log_name)
        await watermark.check(store)
        await restored_safely(store)
        await _furnish(env, settings.data, now())
        driver.start(env, store, log_name, store.forget_spent)
        metrics.rolled_back.set_function(lambda: float(watermark.rolled_back))
        remembering = asyncio.create_task(watermark.follow(store))
        try:
            yield House(env, store, log_name, now, metrics, Changes(store), SignIns(party), tracing)
        finally:
            remembering.cancel()
            await driver.stop()
            await watermark.write(store)
            for made in issuers.values():
                if hasattr(made, "close"):
                    await made.close()
            if tracing is not None:
                await asyncio.to_thread(tracing.close)
    finally:
        await store.close()


def _check_store(file: Path | None, older: list[str], **given: Any) -> Any:
    """What can be told of a backup, or of the database, without a server."""
    import asyncio
    from tempfile import TemporaryDirectory

    from remit.issuers.keyring import RootSealer
    from remit.store.backup import taken
    from remit.store.sqlite import SqliteStore
    from remit.work.check_store import check_store

    settings = Settings(**given)

    async def check() -> Any:
        with TemporaryDirectory() as scratch:  # opening a store may migrate it, and a backup is only read
            store: Any = (
                SqliteStore.open(taken(file, Path(scratch) / "remit.db")) if file else await _open_store(settings)
            )
            return await checked(store)

    async def checked(store: Any) -> Any:
        try:
            sealer = RootSealer(_root_key(settings.data), _previous_root_key(settings.data))
            return await check_store(store, sealer, f"{settings.trust_domain}/log", older)
        finally:
            await store.close()

    return asyncio.run(check())


def _restore(file: Path | None, known: str, by: str, **given: Any) -> Any:
    """Put `file` where the SQLite store is, if one is named; then make what was restored safe to start."""
    import asyncio

    from remit.work.make_safe import declared, make_safe
    from remit.work.watermark import Watermark

    settings = Settings(**given)

    async def restore() -> Any:
        at = settings.data / "remit.db"
        name, call = f"{settings.trust_domain}/log", _offline(by)
        watermark = Watermark(settings.data / "log.checkpoint", name)
        aside = None
        if file is not None:
            from remit.store.backup import place, taken
            from remit.store.sqlite import SqliteStore

            copy = taken(file, settings.data / "remit.db.restoring")
            store: Any = SqliteStore.open(copy)
            try:
                await declared(store, call, watermark, name, known)
            finally:
                await store.close()
            aside = place(copy, at, f"before-restore-{call.now}")
        async with open_house(settings, at_rest=True) as house:
            row = await declared(house.env.store, call, watermark, name, known)
            gone = await make_safe(house.env, call)
            await watermark.begin_again(house.env.store)  # type: ignore[arg-type]
        return row, gone, aside

    return asyncio.run(restore())


def _offline(by: str) -> Any:
    import time

    from remit.domain.caller import Call, Caller, CallerKind

    return Call(Caller(CallerKind.SYSTEM, by), time.time_ns() // 1_000_000)


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


def _root_key(data: Path, *, first: bool = False) -> bytes:
    """REMIT_ROOT_KEY (base64url of 32 bytes), the file that REMIT_ROOT_KEY_FILE names, or `root.key` in `data`.

    The last is made (0600) at the first start.
    """
    import secrets

    from remit.domain.errors import BadField
    from remit.formats import base64url

    text, where = _secret(data, "root.key", "REMIT_ROOT_KEY")
    if not text:
        if not first or where != str(data / "root.key"):
            raise BadField("root key", f"{where} is not there", next_step="remit key ceremony combine")
        text = base64url.encode(secrets.token_bytes(32))
        _write_secret(data / "root.key", text)
    return _key_bytes(text, where)


def _previous_root_key(data: Path) -> bytes:
    """The same with `_PREVIOUS` and `.previous`: opens what `remit secret rewrap` has not reached yet."""
    text, where = _secret(data, "root.key.previous", "REMIT_ROOT_KEY_PREVIOUS")
    return _key_bytes(text, where) if text else b""


def _secret(data: Path, name: str, variable: str) -> tuple[str, str]:
    """Its text, empty when there is none, and where it is from or would be."""
    import os

    if os.environ.get(variable):
        return os.environ[variable], variable
    path = Path(os.environ.get(f"{variable}_FILE") or data / name)
    return (path.read_text(), str(path)) if path.exists() else ("", str(path))


def _key_bytes(text: str, where: str) -> bytes:
    from remit.domain.errors import BadField
    from remit.formats import base64url

    key = base64url.decode(text.strip())
    if len(key) != 32:
        raise BadField(where, "must be 32 bytes in base64url")
    return key


def _write_secret(path: Path, text: str) -> None:
    import os

    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")


async def _furnish(env: Any, data: Path, now: int) -> None:
    """What a first start needs: an empty catalogue under the default policy, and the operator's key."""
    from hashlib import sha256

    from remit.domain.caller import AccessKey, Call, Caller, CallerKind
    from remit.domain.catalogue import CatalogueHead
    from remit.verbs.admit import admit
    from remit.verbs.apply import apply

    call = Call(Caller(CallerKind.SYSTEM, "setup"), now)
    if await env.store.get(CatalogueHead, "head") is None:
        await apply(env, call, {})
    path = data / "operator.key"
    if path.is_file():
        row = await env.store.get(AccessKey, sha256(path.read_text().strip().encode()).hexdigest())
        if row is not None and now < row.expires_at - 86_400_000:
            return
    text, _ = await admit(env, call, CallerKind.OPERATOR, "local", OPERATOR_KEY_TTL)
    _write_secret(path, text)


if __name__ == "__main__":
    main()
