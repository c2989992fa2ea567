"""Where enforcement points listen: loopback, unless they have TLS."""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from remit.domain.errors import BadField

# Of uvicorn, for every point: nobody's headers are believed, heads have a size, idle connections an end.
SERVING: dict[str, Any] = {
    "access_log": False,
    "server_header": False,
    "proxy_headers": False,
    "lifespan": "off",
    "timeout_keep_alive": 30,
    "h11_max_incomplete_event_size": 64 * 1024,
}


def listener(host: str, port: int) -> socket.socket:
    """Bound, not listening yet; `BadField` says what is in the way."""
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as taken:
        found.close()
        step = "Is another one running there? --port 0 picks a free one."
        raise BadField("port", f"cannot listen on {host}:{port}: {taken.strerror}", next_step=step) from taken
    return found


def needs_tls(host: str, what: str, *, has: bool) -> None:
    """Raises `BadField` for an address beyond loopback without TLS."""
    loopback = host == "localhost"
    with suppress(ValueError):
        loopback = loopback or ip_address(host).is_loopback
    if not loopback and not has:
        said = f"{host} is not loopback, and beyond loopback {what} serves only with TLS"
        raise BadField("host", said, next_step="Add --tls-cert and --tls-key, or bind 127.0.0.1 behind a TLS proxy.")
