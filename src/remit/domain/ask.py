"""What a person is asked when an access is held: exactly what would happen, and nothing that could change after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .approval import Approval, Came, Shown
from .decision import Facts, Hold, Requirement
from .flow import Json, Label
from .identity import Agent
from .origin import Provenance, word
from .purpose import ApprovalRule
from .standing_yes import Use
from .task import Task
from .tool import Effect, Tool


@dataclass(frozen=True, slots=True)
class Candidate:
    """An access that passed every step but the policy. `covers` is all that decides it, as canonical JSON, and `digest`
    is of that; `owners` answer for the agents in the chain.
    """

    task: Task
    agent: Agent
    tool: Tool
    resource: str
    provenance: Provenance
    facts: Facts
    covers: bytes
    digest: str
    goal: str
    label: Label
    owners: tuple[str, ...]
    policy_revision: str

    @property
    def arguments(self) -> Mapping[str, Json]:
        return self.facts.arguments

    def use(self, hold: Hold) -> Use:
        """What a standing yes would have to cover."""
        held_by = tuple(why.policy for why in hold.why)
        return Use(self.tool, self.resource, self.arguments, self.provenance, self.label, self.policy_revision, held_by)

    def shown(self, hold: Hold, arguments: str) -> Shown:
        """What the person sees."""
        return Shown(
            sentence=_sentence(self),
            tool=self.tool.name,
            arguments=arguments,
            resource=self.resource,
            effect=self.tool.effect.word,
            goal=self.goal,
            why=tuple(why.sentence for why in hold.why),
            policies=tuple(why.policy for why in hold.why),
            controls=tuple(why.control for why in hold.why if why.control),
            origins=tuple(
                Came(name, found.origin.word, found.sources) for name, found in self.provenance.arguments.items()
            ),
            carries=word(self.provenance.carried),
            trust=self.label.trust.word,
            sensitivity=self.label.sensitivity.word,
            read=self.label.sources,
        )


def ask(what: Candidate, hold: Hold, shown: Shown, binding: str, round_: int, rule: ApprovalRule, now: int) -> Approval:
    """The request. Two callers that ask at once make the same id, and one of them loses the compare-and-swap."""
    task = what.task
    needs = tuple(
        Requirement(tuple(what.agent.owner if name == "owner" else name for name in need.approvers), need.quorum)
        for need in hold.needs
    )
    asked = {name for need in needs for name in need.approvers}
    path = tuple(name for name in what.agent.escalation if name not in asked and not task.chain.involves(name))
    expires_at = min(now + rule.ttl, task.deadline)
    next_at = now + rule.escalate_after if path and rule.escalate_after else 0
    return Approval(
        id="apv_" + binding.removeprefix("sha256:")[:32],
        digest=binding,
        access=what.digest,
        round=round_,
        task=task.id,
        chain=task.chain,
        owner=what.agent.owner,
        shown=shown,
        needs=needs,
        asked_at=now,
        expires_at=expires_at,
        covers=what.covers.decode(),
        tool_revision=what.tool.revision,
        policy_revision=what.policy_revision,
        owners=what.owners,
        owner_alone=rule.owner_alone,
        passkey=rule.passkey,
        escalation=path,
        escalate_every=rule.escalate_after,
        escalate_at=next_at if next_at < expires_at else 0,
    )


def _sentence(what: Candidate) -> str:
    task, tool, initiator = what.task, what.tool, what.task.chain.initiator
    behalf = f", for {initiator.name}," if initiator.name != task.agent else ""
    through = ", then ".join(task.chain.agents()[:-1])
    behalf += f" handed this by {through}," if through else ""
    once = ", once. This cannot be undone." if tool.effect is Effect.IRREVERSIBLE else ", once."
    said = tool.said(what.arguments)
    if said:
        return f"{task.agent}{behalf} asks to {said}{once}"
    listed = ", ".join(f"{k}={v}" for k, v in what.arguments.items())
    return f"{task.agent}{behalf} asks: {tool.title or tool.name} ({listed}){once}"
