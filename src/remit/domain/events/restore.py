"""A store that was put back to an earlier state."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreRestored:
    """The store was put back to an earlier state; everything is frozen. The log goes on at `size`, with `root` (hex).

    `known` events had been under the checkpoint with `known_root` that was seen before (0 and empty: nobody kept one);
    those from `size` on are gone, and whoever kept that checkpoint sees a fork.
    """

    size: int
    root: str
    known: int
    known_root: str


@dataclass(frozen=True, slots=True)
class RestoredVoided:
    """What the restored state would have brought back to life is good no more: `count` rows of this kind."""

    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class RestoreSafe:
    """Nothing in the restored state that could act is good any more; a server may start on it."""

    tasks: int


@dataclass(frozen=True, slots=True)
class OrphanFound:
    """An issuer lists a credential under our names that no lease explained; it has a lease now, and must die."""

    lease: str
    issuer: str
    handle: str


@dataclass(frozen=True, slots=True)
class RestoreSwept:
    """Issuers were compared with the leases. `unlisted` cannot list: what they minted since dies at its own end."""

    listed: tuple[str, ...]
    unlisted: tuple[str, ...]
    orphans: int
