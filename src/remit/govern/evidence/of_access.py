"""Mechanisms of decisions: what agents may do, and what waits for people."""

from __future__ import annotations

from remit.domain.decision import Reason
from remit.domain.purpose import GrantRule, Purpose
from remit.formats.log_words import SIGNED, control, decided, happened, refused
from remit.policy.reading import PolicyInfo
from remit.policy.slices import context_reads

from .mechanism import DAY, Mechanism, Present, Standing, each, off, on, partly, some

_ORIGINS = {("origin",), ("origins",), ("trust",), ("label_rank",), ("label_sensitivity",), ("carries",)}


def _decisions(p: Present) -> Standing:
    purposes = len(p.catalogue.purposes)
    if not purposes:
        return off("no purpose is in force, so there is nothing that could be decided but denials")
    judge = f"{some(len(p.policies), 'policy', 'policies')} judge every call of {some(purposes, 'purpose')}"
    return each(
        p.watched, purposes, "what policies hold or forbid happens all the same, under the profile watch", judge
    )


def _tasks(p: Present) -> Standing:
    if not p.catalogue.purposes:
        return off("no purpose is in force")
    idle = sorted(p.catalogue.agents.keys() - {name for one in p.catalogue.purposes.values() for name in one.agents})
    said = f"{some(len(p.catalogue.purposes), 'purpose')} for {some(len(p.catalogue.agents), 'agent')}"
    return on(said + (f"; {some(len(idle), 'agent')} may do nothing: no purpose names them" if idle else ""))


def _scope(p: Present) -> Standing:
    if not p.catalogue.purposes:
        return off("no purpose is in force, so there is no scope")
    rules = [(name, rule) for name, one in sorted(p.catalogue.purposes.items()) for rule in one.grants]
    wide = [f"{rule.tool} in {name}" for name, rule in rules if _unbounded(p, rule)]
    return each(
        wide, len(rules), "granted for every resource there is", f"{some(len(rules), 'grant')}, none for everything"
    )


def _unbounded(p: Present, rule: GrantRule) -> bool:
    tool = p.catalogue.tools.get(rule.tool)
    bounded = rule.resource not in ("*", "**") or rule.one_of or rule.between or rule.matching or rule.sources
    return not bounded and tool is not None and "{" in tool.resource


def _budgets(p: Present) -> Standing:
    purposes = p.catalogue.purposes
    if not purposes:
        return off("no purpose is in force, so there is no budget")
    longest, most = max(one.max_duration for one in purposes.values()), max(one.max_calls for one in purposes.values())
    said = f"no task lasts longer than {longest // 60_000:,} minutes or makes more than {most:,} calls"
    return each(p.purposes(lambda one: one.max_duration > DAY), len(purposes), "tasks may last longer than a day", said)


def _holds(p: Present) -> Standing:
    if not p.holding:
        return off("no policy makes anything wait for a person")
    said = f"held for people by {', '.join(info.id for info in p.holding[:20])}"
    return each(p.watched, len(p.catalogue.purposes), "held calls happen all the same, under the profile watch", said)


def _approvals(p: Present) -> Standing:
    if not p.holding:
        return off("no policy makes anything wait for a person, so nobody is asked")
    alone = [info.id for info in p.holding if len(_who(p, info)) < info.quorum]
    return each(
        alone, len(p.holding), "too few people are there who may answer", "there are people for all that may be held"
    )


def _who(p: Present, info: PolicyInfo) -> set[str]:
    """Who may answer what this policy holds; an owner is any agent's."""
    here = {name: {name, *one.groups} for name, one in p.catalogue.people.items() if name not in p.gone}
    owners = {one.owner for one in p.catalogue.agents.values()} & here.keys()
    return {n for n, names in here.items() if names & set(info.approvers)} | (
        owners if "owner" in info.approvers else set()
    )


def _passkeys(p: Present) -> Standing:
    lacking = p.purposes(lambda one: not one.approval.passkey)
    if not p.catalogue.purposes:
        return off("no purpose is in force, so nothing asks for a passkey")
    return each(
        lacking, len(p.catalogue.purposes), "a yes needs no passkey in", "every yes must be signed by a passkey"
    )


def _escalation(p: Present) -> Standing:
    if not p.catalogue.purposes:
        return off("no purpose is in force, so nobody is asked")
    lacking = p.purposes(lambda one: not one.approval.escalate_after)
    if p.catalogue.tells and not lacking:
        return on("people are told that they are asked, and others are asked when they do not answer")
    said = "people are told that they are asked" if p.catalogue.tells else "nobody is told that they are asked"
    if lacking and len(lacking) == len(p.catalogue.purposes) and not p.catalogue.tells:
        return off(f"{said}, and nobody else is asked when they do not answer")
    return partly(f"{said}; nobody else is asked when they do not answer in {', '.join(lacking[:20]) or 'no purpose'}")


def _tool_review(p: Present) -> Standing:
    tools = p.catalogue.tools
    if not tools:
        return off("no tool is in the catalogue")
    loose = [name for name, one in sorted(tools.items()) if not one.pin and one.http is None]
    return each(
        loose, len(tools), "not pinned to the description that was reviewed", f"{some(len(tools), 'tool')}, all pinned"
    )


def _origins(p: Present) -> Standing:
    asks = [
        i.id for i in p.policies if i.effect == "forbid" and any(path[:1] in _ORIGINS for path in context_reads(i.body))
    ]
    if not asks:
        return off("no policy asks where values came from, or what a task has read")
    return each(
        p.watched,
        len(p.catalogue.purposes),
        "seen but not enforced, under the profile watch",
        f"asked by {', '.join(asks[:20])}",
    )


def _delegation(p: Present) -> Standing:
    if not p.catalogue.purposes:
        return off("no purpose is in force, so nothing can be handed on")
    handing = p.purposes(lambda one: bool(one.delegations) and one.max_depth > 0)
    if not handing:
        return on("no purpose lets a task be handed on")
    loops = p.purposes(_loops)
    said = f"handed on only as {', '.join(handing[:20])} say: to named agents, narrowed, so many levels deep"
    return partly(f"an agent may come twice in a chain in {', '.join(loops)}") if loops else on(said)


def _loops(purpose: Purpose) -> bool:
    return any(rule.again for rule in purpose.delegations)


def _environments(p: Present) -> Standing:
    named = sorted(p.catalogue.environments - {""})
    if len(named) < 2:
        only = f"only the environment {named[0]}" if named else "no environment"
        return off(f"the catalogue knows {only}: nothing is kept apart")
    across = p.purposes(lambda one: len(set(one.environments) & set(named)) > 1)
    return each(
        across,
        len(p.catalogue.purposes),
        "tasks may work in several environments",
        f"{', '.join(named)} are kept apart",
    )


def _enforcement(p: Present) -> Standing:
    seen = {name: grade for name, grade in p.grades.items() if grade}
    if not seen:
        return off("no agent was seen to act lately")
    loose = sorted(name for name, grade in seen.items() if grade == "hook")
    said = f"{some(len(seen), 'agent')} seen lately, all held from outside their process"
    return each(loose, len(seen), "asked by the agent's own process, which is advice if that was taken over", said)


def serving(name: str) -> Mechanism:
    """The policies that say, by an annotation, that they serve this control."""

    def now(p: Present) -> Standing:
        found = [info.id for info in p.policies if info.control == name]
        if not found:
            return off(f'no policy in force says @control("{name}")')
        return each(
            p.watched,
            len(p.catalogue.purposes),
            "not enforced under the profile watch",
            f"policies {', '.join(found[:20])}",
        )

    return Mechanism(f"policies:{name}", f"Policies that serve {name} hold or deny calls.", (control(name),), now)


_CHANGED = (Reason.TOOL_CHANGED, Reason.TOOL_UNKNOWN, Reason.BAD_ARGUMENTS)
MECHANISMS = (
    Mechanism(
        "decisions",
        "Every call of an agent is decided when it is attempted; what nothing permits is denied.",
        (decided("permit"), decided("hold"), decided("deny")),
        _decisions,
    ),
    Mechanism(
        "tasks",
        "An agent can do nothing, and hold nothing, without an open task of a reviewed purpose.",
        (happened("TaskProposed"), happened("ProposalDenied")),
        _tasks,
    ),
    Mechanism(
        "scope",
        "A task may touch only the tools, resources and arguments that its purpose grants; that only narrows.",
        (refused(Reason.OUT_OF_SCOPE.value),),
        _scope,
    ),
    Mechanism(
        "budgets",
        "A task ends in time and may make so many calls.",
        (refused(Reason.BUDGET_SPENT.value), refused(Reason.TASK_EXPIRED.value)),
        _budgets,
    ),
    Mechanism("holds", "What policies name waits until a person agrees.", (decided("hold"),), _holds),
    Mechanism(
        "approvals",
        "A person says yes or no to exactly what was shown, once, and never to something of their own.",
        (happened("ApprovalAnswered"), happened("ApprovalExpired")),
        _approvals,
    ),
    Mechanism("passkeys", "A yes is signed by the person's own passkey.", (SIGNED,), _passkeys),
    Mechanism(
        "escalation",
        "People are told that they are asked, and others are asked when they do not answer.",
        (happened("NoticeSent"), happened("ApprovalEscalated")),
        _escalation,
    ),
    Mechanism(
        "tool-review",
        "A tool is called only as it was reviewed: known, unchanged, with arguments that fit.",
        tuple(refused(reason.value) for reason in _CHANGED),
        _tool_review,
    ),
    Mechanism(
        "origins",
        "What a task has read, and where the values in a call came from, decides what it may still do.",
        (happened("ResultObserved"),),
        _origins,
    ),
    Mechanism(
        "delegation",
        "Work is handed on only to whom the purpose names, narrowed, and ends with what is above it.",
        (happened("TaskDelegated"), happened("DelegationDenied")),
        _delegation,
    ),
    Mechanism(
        "environments",
        "Environments are kept apart; one that is frozen is changed by nobody.",
        (refused(Reason.ENVIRONMENT_FROZEN.value),),
        _environments,
    ),
    Mechanism(
        "enforcement",
        "Agents are held to decisions from outside: by an enforcement point, or by a credential for one task.",
        (happened("LeaseReserved"),),
        _enforcement,
    ),
)
