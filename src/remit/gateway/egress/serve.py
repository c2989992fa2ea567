"""`remit egress`: a process and a key that agents do not have, between them and plain HTTP APIs.

It serves agents that hold a key of their own, or starts one program and serves only that.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import uvicorn

from remit.formats import http_origin
from remit.formats.interception_ca import InterceptionCa
from remit.supervisor import supervised
from remit_client import AsyncRemit, RemitError
from remit_client.running.child import keep_memory_private

from ..asks import Desk
from ..callers import Callers
from ..listen import SERVING, listener, needs_tls
from ..secrets import enforcer_key
from . import Egress
from .doors import Inside, Reverse
from .tls import intercepting
from .upstream import Upstreams

GRACE = 10.0
PATIENCE = 60.0
_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO")


async def serve(
    url: str,
    announce: Callable[[str], None],
    *,
    host: str = "127.0.0.1",
    port: int = 7461,
    public_url: str = "",
    wait: float = 20,
    patience: float = PATIENCE,
    tls_cert: str = "",
    tls_key: str = "",
    edge: str = "",
) -> None:
    """Serve until a signal comes; `announce` is told the address that tokens must be for, once it answers."""
    keep_memory_private()
    key = enforcer_key()
    needs_tls(host, "the egress", has=bool(tls_cert and tls_key))
    bound = listener(host, port)
    desk = Desk(url, key, edge)
    bare = f"[{host}]" if ":" in host else host
    base = public_url.rstrip("/") or f"http{'s' if tls_cert else ''}://{bare}:{bound.getsockname()[1]}"
    upstreams = Upstreams()
    callers = Callers(desk, base)
    egress = Egress(desk, Reverse(callers), upstreams, wait=wait, patience=patience)
    try:
        await egress.routes()  # whether Remit knows our key
        server = _server(egress, "h11", ssl_certfile=tls_cert or None, ssl_keyfile=tls_key or None)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.handle_exit, number, None)
        await callers.ready()
        bound.listen(2048)
        announce(base)
        sys.stdout.flush()
        async with supervised(base):
            await server.serve(sockets=[bound])
    finally:
        bound.close()
        await upstreams.close()
        await desk.close()


async def run(
    command: Sequence[str],
    told: Callable[[str], None],
    *,
    purpose: str,
    goal: str = "",
    parameters: Mapping[str, str] | None = None,
    task: str = "",
    bases: Mapping[str, str] | None = None,
    intercept_tls: bool = False,
    wait: float = 20,
    patience: float = PATIENCE,
    edge: str = "",
) -> int:
    """Run `command`, unmodified, with every request decided; a task opened here ends with it. Its exit code.

    It gets no `REMIT_` variable: neither our key nor the agent's. `bases` are variables for addresses of origins.
    """
    keep_memory_private()
    remit = AsyncRemit()
    remit.agent.edge = edge.rstrip("/") or remit.agent.edge
    desk = Desk(remit.agent.url, enforcer_key(), remit.agent.edge)
    upstreams = Upstreams()
    bound = listener("127.0.0.1", 0)
    authority = f"127.0.0.1:{bound.getsockname()[1]}"
    opened = remit.adopt(purpose, task) if task else remit.propose(purpose, goal, parameters or {})
    try:
        async with opened as within:
            door = Inside(within.id, secrets.token_urlsafe(32), authority)
            egress = Egress(desk, door, upstreams, wait=wait, patience=patience)
            origins = (await egress.routes()).origins
            environment = _environment(door, bases or {}, origins)
            with tempfile.TemporaryDirectory(prefix="remit-egress-") as folder:
                http: Any = "h11"
                if intercept_tls:
                    ca = InterceptionCa(http_origin.parse(o).host for o in origins.values() if o.startswith("https:"))
                    http = intercepting(egress, ca)
                    path = Path(folder) / "ca.pem"
                    path.touch(0o600)
                    path.write_bytes(ca.pem)
                    environment |= dict.fromkeys(_BUNDLES, str(path))
                bound.listen(256)
                async with _serving(_server(egress, http), bound):
                    told(f"task {within.id}; this command's requests go through {authority}")
                    code = await _child(command, environment, told)
            if not task:
                await within.end(f"the command left with {code}")
            return code
    finally:
        bound.close()
        await upstreams.close()
        await desk.close()
        await remit.close()


def _server(egress: Egress, http: Any, **more: Any) -> uvicorn.Server:
    config = uvicorn.Config(
        egress,
        http=http,
        ws="none",
        log_level="critical",
        limit_concurrency=1024,
        timeout_graceful_shutdown=5,
        **SERVING,
        **more,
    )
    config.load()
    server = uvicorn.Server(config)
    server.capture_signals = nullcontext  # type: ignore[method-assign, assignment]
    return server


@asynccontextmanager
async def _serving(server: uvicorn.Server, bound: Any) -> AsyncIterator[None]:
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


def _environment(door: Inside, bases: Mapping[str, str], origins: Mapping[str, str]) -> dict[str, str]:
    found = {name: value for name, value in os.environ.items() if not name.startswith("REMIT_")}
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        found[name] = door.proxy_url()
    found["NO_PROXY"] = found["no_proxy"] = ""
    for name, address in bases.items():
        scheme, _, rest = address.partition("://")
        authority, slash, path = rest.partition("/")
        origin = str(http_origin.parse(f"{scheme}://{authority}"))
        if origin not in origins.values():
            raise RemitError(f"No tool of the catalogue has the origin {origin}.", next_step="See `remit tool list`.")
        found[name] = door.base_url(origin, slash + path)
    return found


async def _child(command: Sequence[str], environment: Mapping[str, str], told: Callable[[str], None]) -> int:
    """Its exit code, or 128 + n for signal n. What a terminal sends reaches it by itself."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def die_with_us() -> None:
        if prctl is not None:
            prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG

    try:
        child = await asyncio.create_subprocess_exec(*command, env=dict(environment), preexec_fn=die_with_us)
    except OSError as failure:
        told(f"{command[0]}: {failure.strerror}")
        return 127 if isinstance(failure, FileNotFoundError) else 126
    loop = asyncio.get_running_loop()
    killing: list[asyncio.TimerHandle] = []

    def stop(number: int) -> None:
        with suppress(ProcessLookupError):
            if number != signal.SIGINT or not sys.stdin.isatty():
                child.send_signal(number)
            killing.append(loop.call_later(GRACE, child.kill))

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number)
    code = await child.wait()
    for timer in killing:
        timer.cancel()
    return 128 - code if code < 0 else code
