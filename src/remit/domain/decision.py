"""What a decision is, and how verdicts fold into one.

Permit needs every step to agree. Hold means an approval is all it lacks. Deny says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from .flow import Json


class Reason(Enum):
    """Stable codes, one for each numbered step of a decision that can refuse."""

    AGENT_UNKNOWN = "agent_unknown"
    AGENT_FROZEN = "agent_frozen"
    ENVIRONMENT_FROZEN = "environment_frozen"
    IDENTITY_STALE = "identity_stale"
    TASK_NOT_OPEN = "task_not_open"
    TASK_EXPIRED = "task_expired"
    NOT_ITS_AGENT = "not_its_agent"
    PURPOSE_SUPERSEDED = "purpose_superseded"
    OUT_OF_SCOPE = "out_of_scope"
    INITIATOR_LEFT = "initiator_left"
    POSTURE_UNMET = "posture_unmet"
    OUT_OF_HOURS = "out_of_hours"
    TOOL_UNKNOWN = "tool_unknown"
    TOOL_CHANGED = "tool_changed"
    BAD_ARGUMENTS = "bad_arguments"
    WITHIN_POLICY = "within_policy"
    POLICY_FORBIDS = "policy_forbids"
    POLICY_SILENT = "policy_silent"
    POLICY_ERROR = "policy_error"
    POLICY_ABSENT = "policy_absent"
    BUDGET_SPENT = "budget_spent"
    NEEDS_APPROVAL = "needs_approval"
    APPROVAL_REFUSED = "approval_refused"
    NOBODY_ANSWERED = "nobody_answered"
    APPROVED = "approved"
    WATCHED = "watched"
    CREDENTIAL_UNKNOWN = "credential_unknown"
    ANCESTOR_ENDED = "ancestor_ended"
    NOT_DELEGABLE = "not_delegable"
    TOO_DEEP = "too_deep"
    FAN_OUT_SPENT = "fan_out_spent"
    DELEGATION_LOOP = "delegation_loop"
    NOT_ITS_KEY = "not_its_key"
    TRANSACTION_LOOP = "transaction_loop"
    NOT_ITS_WORKLOAD = "not_its_workload"
    CREDENTIAL_ENDED = "credential_ended"
    EDGE_UNKNOWN = "edge_unknown"
    EDGE_STALE = "edge_stale"


@dataclass(frozen=True, slots=True)
class Why:
    """One reason: its code, a sentence a person understands, and the policy that said so, if one did."""

    reason: Reason
    sentence: str
    policy: str = ""
    control: str = ""


@dataclass(frozen=True, slots=True)
class Permit:
    """May happen, now, once. `approval` is the approval it used up, or the standing yes it took one from, or empty."""

    why: tuple[Why, ...] = ()
    approval: str = ""


@dataclass(frozen=True, slots=True)
class Requirement:
    """`quorum` different people out of these people and groups must agree."""

    approvers: tuple[str, ...]
    quorum: int = 1


@dataclass(frozen=True, slots=True)
class Hold:
    """Waits until every one of `needs` is met."""

    why: tuple[Why, ...]
    needs: tuple[Requirement, ...]
    approval: str = ""


@dataclass(frozen=True, slots=True)
class Deny:
    """May not happen."""

    why: tuple[Why, ...]


Decision: TypeAlias = Permit | Hold | Deny


def word(decision: Decision) -> str:
    """`permit`, `hold` or `deny`."""
    return type(decision).__name__.lower()


def combine(verdicts: Iterable[Decision]) -> Decision:
    """Fold every verdict into one decision; no verdicts at all is a denial (law 3).

    Any Deny denies. Otherwise any Hold holds, until every need of every hold is met.
    """
    found = list(verdicts)
    denials = [v for v in found if isinstance(v, Deny)]
    if denials or not found:
        silent = Why(Reason.POLICY_SILENT, "Nothing permits this.")
        return Deny(tuple(w for v in denials for w in v.why) or (silent,))
    holds = [v for v in found if isinstance(v, Hold)]
    if not holds:
        return Permit(tuple(w for v in found for w in v.why))
    needs = dict.fromkeys(need for hold in holds for need in hold.needs)
    return Hold(tuple(w for h in holds for w in h.why), tuple(needs))


_LIFTED = frozenset({Reason.NEEDS_APPROVAL, Reason.POLICY_FORBIDS})


def watched(verdict: Decision) -> Decision:
    """What happens to a task that is only watched: what a policy holds or forbids happens, and the reasons are kept.

    What no policy permits, or a policy that errs, is denied all the same.
    """
    if isinstance(verdict, Permit) or not all(why.reason in _LIFTED for why in verdict.why):
        return verdict
    said = Why(Reason.WATCHED, f"This task is only watched; otherwise: {word(verdict)}.")
    return Permit((said, *verdict.why))


@dataclass(frozen=True, slots=True)
class Access:
    """One attempted action. `pin` is the digest of the tool description the caller saw, if it saw one."""

    task: str
    tool: str
    arguments: Mapping[str, Json] = field(default_factory=dict)
    pin: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a policy may look at, and nothing else; the policy room's only input.

    `action` is `propose`, `issue`, or the tool's name for a call. `resource` is (type, id) with type
    one of `Purpose`, `Credential`, `Tool`. `attributes` belong to the resource, `context` to the moment,
    `arguments` are the call's own (only those the tool's schema types are visible to policies), and `origins` says
    where those that matter came from.
    """

    agent: str
    tier: str
    owner: str
    purpose: str
    action: str
    resource_type: str
    resource: str
    attributes: Mapping[str, str | bool | int] = field(default_factory=dict)
    context: Mapping[str, str | bool | int | tuple[str, ...]] = field(default_factory=dict)
    arguments: Mapping[str, Json] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
