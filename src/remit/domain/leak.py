"""Secrets that were found where they should not be, and how they are known again without anybody being told them.

    who scans    digest = HMAC(scan key, secret)       leaves the machine that was scanned, under TLS
    who keeps    print  = HMAC(kept key, digest)       is all that is stored or compared here

Whoever reads the store has prints and no kept key; whoever scans has the scan key, and sees no print. Neither can try
what a secret might be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from .errors import BadField


class LeakKind(Enum):
    """What leaked: the credential of a lease, a version of a static secret, or a bearer key."""

    LEASE = "lease"
    SECRET = "secret"  # noqa: S105 - a word
    KEY = "key"


class Live(Enum):
    """Whether what leaked still opens something. UNKNOWN: nobody here can tell."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Leak:
    """`name` is a lease's id, `secret/number`, or the digest that a bearer key is kept under."""

    kind: LeakKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> Leak:
        """Read what `str` wrote."""
        kind, _, name = text.partition(":")
        return cls(LeakKind(kind), name)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Row: the print of something that was minted here once. Static secrets have none: they are opened and compared."""

    print: str
    of: str
    made_at: int
    version: int = 0

    @property
    def key(self) -> str:
        return f"{self.print}/{self.of}"


@dataclass(frozen=True, slots=True)
class Seen:
    """A secret that a scan found: `rule` and `place` are its words, `live` what it was told by who should know."""

    print: str
    rule: str
    place: str
    live: Live = Live.UNKNOWN

    def checked(self, field: str) -> Seen:
        """Raise `BadField` for words that nobody wrote."""
        for name, text, most in (("rule", self.rule, 64), ("place", self.place, 200)):
            if not 0 < len(text) <= most or not text.isprintable():
                raise BadField(f"{field}.{name}", f"must be 1 to {most} printable characters")
        return self


@dataclass(frozen=True, slots=True)
class ScanReport:
    """Row: what a scan found, until it was compared; then only how much of it is known here. Instants in ms."""

    id: str
    found_at: int
    found_by: str
    seen: tuple[Seen, ...]
    matched_at: int = 0
    known: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return self.id

    @property
    def due(self) -> int:
        """When it is to be compared; 0: it was."""
        return 0 if self.matched_at else self.found_at

    def matched(self, now: int, known: int) -> ScanReport:
        """What is not known here is forgotten."""
        return replace(self, seen=(), matched_at=now, known=known)


# Parts of a credential that say where it is good, and open nothing.
_SAID = frozenset(
    {
        "ca",
        "certificate",
        "database",
        "expiration",
        "host",
        "inbox_prefix",
        "lease_duration",
        "lease_id",
        "namespace",
        "port",
        "region",
        "server",
        "tls",
        "token_type",
        "url",
        "user",
        "username",
    }
)
SHORTEST = 12


def telling(parts: Mapping[str, str]) -> frozenset[str]:
    """Those parts of a credential that nobody else could have: what a leak of it is known by."""
    return frozenset(text for name, text in parts.items() if name not in _SAID and len(text) >= SHORTEST)
