"""What every process of ours that serves does: listen, log, stop, find its root key, name its first operator."""

from __future__ import annotations

import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

OPERATOR_KEY_TTL = 30 * 86_400_000


def listener(host: str, port: int, *, tls: bool) -> Any:
    """A bound socket; beyond loopback only with TLS."""
    import socket

    from remit.domain.errors import BadField

    if not is_loopback(host) and not tls:
        raise BadField(
            "host",
            f"{host} is not loopback, and beyond loopback Remit serves only with TLS",
            next_step="Add --tls-cert and --tls-key, or bind 127.0.0.1 behind a TLS proxy.",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as taken:
        step = "Is another server running there? --port 0 picks a free one."
        raise BadField("port", f"cannot listen on {host}:{port}: {taken.strerror}", next_step=step) from taken
    return found


def server_of(app: Any, tls_cert: str, tls_key: str) -> tuple[Any, Any]:
    """uvicorn as we run it, and its configuration."""
    import uvicorn

    from remit.web.tls import TlsProtocol

    config = uvicorn.Config(
        app,
        http=TlsProtocol if tls_cert else "httptools",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        limit_concurrency=2048,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=64 * 1024,
        ssl_certfile=tls_cert or None,
        ssl_keyfile=tls_key or None,
    )
    config.load()
    return uvicorn.Server(config), config


async def operator_key(env: Any, data: Path, now: int) -> None:
    """A key for whoever runs this, in `operator.key`; made again before it expires."""
    from hashlib import sha256

    from remit.domain.caller import AccessKey, Call, Caller, CallerKind
    from remit.verbs.admit import admit

    path = data / "operator.key"
    if path.is_file():
        row = await env.store.get(AccessKey, sha256(path.read_text().strip().encode()).hexdigest())
        if row is not None and now < row.expires_at - 86_400_000:
            return
    call = Call(Caller(CallerKind.SYSTEM, "setup"), now)
    text, _ = await admit(env, call, CallerKind.OPERATOR, "local", OPERATOR_KEY_TTL)
    write_secret(path, text)


def settle_memory() -> None:
    """What was made at start stays: the collector need not look at it again, nor so often at what requests make."""
    import gc

    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def log_to_stderr() -> None:
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


def stopping(server: Any, house: Any, drain: int = 0, lifeline: int = -1) -> None:
    """Stop on SIGINT and SIGTERM. uvicorn itself raises the signal again, and then nothing after it would be closed.

    From SIGTERM on it says that it is not ready, and answers for `drain` seconds more; whoever would listen for ever is
    let go. A second signal, or the end of the parent at `lifeline`, is for at once.
    """
    import asyncio
    import signal
    from contextlib import nullcontext

    def stop(number: int) -> None:
        wait = drain if number == signal.SIGTERM and not house.leaving else 0
        house.leaving = True
        house.close()
        loop.call_later(wait, server.handle_exit, number, None)

    def orphaned() -> None:
        loop.remove_reader(lifeline)
        stop(signal.SIGINT)

    loop = asyncio.get_running_loop()
    if lifeline >= 0:
        loop.add_reader(lifeline, orphaned)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    server.capture_signals = nullcontext


def is_loopback(host: str) -> bool:
    """Whether nobody else can reach it there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def root_key(data: Path, *, first: bool = True) -> bytes:
    """REMIT_ROOT_KEY (base64url of 32 bytes), the file that REMIT_ROOT_KEY_FILE names, or `root.key` in `data`.

    The last is made (0600) at the `first` start.
    """
    import secrets

    from remit.domain.errors import BadField
    from remit.formats import base64url

    text, where = _secret(data, "root.key", "REMIT_ROOT_KEY")
    if not text:
        if not first or where != str(data / "root.key"):
            raise BadField("root key", f"{where} is not there", next_step="remit key ceremony combine")
        text = base64url.encode(secrets.token_bytes(32))
        write_secret(data / "root.key", text)
    return key_bytes(text, where)


def previous_root_key(data: Path) -> bytes:
    """The same with `_PREVIOUS` and `.previous`: opens what `remit secret rewrap` has not reached yet."""
    text, where = _secret(data, "root.key.previous", "REMIT_ROOT_KEY_PREVIOUS")
    return key_bytes(text, where) if text else b""


def _secret(data: Path, name: str, variable: str) -> tuple[str, str]:
    """Its text, empty when there is none, and where it is from or would be."""
    import os

    if os.environ.get(variable):
        return os.environ[variable], variable
    path = Path(os.environ.get(f"{variable}_FILE") or data / name)
    return (path.read_text(), str(path)) if path.exists() else ("", str(path))


def key_bytes(text: str, where: str) -> bytes:
    """Raises `BadField` at `where` unless it is 32 bytes."""
    from remit.domain.errors import BadField
    from remit.formats import base64url

    key = base64url.decode(text.strip())
    if len(key) != 32:
        raise BadField(where, "must be 32 bytes in base64url")
    return key


def write_secret(path: Path, text: str) -> None:
    """A line that only its owner reads (0600)."""
    import os

    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
