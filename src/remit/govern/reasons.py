"""What each reason of a decision means, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping

from remit.domain.decision import Reason

REASONS: Mapping[Reason, str] = {
    Reason.AGENT_UNKNOWN: "The agent is not in the catalogue. Add agents/NAME.toml and `remit apply`.",
    Reason.AGENT_FROZEN: "The agent, its purpose, a tool or secret of it, its owner's estate or all was stopped. "
    "`remit frozen`.",
    Reason.ENVIRONMENT_FROZEN: "Nothing may be changed there now, and no credential for it is given. `remit frozen`.",
    Reason.IDENTITY_STALE: "Its proof of identity expired or is older than the purpose allows. Attest again.",
    Reason.TASK_NOT_OPEN: "The task was closed, revoked or has expired. Propose a new one.",
    Reason.TASK_EXPIRED: "The task's deadline has passed. Propose a new one.",
    Reason.NOT_ITS_AGENT: "The token belongs to another agent.",
    Reason.PURPOSE_SUPERSEDED: "The purpose changed after the task was proposed. Propose it again.",
    Reason.OUT_OF_SCOPE: "The purpose does not grant this tool, resource or value. Ask the purpose's owner.",
    Reason.INITIATOR_LEFT: "Whoever began it is here no more. Somebody else has to ask for it.",
    Reason.POSTURE_UNMET: "What the purpose needs to be known of the agent is not. Have it assessed: `remit posture`.",
    Reason.OUT_OF_HOURS: "The purpose runs at other hours. Propose the task when it opens.",
    Reason.TOOL_UNKNOWN: "Nobody reviewed such a tool. Add tools/NAME.toml and `remit apply`.",
    Reason.TOOL_CHANGED: "The tool's description is not the reviewed one. Review it and pin it again.",
    Reason.BAD_ARGUMENTS: "The arguments do not fit the tool's reviewed schema.",
    Reason.WITHIN_POLICY: "A policy permits it.",
    Reason.POLICY_FORBIDS: "A policy forbids it, approved or not. `remit policy explain` names it.",
    Reason.POLICY_SILENT: "No policy permits it, so it is denied.",
    Reason.POLICY_ERROR: "A policy could not be evaluated, so everything it might forbid is denied.",
    Reason.POLICY_ABSENT: "No policy is in force.",
    Reason.BUDGET_SPENT: "All calls of the task are spent. Propose a new one, or raise max_calls.",
    Reason.NEEDS_APPROVAL: "A person must agree first. `remit approval list`.",
    Reason.APPROVAL_REFUSED: "A person said no to exactly this call.",
    Reason.NOBODY_ANSWERED: "Nobody who may agree to exactly this call answered in time, and that is a no.",
    Reason.APPROVED: "A person agreed to exactly this call.",
    Reason.WATCHED: "It happened, since the purpose only watches; the other reasons say what would have been.",
    Reason.CREDENTIAL_UNKNOWN: "The purpose offers no credential of this name.",
    Reason.ANCESTOR_ENDED: "A task above this one has ended, and with it everything that it handed on.",
    Reason.NOT_DELEGABLE: "The purpose has no [[delegations]] for this agent and purpose, or the agent is the giver.",
    Reason.TOO_DEEP: "A purpose in the chain allows fewer hand-offs one under the other: its max_depth.",
    Reason.FAN_OUT_SPENT: "The task was handed on as often as the rule's fan_out allows.",
    Reason.DELEGATION_LOOP: "The agent acts in this chain already, and the rule does not say again = true.",
    Reason.NOT_ITS_KEY: "This is no key that the receiver has proved: it is somebody else, or must prove itself again.",
    Reason.TRANSACTION_LOOP: "This workload has carried the transaction already.",
    Reason.NOT_ITS_WORKLOAD: "The credential's grants.transaction does not name this workload, or not for this hop.",
    Reason.CREDENTIAL_ENDED: "The credential that began the transaction has ended.",
    Reason.EDGE_UNKNOWN: "The edge that was asked is not in the catalogue. Add [edges.NAME], or ask elsewhere.",
    Reason.EDGE_STALE: "The edge has not heard from the centre within its bound. `remit estate` shows how long.",
}
