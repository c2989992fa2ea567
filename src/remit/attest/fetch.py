"""One guarded request: for keys, metadata, codes and tokens, at addresses that an attacker may have chosen.

https only (http to loopback when a federation allows private networks); no user info, no redirects; the host is
resolved once, every address is checked, and the checked address is the one connected to, so a name cannot
rebind; five seconds and 256 KiB in all.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import quote_plus, urlencode, urlsplit

import httpx

from remit.domain.errors import AddressRefused
from remit.ports import Answer, Ask

TIME_LIMIT = 5.0
SIZE_LIMIT = 256 * 1024
Address = IPv4Address | IPv6Address
_NAT64 = IPv6Network("64:ff9b::/96")
Resolve = Callable[[str, int], Awaitable[list[str]]]


@dataclass(frozen=True)
class Peer:
    """Who must answer, when it is not the Web PKI that says so: `check` is given the leaf (DER) before the answer."""

    context: ssl.SSLContext
    check: Callable[[bytes], None]


@dataclass(frozen=True)
class Form:
    """Fields to POST, with HTTP Basic authentication if `basic` is set (RFC 6749 section 2.3.1)."""

    fields: Mapping[str, str] = field(repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)


async def fetch(
    url: str,
    *,
    allow_private: bool = False,
    resolve: Resolve | None = None,
    peer: Peer | None = None,
    form: Form | None = None,
) -> bytes:
    """Return the body of a 200 answer, or raise `AddressRefused` in bounded time and memory."""
    method, content, headers = posted(form) if form else ("GET", b"", {})
    answer = await ask(
        method, url, content=content, headers=headers, allow_private=allow_private, resolve=resolve, peer=peer
    )
    if answer.status != 200:
        raise _refused(f"status {answer.status}")
    return answer.body


def posted(form: Form) -> tuple[str, bytes, dict[str, str]]:
    """A form as a request: method, content and headers."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if form.basic:
        name, secret = (quote_plus(part) for part in form.basic)
        headers["Authorization"] = "Basic " + b64encode(f"{name}:{secret}".encode()).decode()
    return "POST", urlencode(form.fields).encode(), headers


async def ask(
    method: str,
    url: str,
    *,
    content: bytes = b"",
    headers: Mapping[str, str] | None = None,
    allow_private: bool = False,
    resolve: Resolve | None = None,
    peer: Peer | None = None,
) -> Answer:
    """See `ports.Ask`: whatever was answered, redirects too, or `AddressRefused` in bounded time and memory."""
    host, port = _checked_url(url, allow_private=allow_private)
    try:
        async with asyncio.timeout(TIME_LIMIT):
            address = await checked(host, port, allow_private=allow_private, resolve=resolve)
            return await _send(method, url, host, address, content, headers or {}, peer)
    except TimeoutError as slow:
        raise _refused(f"no complete answer in {TIME_LIMIT:.0f} s") from slow
    except (OSError, httpx.HTTPError, ValueError) as failure:
        raise _refused(type(failure).__name__) from failure


def believing(authority: str) -> Ask:
    """`ask`, where these authorities (PEM) are believed instead of the public ones; empty: those."""
    return partial(ask, peer=Peer(_believing(authority), lambda leaf: None)) if authority else ask


@lru_cache(maxsize=16)
def _believing(authority: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority)


async def checked(host: str, port: int, *, allow_private: bool, resolve: Resolve | None = None) -> str:
    """The address to connect to, where every address of this host may be; or `AddressRefused`."""
    addresses = await (resolve or resolve_name)(host, port)
    for address in addresses:
        check_address(ip_address(address), allow_private=allow_private)
    if not addresses:
        raise _refused("the name has no address")
    return addresses[0]


def _checked_url(url: str, *, allow_private: bool) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as bad:
        raise _refused("not a URL") from bad
    schemes = ("https", "http") if allow_private else ("https",)
    if parts.scheme not in schemes or not parts.hostname or "@" in parts.netloc or len(url) > 2048:
        raise _refused("only plain https:// URLs are fetched")
    if any(c <= " " or c == "\\" for c in url):
        raise _refused("not a URL")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise _refused("http is only for loopback")
    return parts.hostname, port


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_address(address: Address, *, allow_private: bool) -> None:
    """Raise `AddressRefused` for what is never talked to (link-local, where clouds keep metadata), or is private."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in _NAT64:
            inner = IPv4Address(address.packed[-4:])
        if inner is not None:
            check_address(inner, allow_private=allow_private)
    if address.is_multicast or address.is_unspecified or address.is_link_local:
        raise _refused("an address that is never fetched from")
    if address.is_reserved and not address.is_loopback:  # `::1` counts as reserved
        raise _refused("an address that is never fetched from")
    if not address.is_global and not allow_private:
        raise _refused("a private or special address")


async def resolve_name(host: str, port: int) -> list[str]:
    """Every address of a name, each once; for an address itself, that."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def _send(
    method: str, url: str, host: str, address: str, content: bytes, more: Mapping[str, str], peer: Peer | None
) -> Answer:
    parts = httpx.URL(url)
    headers = {
        "Accept": "application/json",
        **more,
        "Host": parts.netloc.decode("ascii"),
        "Accept-Encoding": "identity",
    }
    verify = peer.context if peer else trusted()
    async with httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=TIME_LIMIT, verify=verify) as client:
        request = client.build_request(method, parts.copy_with(host=address), headers=headers, content=content or None)
        request.extensions["sni_hostname"] = host
        response = await client.send(request, stream=True)
        try:
            if peer:
                tls = response.extensions["network_stream"].get_extra_info("ssl_object")
                peer.check(tls.getpeercert(binary_form=True))
            if not 300 <= response.status_code < 400:
                return Answer(response.status_code, _few(response.headers), await _bounded(response))
            return Answer(response.status_code, _few(response.headers), b"")
        finally:
            await response.aclose()


def _few(headers: httpx.Headers) -> dict[str, str]:
    return {name.lower(): value[:8192] for name, value in headers.items()}


async def _bounded(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > SIZE_LIMIT:
            raise _refused(f"over {SIZE_LIMIT} bytes")
    return bytes(body)


@cache
def trusted() -> ssl.SSLContext:
    """The public authorities, read once: it takes tens of milliseconds in which nothing else is answered."""
    return httpx.create_ssl_context(trust_env=False)


def _refused(inside: str) -> AddressRefused:
    return AddressRefused("An address could not be fetched.", inside=inside)
