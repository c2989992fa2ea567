"""What the log can say: a closed union.

An event carries names, states and digests; never a payload, never a secret (law 10).
Digest fields are `sha256:<hex>`. Instants are ms. `chain` is the tasks above, the first of all first; their own events
say who acts in them and for whom.
"""

from __future__ import annotations

from typing import TypeAlias

from .accountability import (
    DirectorySaid,
    SuccessionBegan,
    SuccessionEscalated,
    SuccessionOver,
    SuccessionStopped,
    SuccessionTaken,
)
from .approval import (
    ApprovalAnswered,
    ApprovalEscalated,
    ApprovalExpired,
    ApprovalHandedOn,
    ApprovalQuestioned,
    BackchannelAsked,
    BackchannelAsking,
    BackchannelFailed,
    BackchannelOver,
    BackchannelOwed,
    BackchannelSlowed,
    CameBack,
    NoticeEnded,
    NoticeFailed,
    NoticeSent,
    PasskeyRegistered,
    PasskeyRemoved,
    StandingYesEnded,
    WentAway,
)
from .catalogue import (
    CatalogueApplied,
    RolloutSet,
    RolloutTakenBack,
)
from .chart import ChartImported, ChartRemoved
from .connection import (
    ConnectionAnswered,
    ConnectionBegun,
    ConnectionEnded,
    ConnectionEndFailed,
    ConnectionEnding,
    ConnectionLost,
    ConnectionMade,
    GrantReturned,
    GrantTaken,
)
from .consent import ConsentGiven, ConsentRedeemed, ConsentReplayed
from .context import (
    FindingContained,
    FindingContainmentReached,
    FindingReported,
    FindingResolved,
    PersonLeft,
    PersonReturned,
    PostureAssessed,
    PostureLapsed,
    RedecisionReached,
    ScanMatched,
    ScanTaken,
    TasksRedecided,
)
from .decision import (
    AccessDecided,
    IssueDenied,
)
from .estate import (
    AccessKeyLearned,
    EdgeForgotten,
    EdgeJoined,
    EdgeReported,
    EdgeReportRefused,
    Followed,
    TaskEntrusted,
    TaskLetGo,
    TaskRecalled,
    TaskReturned,
    TaskTaken,
)
from .evidence import EvidenceReported
from .freeze import FreezeReached, Froze, Unfroze
from .identity import (
    AccessKeyCreated,
    AccessKeyEnded,
    AgentProved,
    IdentitySuperseded,
    JoinTokenCreated,
    SvidIssued,
)
from .keys import (
    SigningKeyCreated,
    SigningKeyPromoted,
    SigningKeyReplaced,
    SigningKeyRetired,
)
from .lease import (
    IssuerBack,
    IssuerDown,
    LeaseEnded,
    LeaseEnding,
    LeaseKilledEarly,
    LeaseKillFailed,
    LeaseMinted,
    LeaseOutlives,
    LeaseReserved,
)
from .out import OutRewound, OutTurned, WitnessRefused
from .restore import OrphanFound, RestoredVoided, RestoreSafe, RestoreSwept, StoreRestored
from .review import NarrowingOver, ReviewAnswered, ReviewOpened, ReviewOverdue
from .secret import (
    EnvelopeRewrapped,
    HandOverEnded,
    HandOverOpened,
    HandOverSent,
    SecretOverdue,
    SecretRetired,
    SecretRetiring,
    SecretSealed,
)
from .session import (
    SessionBegan,
    SessionEnded,
    SessionKept,
    SignInLinkMade,
)
from .shadow import ShadowDismissed
from .signal import SignalHeeded, SignalRefused
from .stream import (
    SignalReturned,
    SignalsDelivered,
    StreamChanged,
    StreamFailing,
    StreamHeard,
    StreamMade,
    StreamTurned,
    StreamVerificationAsked,
)
from .task import (
    DelegationDenied,
    ObservationsForgotten,
    ProposalDenied,
    ResultObserved,
    TaskDelegated,
    TaskEnded,
    TaskProposed,
    TaskSettled,
    TaskWaits,
    TokenIssued,
    TransactionTokenDenied,
    TransactionTokenIssued,
)

Event: TypeAlias = (
    CatalogueApplied
    | ChartImported
    | ChartRemoved
    | RolloutSet
    | RolloutTakenBack
    | JoinTokenCreated
    | AgentProved
    | SvidIssued
    | IdentitySuperseded
    | Froze
    | FreezeReached
    | Unfroze
    | AccessKeyCreated
    | AccessKeyLearned
    | AccessKeyEnded
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
    | TransactionTokenIssued
    | TransactionTokenDenied
    | AccessDecided
    | ResultObserved
    | ObservationsForgotten
    | PasskeyRegistered
    | PasskeyRemoved
    | ApprovalAnswered
    | ApprovalExpired
    | ApprovalEscalated
    | ApprovalHandedOn
    | ApprovalQuestioned
    | WentAway
    | CameBack
    | StandingYesEnded
    | NoticeSent
    | NoticeFailed
    | NoticeEnded
    | BackchannelAsked
    | BackchannelAsking
    | BackchannelFailed
    | BackchannelOver
    | BackchannelOwed
    | BackchannelSlowed
    | IssueDenied
    | LeaseReserved
    | LeaseMinted
    | LeaseEnding
    | LeaseKillFailed
    | LeaseKilledEarly
    | LeaseOutlives
    | IssuerDown
    | IssuerBack
    | LeaseEnded
    | TaskEnded
    | TaskWaits
    | TaskSettled
    | SignInLinkMade
    | SessionBegan
    | SessionKept
    | SessionEnded
    | ConnectionBegun
    | ConnectionAnswered
    | ConnectionMade
    | GrantTaken
    | GrantReturned
    | ConnectionLost
    | ConnectionEnding
    | ConnectionEndFailed
    | ConnectionEnded
    | ConsentGiven
    | ConsentRedeemed
    | ConsentReplayed
    | TasksRedecided
    | RedecisionReached
    | PersonLeft
    | PersonReturned
    | PostureAssessed
    | PostureLapsed
    | FindingReported
    | FindingContained
    | FindingContainmentReached
    | FindingResolved
    | ScanTaken
    | ScanMatched
    | EdgeJoined
    | EdgeReported
    | EdgeReportRefused
    | EdgeForgotten
    | TaskEntrusted
    | TaskRecalled
    | TaskReturned
    | Followed
    | TaskTaken
    | TaskLetGo
    | SignalHeeded
    | SignalRefused
    | StreamMade
    | StreamChanged
    | StreamTurned
    | StreamVerificationAsked
    | StreamHeard
    | StreamFailing
    | SignalsDelivered
    | SignalReturned
    | StoreRestored
    | RestoredVoided
    | RestoreSafe
    | OrphanFound
    | RestoreSwept
    | ShadowDismissed
    | EvidenceReported
    | OutTurned
    | OutRewound
    | WitnessRefused
    | SuccessionBegan
    | SuccessionEscalated
    | SuccessionTaken
    | SuccessionStopped
    | SuccessionOver
    | DirectorySaid
    | ReviewOpened
    | ReviewAnswered
    | ReviewOverdue
    | NarrowingOver
)

# What somebody outside waits for, because it takes something away or gives it back: it is not left to wait for its
# place in the log. Names, as the log has them.
URGENT = frozenset(
    event.__name__
    for event in (
        ApprovalAnswered,
        CatalogueApplied,
        EvidenceReported,
        FindingReported,
        FindingContained,
        FindingContainmentReached,
        FindingResolved,
        ScanTaken,
        ScanMatched,
        Froze,
        IdentitySuperseded,
        PersonLeft,
        ReviewAnswered,
        RolloutSet,
        RolloutTakenBack,
        SessionEnded,
        SigningKeyReplaced,
        TaskEnded,
        TaskRecalled,
        Unfroze,
    )
)
