"""Who is calling, as the edge proved it: the only identity a verb ever sees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


class CallerKind(Enum):
    """The columns of the authorisation matrix."""

    ANYONE = "anyone"
    AGENT = "agent"
    ENFORCER = "enforcer"
    EDGE = "edge"
    PERSON = "person"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    RECEIVER = "receiver"
    SCANNER = "scanner"
    DIRECTORY = "directory"
    SYSTEM = "system"


KEYED = tuple(kind for kind in CallerKind if kind not in (CallerKind.ANYONE, CallerKind.AGENT, CallerKind.SYSTEM))


@dataclass(frozen=True, slots=True)
class Caller:
    """`name` is an agent, a person, an enforcement point, an edge, a receiver, a scanner, a directory or a reconciler;
    `task` and `jkt` come from its token. `purposes`, if any are named, are the only ones whose tasks an edge acts for.
    """

    kind: CallerKind
    name: str
    task: str = ""
    jkt: str = ""
    groups: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.name}"


@dataclass(frozen=True, slots=True)
class Via:
    """Where something happened that is reported here: an edge, its incarnation, the place in that edge's log, and when
    by that edge's own clock (ms).
    """

    edge: str
    seat: str
    index: int
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    """One request: who, when (ms), and the trace it belongs to (W3C trace id or our own); `via` if it was elsewhere.

    `span` is `trace-span` in hex where traces are exported, for what happens later to be linked to.
    """

    caller: Caller
    now: int
    trace: str = ""
    via: Via | None = None
    span: str = ""


@dataclass(frozen=True, slots=True)
class AccessKey:
    """Row: a bearer key of whoever is no agent. Keyed by its SHA-256."""

    digest: str
    kind: CallerKind
    name: str
    created_at: int
    expires_at: int
    version: int = 0

    @property
    def key(self) -> str:
        return self.digest

    def ended(self, now: int) -> AccessKey:
        """Good no more."""
        return replace(self, expires_at=min(self.expires_at, now))
