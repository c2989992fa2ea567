"""A store that was put back to an earlier state, and what stands until that is safe (laws 1, 5 and 6).

    DECLARED ──► VOIDED ──► SWEPT

A restore is a rollback: tasks that were ended are open in it, what was used once is unused, and credentials that were
minted since have no lease. So it begins with everything frozen. DECLARED: no server starts on it. VOIDED: nothing in it
that could act is good any more. SWEPT: what issuers list under our names and no lease explains is being killed, also
what was still on its way to them; from then on an operator may let it act again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from .errors import WrongState
from .lease import Lease, LeaseState

IN_FLIGHT = 40_000


@dataclass(frozen=True, slots=True)
class Restored:
    """Row: the newest restore, keyed `restored`. `size` events of the log are left of the `known` ones (0: unknown).

    Instants in ms. `orphans` counts credentials that issuers listed and no lease explained.
    """

    since: int
    size: int
    known: int = 0
    voided_at: int = 0
    swept_at: int = 0
    orphans: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return "restored"

    def voided(self, now: int) -> Restored:
        """Nothing in it that could act is good any more."""
        return replace(self, voided_at=now)

    def found(self) -> Restored:
        """One more credential without a lease."""
        return replace(self, orphans=self.orphans + 1)

    def swept(self, now: int) -> Restored:
        """No mint that began before can still land, and issuers were asked after that."""
        if not self.voided_at or now < self.since + IN_FLIGHT:
            raise WrongState("what was in flight at the restore may still land")
        return replace(self, swept_at=now)

    @property
    def lost(self) -> int:
        """Events that are known to be gone; 0 also where nobody knows."""
        return max(0, self.known - self.size)


def orphan(id: str, issuer: str, name: str, now: int) -> Lease:
    """The lease of a credential that an issuer lists under our names and that none explains: it must die."""
    held = Lease(id, "", "", "orphan", issuer, name, now, now, now, state=LeaseState.LIVE, minted_at=now)
    return held.ending(now, "no lease explained it after a restore")


def unexplained(listed: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """What is listed and not among the names of leases that are not ENDED."""
    return tuple(sorted(set(listed) - set(names)))
