"""What the log can say: a closed union.

An event carries names, states and digests; never a payload, never a secret (law 10).
Digest fields are `sha256:<hex>`. Instants are ms. `chain` is the tasks above, the first of all first; their own events
say who acts in them and for whom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class CatalogueApplied:
    """A new revision of the catalogue is in force."""

    digest: str
    previous: str
    summary: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JoinTokenCreated:
    """An operator allowed one key to be bound to an agent."""

    agent: str
    token: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class AgentProved:
    """Evidence bound a key to an agent."""

    agent: str
    method: str
    jkt: str
    spiffe_id: str
    evidence: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class SvidIssued:
    """A workload on this host was given a SPIFFE identity document. `serial` names it: hex, or a token's digest."""

    agent: str
    spiffe_id: str
    kind: str
    serial: str
    rule: str
    code: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class IdentitySuperseded:
    """Other code proved itself to be this agent: what this key proved counts no more. Codes are hex digests."""

    agent: str
    jkt: str
    code: str
    by: str


@dataclass(frozen=True, slots=True)
class StandingChanged:
    """An agent was frozen or made active again."""

    agent: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class AccessKeyCreated:
    """A bearer key was made for a person, operator, auditor or enforcement point."""

    kind: str
    name: str
    digest: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class SecretSealed:
    """A version of a static secret was put under an envelope; `restores` is the one it has the value of, or 0."""

    name: str
    number: int
    restores: int


@dataclass(frozen=True, slots=True)
class SecretOverdue:
    """Nobody put a newer version of this secret in the time that was set for it."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class SecretRetiring:
    """This version is minted no more, and every lease that holds it is to end."""

    name: str
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class SecretRetired:
    """No lease holds this version any more; its envelope was destroyed."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class EnvelopeRewrapped:
    """The envelope in this row is under the new root key; its contents were not opened."""

    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class HandOverSent:
    """Somebody left something secret for one person, to be opened once."""

    hand_over: str
    sender: str
    recipient: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class HandOverOpened:
    """Its recipient opened it. The envelope was destroyed with this event, before the answer left."""

    hand_over: str
    sender: str
    recipient: str


@dataclass(frozen=True, slots=True)
class HandOverEnded:
    """It can be opened no more, and nobody did: withdrawn by its sender, or expired. The envelope was destroyed."""

    hand_over: str
    sender: str
    recipient: str
    how: str


@dataclass(frozen=True, slots=True)
class SigningKeyCreated:
    """A signing key was made and published; `kid` is its RFC 7638 thumbprint, `public` its JWK or vkey text."""

    use: str
    kid: str
    public: str
    signs_from: int


@dataclass(frozen=True, slots=True)
class SigningKeyPromoted:
    """This key signs from now on; the one before it verifies until `retire_at` (ms)."""

    use: str
    kid: str
    before: str
    retire_at: int


@dataclass(frozen=True, slots=True)
class SigningKeyRetired:
    """What this key signed is over: it is published no more, and its private half is destroyed."""

    use: str
    kid: str


@dataclass(frozen=True, slots=True)
class SigningKeyReplaced:
    """An operator had every older key of this use destroyed at once: what they signed is refused."""

    use: str
    kid: str
    public: str
    destroyed: tuple[str, ...]
    reason: str


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
class AccessDecided:
    """An attempted call was permitted, held or denied."""

    task: str
    agent: str
    tool: str
    access: str
    decision: str
    reasons: tuple[str, ...]
    policies: tuple[str, ...]
    controls: tuple[str, ...]
    approval: str
    catalogue: str
    trust: str
    sensitivity: str
    origin: str
    carries: str
    chain: tuple[str, ...] = ()


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
class ApprovalAnswered:
    """A person said yes or no to exactly this digest."""

    approval: str
    task: str
    digest: str
    person: str
    yes: bool
    state: str


@dataclass(frozen=True, slots=True)
class ApprovalExpired:
    """Nobody answered, or nobody used the answer, in time."""

    approval: str
    task: str


@dataclass(frozen=True, slots=True)
class IssueDenied:
    """A credential was asked for and refused."""

    task: str
    agent: str
    credential: str
    reasons: tuple[str, ...]
    policies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LeaseReserved:
    """From now on a credential with this handle may exist."""

    lease: str
    task: str
    agent: str
    credential: str
    issuer: str
    handle: str
    expires_at: int
    policies: tuple[str, ...]
    chain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeaseMinted:
    """The issuer confirmed the credential."""

    lease: str
    task: str


@dataclass(frozen=True, slots=True)
class LeaseEnding:
    """The credential must die."""

    lease: str
    task: str
    reason: str


@dataclass(frozen=True, slots=True)
class LeaseKillFailed:
    """The issuer did not confirm the kill; it will be tried again."""

    lease: str
    task: str
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class LeaseKilledEarly:
    """Killed while a mint might still land; to be killed again when the mint window has closed."""

    lease: str
    task: str


@dataclass(frozen=True, slots=True)
class LeaseOutlives:
    """The credential cannot be taken back by anybody; it dies by itself at `until` (ms)."""

    lease: str
    task: str
    until: int


@dataclass(frozen=True, slots=True)
class IssuerDown:
    """The issuer confirms no kill since `since` (ms); `waiting` credentials are to die there."""

    issuer: str
    since: int
    waiting: int


@dataclass(frozen=True, slots=True)
class IssuerBack:
    """The issuer confirms kills again; `drained` of those that had waited are dead."""

    issuer: str
    since: int
    drained: int


@dataclass(frozen=True, slots=True)
class ConnectionBegun:
    """An operator was sent to an authorization server, to let Remit into somebody's account there."""

    issuer: str
    authorization_server: str
    client: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConnectionAnswered:
    """The answer to this attempt came back; it is good for nothing more, whatever the exchange of its code gives."""

    issuer: str


@dataclass(frozen=True, slots=True)
class ConnectionMade:
    """The grant is kept, sealed: from now on tasks are given tokens of it."""

    issuer: str
    authorization_server: str
    client: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GrantTaken:
    """The grant is being used to mint for this lease, and for nobody else meanwhile."""

    issuer: str
    lease: str


@dataclass(frozen=True, slots=True)
class GrantReturned:
    """It may be used again. `rotated`: the authorization server replaced the refresh token."""

    issuer: str
    lease: str
    rotated: bool


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """The authorization server knows the grant no more; a person has to connect again."""

    issuer: str
    reason: str


@dataclass(frozen=True, slots=True)
class ConnectionEnding:
    """Nothing is minted of this grant after this; its leases and then the grant itself are to end."""

    issuer: str
    reason: str


@dataclass(frozen=True, slots=True)
class ConnectionEndFailed:
    """The authorization server did not confirm that the grant is gone; it will be asked again."""

    issuer: str
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class ConnectionEnded:
    """The grant was destroyed here. `revoked`: the authorization server confirmed that it is good for nothing there."""

    issuer: str
    revoked: bool


@dataclass(frozen=True, slots=True)
class LeaseEnded:
    """The issuer confirmed that the credential is dead."""

    lease: str
    task: str


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """No permit or credential for this task after this."""

    task: str
    agent: str
    how: str
    reason: str


@dataclass(frozen=True, slots=True)
class TaskWaits:
    """The task has ended, and some credential it held is not confirmed dead yet."""

    task: str


@dataclass(frozen=True, slots=True)
class TaskSettled:
    """Every credential the task ever held is dead."""

    task: str
    leases: int


Event: TypeAlias = (
    CatalogueApplied
    | JoinTokenCreated
    | AgentProved
    | SvidIssued
    | IdentitySuperseded
    | StandingChanged
    | AccessKeyCreated
    | SecretSealed
    | SecretOverdue
    | SecretRetiring
    | SecretRetired
    | EnvelopeRewrapped
    | HandOverSent
    | HandOverOpened
    | HandOverEnded
    | SigningKeyCreated
    | SigningKeyPromoted
    | SigningKeyRetired
    | SigningKeyReplaced
    | TaskProposed
    | TaskDelegated
    | DelegationDenied
    | ProposalDenied
    | TokenIssued
    | AccessDecided
    | ResultObserved
    | ObservationsForgotten
    | ApprovalAnswered
    | ApprovalExpired
    | IssueDenied
    | LeaseReserved
    | LeaseMinted
    | LeaseEnding
    | LeaseKillFailed
    | LeaseKilledEarly
    | LeaseOutlives
    | ConnectionBegun
    | ConnectionAnswered
    | ConnectionMade
    | GrantTaken
    | GrantReturned
    | ConnectionLost
    | ConnectionEnding
    | ConnectionEndFailed
    | ConnectionEnded
    | IssuerDown
    | IssuerBack
    | LeaseEnded
    | TaskEnded
    | TaskWaits
    | TaskSettled
)
