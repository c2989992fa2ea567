"""The life of a task, from its proposal until its last credential is dead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TaskProposed:
    """A task was opened."""

    task: str
    agent: str
    purpose: str
    purpose_revision: str
    initiator: str
    goal: str
    parameters: str
    deadline: int
    catalogue: str
    policies: tuple[str, ...]
    chain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskDelegated:
    """A task handed part of itself to an agent, which may open `child` until `expires_at` (ms)."""

    task: str
    agent: str
    to: str
    child: str
    purpose: str
    goal: str
    parameters: str
    calls: int
    expires_at: int
    chain: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DelegationDenied:
    """A task may not be handed on like this."""

    task: str
    agent: str
    to: str
    purpose: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProposalDenied:
    """A known agent asked for a task it may not have."""

    agent: str
    purpose: str
    reasons: tuple[str, ...]
    policies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TokenIssued:
    """An access token left. `audience` is who will accept it."""

    task: str
    agent: str
    jti: str
    audience: str
    jkt: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class ResultObserved:
    """A task has read a result of this tool: as trusted and as sensitive as its label says, with so many values in it.

    `whole` false: it had more values than are kept.
    """

    task: str
    tool: str
    number: int
    trust: str
    sensitivity: str
    values: int
    whole: bool


@dataclass(frozen=True, slots=True)
class ObservationsForgotten:
    """The task has ended; the digests of what it read in so many results were destroyed."""

    task: str
    results: int


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """No permit or credential for this task after this; at `home`, an edge, not later than that has heard of it."""

    task: str
    agent: str
    how: str
    reason: str
    home: str = ""


@dataclass(frozen=True, slots=True)
class TaskWaits:
    """The task has ended, and some credential it held is not confirmed dead yet."""

    task: str


@dataclass(frozen=True, slots=True)
class TaskSettled:
    """Every credential the task ever held is dead."""

    task: str
    leases: int


@dataclass(frozen=True, slots=True)
class TransactionTokenIssued:
    """The last workload in `path` may carry one call of this task on, with these scope words."""

    task: str
    agent: str
    txn: str
    lease: str
    initiator: str
    path: tuple[str, ...]
    scope: tuple[str, ...]
    expires_at: int
    chain: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TransactionTokenDenied:
    """A workload may not carry this call on, or not like this."""

    task: str
    agent: str
    txn: str
    lease: str
    initiator: str
    path: tuple[str, ...]
    reasons: tuple[str, ...]
    chain: tuple[str, ...]
