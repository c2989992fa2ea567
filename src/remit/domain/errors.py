"""Every way Remit says no: one tree, with codes that never change.

    Refusal
    ├── Malformed            400  the request cannot be read
    │   ├── BadField              one named field is wrong
    │   ├── TooLarge         413  over a stated limit
    │   ├── BadCatalogue          a catalogue file is wrong: file, line, nearest known key
    │   ├── BadPolicy             a policy does not parse, or not validate strictly
    │   └── ProofInvalid          a log, checkpoint or receipt does not prove what it claims
    ├── Unauthenticated      401  we do not know who this is
    │   ├── NoCredentials         nothing was presented
    │   ├── BadToken              a token, assertion or certificate does not verify
    │   ├── BadProof              proof of possession does not verify (RFC 9449)
    │   ├── Replayed              a single-use identifier was seen before
    │   ├── NotAttested           evidence is genuine but matches no registered agent
    │   ├── BadAttestation        a client attestation, or its proof of possession, proves nothing here
    │   ├── ChallengeWanted       its proof has no challenge of ours that is good; carries a fresh one
    │   └── AttestationTooOld     it says itself that it has expired
    ├── Forbidden            403  we know who, and the answer is no
    │   ├── WrongCaller           this kind of caller may not use this route
    │   ├── NotOurPage            a browser sent what no page of ours asked it to
    │   ├── Denied                a decision; carries its reasons
    │   └── BadPasskey            what a passkey signed, or is, is not what was asked for
    ├── Held                 403  an approval is all it lacks; carries the approval
    ├── Absent               404  not there, or not yours: the same words for both (law 11)
    ├── Stale                409  the world moved: reread and try again
    │   ├── Conflict              compare-and-swap lost
    │   ├── NotHome               an edge decides this task's calls, and it is being called home
    │   ├── NotEntrusted          this task is not for an edge, or not for this one
    │   ├── SeatLost              this incarnation of an edge was replaced, or forgotten
    │   ├── ReportRefused         an edge reported what it may not; its log is taken in up to there
    │   └── WrongState            this state machine has no such arrow
    └── Unavailable          503  refused because something we need is not there (fail closed)
        ├── StoreUnavailable
        ├── IssuerUnavailable
        ├── NotRecallable         a credential that nobody can take back before its own end
        ├── AddressRefused        not fetched: a private address, a redirect, too slow, too large
        └── Busy

`str(refusal)` is for the caller and says what to do next. `inside` is for the operator
only (law 11): which selector, which claim, which upstream message.
"""

from __future__ import annotations

from typing import ClassVar


class Refusal(Exception):
    """The root. `code` is stable for ever and documented at `remit explain CODE`."""

    code: ClassVar[str] = "RMT-1000"
    title: ClassVar[str] = "Refused"
    status: ClassVar[int] = 400

    def __init__(self, message: str, *, next_step: str = "", inside: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.inside = inside


class Malformed(Refusal):
    """The request cannot be read."""

    code = "RMT-1001"
    title = "Malformed request"
    status = 400


class BadField(Malformed):
    """One named field is wrong. `field` is a path such as `authorization_details[0].goal`."""

    code = "RMT-1002"
    title = "A field is wrong"

    def __init__(self, field: str, problem: str, *, next_step: str = "", inside: str = "") -> None:
        super().__init__(f"{field}: {problem}", next_step=next_step, inside=inside)
        self.field = field
        self.problem = problem


class TooLarge(Malformed):
    """Over a stated size or depth limit."""

    code = "RMT-1003"
    title = "Too large"
    status = 413


class BadCatalogue(Malformed):
    """A catalogue file is wrong; says where, and the nearest thing that would be right."""

    code = "RMT-1004"
    title = "The catalogue is not valid"

    def __init__(self, file: str, line: int, problem: str, *, next_step: str = "") -> None:
        super().__init__(f"{file}:{line}: {problem}", next_step=next_step)
        self.file = file
        self.line = line
        self.problem = problem


class BadPolicy(Malformed):
    """A policy bundle does not parse or does not validate strictly against the schema."""

    code = "RMT-1005"
    title = "The policy bundle is not valid"


class ProofInvalid(Malformed):
    """A proof, checkpoint or log does not prove what it claims; the message says which part."""

    code = "RMT-1006"
    title = "The proof does not hold"


class BadGrant(Malformed):
    """An authorization code that is not good, for whoever shows it; which part was wrong is for the operator."""

    code = "RMT-1007"
    title = "The authorization code is not good"


class NotAcceptable(Malformed):
    """What is there is in another form than any that would be taken."""

    code = "RMT-1008"
    title = "Not in that form"
    status = 406


class NotOffered(Malformed):
    """A part of a standard that is optional, and not done here."""

    code = "RMT-1009"
    title = "Not offered here"
    status = 501


class BadSignal(Malformed):
    """What was said of somebody is no security event for us; `err` is RFC 8935's word for why."""

    code = "RMT-1010"
    title = "Not a security event"

    def __init__(self, err: str, problem: str, *, inside: str = "") -> None:
        super().__init__(f"The event was not taken: {problem}.", inside=inside)
        self.err = err
        self.problem = problem


class Unauthenticated(Refusal):
    """We do not know who this is."""

    code = "RMT-2000"
    title = "Not authenticated"
    status = 401


class NoCredentials(Unauthenticated):
    """Nothing was presented."""

    code = "RMT-2001"
    title = "No credentials"


class BadToken(Unauthenticated):
    """A token, assertion or certificate does not verify."""

    code = "RMT-2002"
    title = "The token is not valid"


class BadProof(Unauthenticated):
    """Proof of possession does not verify (RFC 9449 section 4.3)."""

    code = "RMT-2003"
    title = "The proof of possession is not valid"


class Replayed(Unauthenticated):
    """A single-use identifier (`jti`, join token) was seen before."""

    code = "RMT-2004"
    title = "Already used"


class NotAttested(Unauthenticated):
    """The evidence is genuine but matches no registered agent."""

    code = "RMT-2005"
    title = "Not a registered agent"

    def __init__(
        self, message: str, *, next_step: str = "", inside: str = "", subject: tuple[str, str, str] | None = None
    ) -> None:
        """`subject`: the kind, name and source of what was proved, if anything was (see `shadow`)."""
        super().__init__(message, next_step=next_step, inside=inside)
        self.subject = subject


class BadAttestation(Unauthenticated):
    """A client attestation, or its proof of possession, proves nothing here. The server's log says which claim."""

    code = "RMT-2006"
    title = "The client attestation is not valid"


class ChallengeWanted(Unauthenticated):
    """The proof of possession must carry a challenge of ours, unused and not old. `challenge` is a fresh one."""

    code = "RMT-2007"
    title = "A challenge is needed"

    def __init__(self, message: str, *, challenge: str, next_step: str = "", inside: str = "") -> None:
        super().__init__(message, next_step=next_step, inside=inside)
        self.challenge = challenge


class AttestationTooOld(Unauthenticated):
    """The client attestation says itself that it has expired. Get a new one from the attester."""

    code = "RMT-2008"
    title = "The client attestation is too old"


class ProxyAuthNeeded(Unauthenticated):
    """The explicit proxy's secret is missing or wrong (RFC 9110 section 11.7)."""

    code = "RMT-2009"
    title = "The proxy's secret is not valid"
    status = 407


class Forbidden(Refusal):
    """We know who this is, and the answer is no."""

    code = "RMT-3000"
    title = "Forbidden"
    status = 403


class WrongCaller(Forbidden):
    """This kind of caller may not use this route."""

    code = "RMT-3001"
    title = "Not for this caller"


class NotOurPage(Forbidden):
    """A browser's request that no page of this console made: of another site, or a form of another session."""

    code = "RMT-3004"
    title = "Not from this console"


class Denied(Forbidden):
    """A decision said no. `reasons` are stable codes of `remit.domain.decision.Reason`."""

    code = "RMT-3002"
    title = "Denied"

    def __init__(self, message: str, *, reasons: tuple[str, ...] = (), next_step: str = "", inside: str = "") -> None:
        super().__init__(message, next_step=next_step, inside=inside)
        self.reasons = reasons


class Held(Refusal):
    """An approval is all it lacks. `approval` is the id to look at, wait for, or show to a person."""

    code = "RMT-3003"
    title = "Held for a person"
    status = 403

    def __init__(self, message: str, *, approval: str, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.approval = approval


class BadPasskey(Forbidden):
    """What a passkey signed, or what it is, is not what was asked for. The server's log says which part."""

    code = "RMT-3005"
    title = "The passkey's answer is not valid"


class Absent(Refusal):
    """Not there, or not yours: byte for byte the same answer (law 11)."""

    code = "RMT-4000"
    title = "Not found"
    status = 404

    def __init__(self, *, inside: str = "") -> None:
        super().__init__("There is no such thing here, or it is not yours to see.", inside=inside)


class Stale(Refusal):
    """The world moved."""

    code = "RMT-5000"
    title = "Out of date"
    status = 409


class Conflict(Stale):
    """Compare-and-swap lost: somebody changed the row in between. Nothing was written."""

    code = "RMT-5001"
    title = "Changed by somebody else"


class WrongState(Stale):
    """This state machine has no such arrow."""

    code = "RMT-5002"
    title = "Not possible in this state"


class NotHome(Stale):
    """Another place decides this task's calls: `home` is that edge, or empty for the centre."""

    code = "RMT-5003"
    title = "Decided elsewhere"

    def __init__(self, task: str, home: str, *, next_step: str = "Ask there.") -> None:
        where = f"edge {home}" if home else "the centre"
        super().__init__(f"Calls of this task are decided at {where}.", next_step=next_step, inside=task)
        self.home = home


class NotEntrusted(Stale):
    """This task is not for an edge, or not for this one: it is decided at the centre."""

    code = "RMT-5004"
    title = "Not for an edge"


class SeatLost(Stale):
    """This incarnation of an edge is not here: it never joined, or was replaced by another one, or forgotten."""

    code = "RMT-5005"
    title = "Not this edge any more"


class ReportRefused(Stale):
    """An edge reported what it may not. What came before it in its log is taken in, and nothing after it."""

    code = "RMT-5006"
    title = "The report was refused"


class NotAsPlanned(Stale):
    """What is in force is not what the plan was made against (`If-Match`, RFC 9110 section 13.1.1). Nothing changed."""

    code = "RMT-5007"
    title = "Not what was planned against"
    status = 412


class Unavailable(Refusal):
    """Refused because something we need is not there. Nothing leaves (law 3)."""

    code = "RMT-6000"
    title = "Unavailable"
    status = 503


class StoreUnavailable(Unavailable):
    """The store did not confirm the write, so nothing may leave (law 4)."""

    code = "RMT-6001"
    title = "The store is not available"


class UnknownRow(StoreUnavailable):
    """A row that a newer version wrote, with something in it that this one does not know."""

    code = "RMT-6007"
    title = "Written by a newer version"


class IssuerUnavailable(Unavailable):
    """The system that mints or kills this credential did not answer."""

    code = "RMT-6002"
    title = "The issuer is not available"


class Leaving(Unavailable):
    """This process is about to stop: it still answers, and whoever sends it requests should send them elsewhere."""

    code = "RMT-6006"
    title = "About to stop"


class NotRecallable(Unavailable):
    """What was minted cannot be taken back: it lives until `until` (ms), and nobody but time will kill it."""

    code = "RMT-6005"
    title = "Dies at its own end only"

    def __init__(self, message: str, *, until: int, inside: str = "") -> None:
        super().__init__(message, inside=inside)
        self.until = until


class AddressRefused(Unavailable):
    """An address may not be fetched, or did not answer within the limits."""

    code = "RMT-6004"
    title = "The address may not be fetched"


class Busy(Unavailable):
    """Over a rate or concurrency limit; try again after a moment."""

    code = "RMT-6003"
    title = "Too busy"
    status = 429


def every_refusal() -> tuple[type[Refusal], ...]:
    """The whole tree, in the order of the codes."""
    found: list[type[Refusal]] = []
    queue: list[type[Refusal]] = [Refusal]
    while queue:
        kind = queue.pop()
        found.append(kind)
        queue.extend(kind.__subclasses__())
    return tuple(sorted(found, key=lambda kind: kind.code))
