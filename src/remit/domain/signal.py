"""What identity providers say of people (Shared Signals, CAEP, RISC), and what that ends here.

Each kind of event has its effects; a transmitter's entry may give it others. What says that things got better, or says
it of nobody here, is recorded and has none.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from .flow import Json
from .identity import NAME

CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
RISC = "https://schemas.openid.net/secevent/risc/event-type/"
SSF = "https://schemas.openid.net/secevent/ssf/event-type/"
LATE = 60_000  # ms: clocks of two parties may be that far apart


class Effect(Enum):
    """What ends: their bearer keys; their sessions at the console; the tasks they began. LEFT: they are here no more,
    so others are asked to answer for what they own. ESTATE: what they own is frozen.
    """

    KEYS = "keys"
    SESSIONS = "sessions"
    BEGUN = "begun"
    LEFT = "left"
    ESTATE = "estate"


_AWAY = (Effect.SESSIONS, Effect.BEGUN)
_GONE = (Effect.KEYS, Effect.SESSIONS, Effect.BEGUN, Effect.LEFT)
HEEDED: Mapping[str, tuple[Effect, ...]] = {
    CAEP + "session-revoked": _AWAY,
    CAEP + "credential-change": _AWAY,
    CAEP + "assurance-level-change": (),
    CAEP + "device-compliance-change": (),
    CAEP + "risk-level-change": (),
    RISC + "account-disabled": _GONE,
    RISC + "account-purged": _GONE,
    RISC + "credential-compromise": _AWAY,
    RISC + "sessions-revoked": _AWAY,
}
KINDS: Mapping[str, str] = {uri.rpartition("/")[2]: uri for uri in HEEDED}
_Look: TypeAlias = Callable[[Mapping[str, Json]], bool]
_WORSE: Mapping[str, _Look] = {
    CAEP + "credential-change": lambda said: said.get("change_type") in ("revoke", "delete"),
    CAEP + "assurance-level-change": lambda said: said.get("change_direction") == "decrease",
    CAEP + "device-compliance-change": lambda said: said.get("current_status") == "not-compliant",
    CAEP + "risk-level-change": lambda said: said.get("current_level") == "HIGH",
}


@dataclass(frozen=True, slots=True)
class SecurityEvent:
    """One verified event (RFC 8417): what happened (`kind`, a URI), to whom (`subject`, RFC 9493), said when (ms)."""

    jti: str
    issued_at: int
    kind: str
    subject: Mapping[str, Json]
    details: Mapping[str, Json] = field(default_factory=dict)

    @property
    def worse(self) -> bool:
        """Whether it says that somebody is to be trusted less."""
        look = _WORSE.get(self.kind)
        return look is None or look(self.details)

    @property
    def hijacked(self) -> bool:
        """Whether somebody else has the account, and so perhaps what it owns (RISC Profile 1.0 section 2.4)."""
        return self.kind == RISC + "account-disabled" and self.details.get("reason") == "hijacking"


@dataclass(frozen=True, slots=True)
class Transmitter:
    """Who is heard. `people` maps our names to its values; when it is empty a value is the name.

    `reads` is the one format of subject that is taken for a person, or empty: any that has such a value. `also` is
    another issuer whose `sub` it may name: that of the provider which people sign in with. With `poll_url` events are
    fetched there, else they are pushed. `secret` names the sealed secret that is the Authorization header of either.
    """

    name: str
    issuer: str
    audience: str
    people: Mapping[str, str] = field(default_factory=dict)
    reads: str = ""
    also: str = ""
    jwks_uri: str = ""
    poll_url: str = ""
    secret: str = ""
    effects: Mapping[str, tuple[Effect, ...]] = field(default_factory=dict)
    allow_private_network: bool = False

    def effects_of(self, said: SecurityEvent) -> tuple[Effect, ...]:
        """What this ends, of whoever it is about."""
        if not said.worse:
            return ()
        found = self.effects.get(said.kind, HEEDED.get(said.kind, ()))
        return (*found, Effect.ESTATE) if said.hijacked and Effect.LEFT in found else found

    def person(self, subject: Mapping[str, Json], known: Container[str]) -> str:
        """Who this is here; empty when it is nobody. A complex subject is its `user`: nothing else of it is ours."""
        user = subject.get("user") if subject.get("format") == "complex" else subject
        if not isinstance(user, Mapping) or self.reads not in ("", user.get("format")):
            return ""
        match user.get("format"):
            case "iss_sub":
                value = user.get("sub") if user.get("iss") in (self.issuer, self.also) else None
            case "email":
                value = user.get("email")
            case "opaque":
                value = user.get("id")
            case _:
                value = None
        if not isinstance(value, str) or not value:
            return ""
        if self.people:
            value = next((ours for ours, theirs in self.people.items() if theirs == value), "")
        return value if NAME.match(value) and value in known else ""


@dataclass(frozen=True, slots=True)
class HeardSignal:
    """Row: an event whose effect is durable, so it has none when it comes again."""

    transmitter: str
    jti: str
    kind: str
    person: str
    at: int
    version: int = 0

    @property
    def key(self) -> str:
        return f"{self.transmitter}/{self.jti}"
