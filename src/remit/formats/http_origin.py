"""Origins (RFC 6454), byte for byte. Two spellings of one origin are one only if this module says so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address

from remit.domain.errors import BadField

_DEFAULTS = {"http": 80, "https": 443}
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_ORIGIN = re.compile(r"(https?)://([^/?#@\\\s]+)\Z")
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?\Z")


@dataclass(frozen=True, slots=True)
class Origin:
    """`authority` is what `Host` says: the port is left out when it is the scheme's own."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULTS[self.scheme] else f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether it can only be this machine."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def parse(text: str) -> Origin:
    """An origin as the catalogue says it; upper case is lowered, the default port may be said.

    `BadField` for anything else: a path, user information, percent signs, a trailing dot, a name outside ASCII (write
    its `xn--` form: what looks like another name is then seen to be one), numbers that are an address in disguise.
    """
    if not text.isascii():
        raise BadField("origin", "must be ASCII; write an international name in its xn-- form")
    match = _ORIGIN.match(text.lower())
    if match is None:
        raise BadField("origin", "must be https://HOST or https://HOST:PORT, without path or user information")
    return of_authority(match[1], match[2])


def of_authority(scheme: str, authority: str) -> Origin:
    """`host`, `host:port`, `[v6]:port`, in lower case already."""
    match = _AUTHORITY.match(authority)
    if match is None:
        raise BadField("origin", "its host is not a plain name or address")
    port = int(match[2] or _DEFAULTS[scheme])
    if not 1 <= port <= 65_535 or (match[2] or "1").startswith("0"):
        raise BadField("origin", "its port is not one")
    return Origin(scheme, _host(match[1]), port)


def _host(text: str) -> str:
    try:
        if text.startswith("["):
            address = IPv6Address(text[1:-1])
            if address.ipv4_mapped or str(address) != text[1:-1]:
                raise BadField("origin", "write the IPv6 address in its shortest form, and IPv4 as IPv4")
            return str(address)
        last = text.rpartition(".")[2]
        if last.isdigit() or last.startswith("0x"):  # what a resolver may take for an address must be a plain one
            return str(IPv4Address(text))
    except AddressValueError as bad:
        raise BadField("origin", "its host is not an address") from bad
    if len(text) > 253 or not all(_LABEL.match(label) for label in text.split(".")):
        raise BadField("origin", "its host is not a plain name")
    return text
