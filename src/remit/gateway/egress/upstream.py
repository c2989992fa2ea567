"""Connections to the catalogue's origins and to nothing else: no redirect, no proxy, no cookie, no second address.

A name is resolved when a connection is made, every address is checked, and the checked one is connected to, so a name
cannot rebind. One pool an origin: a connection made for one name is never used for another that shares its address.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import httpcore

from remit.attest.fetch import Resolve, check_address, resolve_name
from remit.formats import http_origin

CONNECTIONS = 64
CONNECT = 5.0
Headers = Sequence[tuple[bytes, bytes]]


class Wall(httpcore.AsyncNetworkBackend):
    """Connects to addresses that may be talked to. Raises `AddressRefused` for the rest."""

    def __init__(self, resolve: Resolve, *, allow_private: bool) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._resolve = resolve
        self._private = allow_private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """See `httpcore.AsyncNetworkBackend`."""
        found = await self._resolve(host, port)
        for address in found:
            check_address(ip_address(address), allow_private=self._private)
        failure: Exception = httpcore.ConnectError("the name has no address")
        for address in found[:2]:  # such as localhost, of which one family is not listened on
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as refused:
                failure = refused
        raise failure


class Upstreams:
    """The pools, by origin."""

    def __init__(self, resolve: Resolve = resolve_name) -> None:
        self._tls = ssl.create_default_context()
        self._resolve = resolve
        self._pools: dict[tuple[str, bool], httpcore.AsyncConnectionPool] = {}

    @asynccontextmanager
    async def send(
        self,
        origin: str,
        method: str,
        target: str,
        headers: Headers,
        body: bytes | None,
        *,
        private: bool,
        patience: float,
    ) -> AsyncIterator[httpcore.Response]:
        """The answer of exactly this origin to exactly this request; nothing is sent twice."""
        at = http_origin.parse(origin)
        url = httpcore.URL(scheme=at.scheme, host=at.host, port=at.port, target=target)
        named = [(b"Host", at.authority.encode("ascii")), *headers]
        limits = {"connect": CONNECT, "read": patience, "write": patience, "pool": CONNECT}
        async with self._pool(origin, private).stream(
            method, url, headers=named, content=body, extensions={"timeout": limits}
        ) as response:
            yield response

    def _pool(self, origin: str, private: bool) -> httpcore.AsyncConnectionPool:
        found = self._pools.get((origin, private))
        if found is None:
            found = self._pools[(origin, private)] = httpcore.AsyncConnectionPool(
                ssl_context=self._tls,
                max_connections=CONNECTIONS,
                max_keepalive_connections=CONNECTIONS,
                keepalive_expiry=15.0,
                retries=0,
                network_backend=Wall(self._resolve, allow_private=private),
            )
        return found

    async def close(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            await pool.aclose()
