"""A grant that a person gave Remit at another authorization server, once; one an issuer.

    NEW ──► CONNECTED ──► ENDING ──► ENDED
              ▲  └► LOST ──┘▲           │
              └──────┴──────────────────┘

An attempt may be begun wherever no grant is good: NEW, LOST, ENDED. LOST is what its authorization server knows no
more. A grant is used by one mint at a time: a server that rotates refresh tokens takes a second use for a theft.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

from .errors import WrongState

ATTEMPT_FOR = 600_000


class ConnectionState(Enum):
    """Only CONNECTED is minted of."""

    NEW = "new"
    CONNECTED = "connected"
    LOST = "lost"
    ENDING = "ending"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Connection:
    """Row, keyed by the issuer's name. Sealed: `envelope`, the grant; `attempt`, what an answer is checked against.

    `taken_by` is the lease that the grant is being used for, until `taken_until` at most: whoever took it may have
    crashed. `authorization_server`, `client` and `scopes` are for people. Instants in ms.
    """

    issuer: str
    state: ConnectionState = ConnectionState.NEW
    envelope: str = field(default="", repr=False)
    attempt: str = field(default="", repr=False)
    attempt_until: int = 0
    authorization_server: str = ""
    client: str = ""
    scopes: tuple[str, ...] = ()
    connected_at: int = 0
    connected_by: str = ""
    taken_by: str = ""
    taken_until: int = 0
    reason: str = ""
    attempts: int = 0
    retry_at: int = 0
    version: int = 0

    @property
    def key(self) -> str:
        return self.issuer

    @property
    def context(self) -> bytes:
        """What its envelopes are bound to."""
        return b"connection:" + self.issuer.encode()

    @property
    def due(self) -> int:
        """When something is to be done about it; 0: never."""
        return self.retry_at if self.state is ConnectionState.ENDING else 0

    def begun(self, attempt: str, now: int) -> Connection:
        """A person was sent to the authorization server; an older attempt is void."""
        if self.state in (ConnectionState.CONNECTED, ConnectionState.ENDING):
            raise WrongState(
                f"{self.issuer} is {self.state.value}.",
                next_step=f"To connect it anew: remit issuer disconnect {self.issuer}",
            )
        return replace(self, attempt=attempt, attempt_until=now + ATTEMPT_FOR)

    def answered(self, now: int) -> Connection:
        """An answer came back: the attempt is spent, before its code is used."""
        if not self.attempt or now >= self.attempt_until:
            raise WrongState(
                f"Nobody is connecting {self.issuer} now.", next_step=f"remit issuer connect {self.issuer}"
            )
        return replace(self, attempt="", attempt_until=0)

    def made(self, envelope: str, server: str, client: str, scopes: tuple[str, ...], now: int, by: str) -> Connection:
        """The grant is there."""
        fresh = Connection(self.issuer, ConnectionState.CONNECTED, envelope, version=self.version)
        about = replace(fresh, authorization_server=server, client=client, scopes=scopes)
        return replace(about, connected_at=now, connected_by=by)

    def free_at(self, now: int) -> bool:
        """Nobody uses the grant, or whoever did must have crashed."""
        return not self.taken_by or now >= self.taken_until

    def taken(self, lease: str, until: int) -> Connection:
        """One mint uses the grant."""
        return replace(self, taken_by=lease, taken_until=until)

    def returned(self, envelope: str) -> Connection:
        """It was used; `envelope` is the grant as it is now. One that counted as lost is not, if it could be used."""
        lost = self.state is ConnectionState.LOST and envelope != self.envelope
        state = ConnectionState.CONNECTED if lost else self.state
        return replace(self, envelope=envelope, state=state, taken_by="", taken_until=0)

    def lost(self, reason: str) -> Connection:
        """The authorization server knows it no more."""
        state = self.state if self.state is ConnectionState.ENDING else ConnectionState.LOST
        return replace(self, state=state, reason=reason, taken_by="", taken_until=0)

    def ending(self, now: int, reason: str) -> Connection:
        """Minted of no more; due at once."""
        if self.state not in (ConnectionState.CONNECTED, ConnectionState.LOST):
            raise WrongState(f"{self.issuer} is not connected.")
        return replace(
            self, state=ConnectionState.ENDING, reason=reason, attempt="", attempt_until=0, attempts=0, retry_at=now
        )

    def end_failed(self, now: int) -> Connection:
        """Try again after 1, 2, 4 … 60 s; never give up."""
        return replace(self, attempts=self.attempts + 1, retry_at=now + min(60_000, 1_000 * 2 ** min(self.attempts, 6)))

    def ended(self) -> Connection:
        """The fact stays, the grant goes."""
        if self.state is not ConnectionState.ENDING:
            raise WrongState(f"{self.issuer} is {self.state.value}")
        return replace(self, state=ConnectionState.ENDED, envelope="", retry_at=0, taken_by="", taken_until=0)
