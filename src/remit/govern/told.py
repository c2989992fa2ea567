"""Each event of the log in one plain sentence, in the colour of what it did."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from remit.domain.decision import Reason

from .reasons import REASONS

_SAYS: Mapping[str, str] = {
    "AccessDecided": "{decided}: {tool}",
    "AccessKeyCreated": "A key was made for {name}, {kind}, good until {expires_at}",
    "AccessKeyLearned": "The centre says that {name}, {kind}, has this key until {expires_at}",
    "AccessKeyEnded": "A key of {name}, {kind}, is good no more: {reason}",
    "AgentProved": "{agent} proved itself by {method}, good until {expires_at}",
    "ApprovalAnswered": "{person} said {answer}",
    "ApprovalEscalated": "Nobody had answered, so {to} is asked too",
    "ApprovalHandedOn": "{person} has {to} answer instead",
    "ApprovalQuestioned": "{person} wants to know something first",
    "ApprovalExpired": "Nobody answered, or used the answer, in time",
    "CameBack": "Nobody stands in for {person} any more",
    "CatalogueApplied": "The catalogue changed: {summary}",
    "ChartImported": "Imported as {name}: {steps} steps of who can reach what, between {nodes} nodes",
    "ChartRemoved": "Removed: what was imported as {name}",
    "ConnectionAnswered": "The answer for {issuer} came back",
    "ConnectionBegun": "An operator was sent to {authorization_server}, to connect {issuer}",
    "ConnectionEndFailed": "{issuer}: the grant is not confirmed gone ({attempts} times so far): {error}",
    "ConnectionEnded": "{issuer}: the grant was destroyed here",
    "ConnectionEnding": "{issuer}: nothing is minted of its grant any more: {reason}",
    "ConnectionLost": "{issuer}: its grant is known no more; a person has to connect again: {reason}",
    "ConnectionMade": "{issuer} is connected to {authorization_server}",
    "BackchannelOwed": "{person} will be asked in the app of {provider} too; both sides show {code}",
    "BackchannelAsking": "{provider} is asked to ask {person}",
    "BackchannelAsked": "{person} is asked in the app of their provider",
    "BackchannelSlowed": "The provider of {person} wants to be asked less often",
    "BackchannelFailed": "The provider of {person} could not be asked, and is tried again",
    "BackchannelOver": "{person} can answer in the app no more: {why}",
    "ConsentGiven": "{client} may act as {agent} under {purpose} at {resource}, in one task: {task}",
    "ConsentRedeemed": "The code of {client} for task {task} was shown, and is used up",
    "ConsentReplayed": "{client}: the code for task {task} was shown twice; the task ends",
    "DelegationDenied": "Denied: handing part of it to {to} for {purpose}",
    "EdgeForgotten": "Edge {edge} is gone for good, and {tasks} tasks it held ended: {reason}",
    "EdgeJoined": "Edge {edge} came with a store of its own",
    "EdgeReportRefused": "Edge {edge} reported what it may not, at {index}: {flaw}",
    "EdgeReported": "Edge {edge} said what concerns it alone, {first} to {through}",
    "EnvelopeRewrapped": "An envelope is under the new root key: {kind} {key}",
    "EvidenceReported": "A report of evidence left: {frameworks}, on {size} events",
    "Followed": "Applied what the centre had written up to {size}",
    "FindingReported": "Found, {severity}, about {subject} {name}: {title}",
    "ShadowDismissed": "Dismissed, what was seen and nobody registered, {kind} {name} at {source}: {note}",
    "FindingContained": "Contained, {leak}, at once {ends}: {reason}",
    "FindingContainmentReached": "The containment of {leak} reached the last of it, in {took} ms {how}",
    "FindingResolved": "Resolved, what was found about {subject} {name}: {note}",
    "FreezeReached": "The freeze of {reach} {name} reached the last of what it stops, in {took} ms",
    "Froze": "Frozen, {reach} {name}: {reason}",
    "GrantReturned": "The grant of {issuer} may be used again",
    "GrantTaken": "The grant of {issuer} is used to mint",
    "HandOverEnded": "What {sender} left for {recipient} can be opened no more: {how}",
    "HandOverOpened": "{recipient} opened what {sender} left",
    "HandOverSent": "{sender} left something secret for {recipient}, until {expires_at}",
    "IdentitySuperseded": "Other code proved itself to be {agent}; what this key proved counts no more",
    "IssueDenied": "Denied: credential {credential}",
    "IssuerBack": "{issuer} confirms kills again; {drained} that had waited are dead",
    "IssuerDown": "{issuer} confirms no kill since {since}; {waiting} credentials wait to die there",
    "JoinTokenCreated": "{agent} was invited, until {expires_at}",
    "LeaseEnded": "Dead: its issuer confirmed that {credential} is",
    "LeaseEnding": "{credential} must die: {reason}",
    "LeaseKillFailed": "Its issuer did not confirm that {credential} is dead ({attempts} times so far): {error}",
    "LeaseKilledEarly": "{credential} was killed while its mint might still land; to be killed again",
    "LeaseMinted": "Live: {credential}, confirmed by its issuer",
    "LeaseOutlives": "Nobody can take {credential} back; it dies by itself at {until}",
    "LeaseReserved": "Credential {credential} asked of {issuer}, until {expires_at}",
    "NoticeEnded": "Nothing more is owed of this message: {why}",
    "NoticeFailed": "Not told ({attempts} times so far): {routes}",
    "NoticeSent": "Told by {route} that somebody is asked",
    "ObservationsForgotten": "What it had read in {results} results was forgotten",
    "OrphanFound": "{issuer} lists {handle}, which no lease explained; it must die",
    "PasskeyRegistered": "{person} registered a passkey for {rp_id}",
    "PasskeyRemoved": "A passkey of {person} answers nothing any more",
    "PersonLeft": "{person} left, and what they began ends: {reason}",
    "PersonReturned": "{person} is here again",
    "PostureAssessed": "Known of {agent} until {until}: {facts}",
    "PostureLapsed": "Not known of {agent} any more: {facts}",
    "ProposalDenied": "Denied: a task of {agent} under {purpose}",
    "RedecisionReached": "Open tasks decided again in {took} ms: {looked_at}, of which {ended} ended: {cause}",
    "RestoredVoided": "After the restore {count} of {kind} are good no more",
    "RestoreSafe": "Nothing in the restored state is good any more; {tasks} tasks were open in it",
    "RestoreSwept": "Issuers were compared with the leases: {orphans} credentials had none. Not compared: {unlisted}",
    "ResultObserved": "Read a result of {tool}: {trust}, {sensitivity}",
    "ScanMatched": "Of what a scan had found, {known} are known here; the rest was forgotten",
    "ScanTaken": "A scan reported {seen} secrets that it found",
    "SecretOverdue": "Nobody put a newer version of secret {name} in time",
    "NarrowingOver": "The catalogue has followed: nothing is taken away from {agent} any more",
    "ReviewAnswered": "{person} reviewed {agent}: {verdict}. It lost: {without}",
    "ReviewOpened": "{agent} is to be reviewed by {due_at}; it is narrowed at {narrow_at} and frozen at {freeze_at}",
    "ReviewOverdue": "Nobody reviewed {agent} in time: {did} {without}",
    "RolloutSet": "{share} % of the edges have {digest} in force",
    "RolloutTakenBack": "Rolled back at every edge: {reason}",
    "SecretRetired": "Version {number} of secret {name} is gone",
    "SecretRetiring": "Version {number} of secret {name} is handed out no more: {reason}",
    "SecretSealed": "Version {number} of secret {name} was sealed",
    "SessionBegan": "{name} signed in by {way}",
    "SessionEnded": "{name} is signed out: {reason}",
    "SessionKept": "{name} is still signed in",
    "OutTurned": "The log is {state} to {sink}: {reason}",
    "OutRewound": "{sink} is given the log again from {place} on: {reason}",
    "WitnessRefused": "{witness} refused the log at {size}: {why}",
    "SignalHeeded": "{transmitter} said something of {person}: {tasks} tasks and {sessions} sessions ended",
    "SignalRefused": "What {transmitter} gave was no event for us: {why}",
    "SignalReturned": "{receiver} cannot use an event: {error}",
    "SignalsDelivered": "{receiver} has taken {count} more events",
    "StreamChanged": "{receiver} changed its stream: {what}",
    "StreamFailing": "{receiver} did not take an event ({attempts} times so far): {error}",
    "StreamHeard": "{receiver} is still there",
    "StreamMade": "{receiver} is told of what ends, by {delivery}",
    "StreamTurned": "The stream of {receiver} is {state}: {reason}",
    "StreamVerificationAsked": "{receiver} wants to see something arrive",
    "SignInLinkMade": "A sign-in link was made for {name}, until {expires_at}",
    "SigningKeyCreated": "A new {use} key was published, to sign from {signs_from}",
    "SigningKeyPromoted": "A new {use} key signs; the one before it verifies until {retire_at}",
    "SigningKeyReplaced": "Every older {use} key was destroyed: {reason}",
    "SigningKeyRetired": "A {use} key is over; its private half is destroyed",
    "StandingYesEnded": "A standing yes covers nothing any more, {left} were left: {reason}",
    "DirectorySaid": "{directory} says that {user} ({person}) is {said}",
    "SuccessionBegan": "Nobody answers for {reach} {name} ({owner}, {missing}): {to} is asked, and at {until} it stops",
    "SuccessionEscalated": "Nobody had taken {reach} {name} over, so {to} is asked too",
    "SuccessionOver": "Somebody answers for {reach} {name} again",
    "SuccessionStopped": "Nobody took {reach} {name} over in time: {frozen} is frozen",
    "SuccessionTaken": "{person} answers for {reach} {name} in place of {owner}",
    "SvidIssued": "{spiffe_id} was given a {kind} document",
    "StoreRestored": "The store was put back to an earlier state: the log goes on at {size}, and {known} were known",
    "TaskDelegated": "Handed to {to} for {purpose}, with {calls} calls",
    "TaskEnded": "Ended ({how}): {reason}",
    "TaskEntrusted": "Edge {edge} decides its calls from here on",
    "TaskLetGo": "This edge decides no more of its calls: {reason}",
    "TaskProposed": "Opened for {initiator} under {purpose}",
    "TaskRecalled": "Called home from edge {edge}: {reason}",
    "TaskReturned": "Back from edge {edge}; its calls are decided at the centre",
    "TaskSettled": "Settled: every credential it held is dead ({leases})",
    "TaskTaken": "This edge decides its calls from here on",
    "TaskWaits": "Ended, and waits for credentials to be confirmed dead",
    "TasksRedecided": "Open tasks decided again so far: {looked_at} more, of which {ended} ended: {cause}",
    "TokenIssued": "An access token left, for {audience}, until {expires_at}",
    "TransactionTokenDenied": "Denied: a transaction token for {path}",
    "TransactionTokenIssued": "A transaction token left, for {path}, until {expires_at}",
    "Unfroze": "Unfrozen, {reach} {name}: {reason}",
    "WentAway": "Until {until}, {to} answers what {person} is asked: {reason}",
}
_TONES: Mapping[str, str] = {
    "ApprovalExpired": "ending",
    "ConnectionEndFailed": "down",
    "ConnectionLost": "down",
    "FindingContained": "ending",
    "FindingReported": "down",
    "Froze": "frozen",
    "IssuerBack": "live",
    "IssuerDown": "down",
    "LeaseEnding": "ending",
    "LeaseKillFailed": "down",
    "LeaseKilledEarly": "ending",
    "LeaseMinted": "live",
    "LeaseOutlives": "ending",
    "LeaseReserved": "reserved",
    "NoticeFailed": "down",
    "StreamFailing": "down",
    "WitnessRefused": "down",
    "OrphanFound": "ending",
    "StoreRestored": "down",
    "SecretOverdue": "ending",
    "ReviewOverdue": "ending",
    "SuccessionBegan": "ending",
    "SuccessionStopped": "frozen",
    "TaskProposed": "open",
    "TaskWaits": "ending",
}
_DECIDED = {"permit": "Permitted", "hold": "Held", "deny": "Denied"}
_INSTANTS = frozenset(
    {"due_at", "narrow_at", "freeze_at", "expires_at", "retire_at", "signs_from", "since", "until", "deadline"}
)
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_OURS = ("decided", "answer", "initiator", "credential")
_UNSAID = {Reason.WITHIN_POLICY.value}
_KNOWN = {reason.value: text for reason, text in REASONS.items()}


class _Words(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "?"


def told(entry: Mapping[str, Any], credential: str = "a credential") -> dict[str, Any]:
    """What happened: `says`, `tone` (a state's name, or empty), and `why` a decision was like that, in words.

    `credential` is the name of what a lease is of, where that is known.
    """
    kind, data = str(entry["type"]), entry["data"]
    words = _Words({"credential": credential, **{name: _text(name, value) for name, value in data.items()}})
    words["decided"] = _DECIDED.get(str(data.get("decision")), "Decided")
    words["answer"] = "yes" if data.get("yes") else "no"
    words["initiator"] = words["initiator"].partition(":")[2]
    says = _SAYS[kind].format_map(words) if kind in _SAYS else _plainly(kind, words)
    return {"says": _capital(says.rstrip(": ")), "tone": _tone(kind, data), "why": why(data.get("reasons", ()))}


def why(reasons: Iterable[str]) -> list[str]:
    """Reasons by their codes, in words; that a policy permits it goes without saying."""
    return [_KNOWN.get(code, code) for code in reasons if code not in _UNSAID]


def _tone(kind: str, data: Mapping[str, Any]) -> str:
    if kind.endswith("Denied"):
        return "deny"
    if kind == "ApprovalAnswered":
        return "granted" if data.get("yes") else "refused"
    return str(data.get("decision", "")) or _TONES.get(kind, "")


def _text(name: str, value: object) -> str:
    if name in _INSTANTS and isinstance(value, int):
        return datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if value else "never"
    if isinstance(value, list):
        return "; ".join(map(str, value[:8])) + (f"; and {len(value) - 8} more" if len(value) > 8 else "")
    return str(value)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if text.startswith("a credential") else text


def _plainly(kind: str, words: Mapping[str, str]) -> str:
    """An event that has no sentence of its own."""
    given = ", ".join(f"{name} {value}" for name, value in words.items() if value and name not in _OURS)
    return f"{_CAPITAL.sub(' ', kind).capitalize()}: {given}"
