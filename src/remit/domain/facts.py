"""What a policy is told, built in one place so that no caller can add to it or leave something out."""

from __future__ import annotations

from collections.abc import Mapping

from .chain import Chain
from .decision import Facts
from .flow import Json, Label
from .identity import Agent
from .origin import Provenance, word
from .purpose import CredentialRule, Profile, Purpose
from .task import Task
from .tool import Tool

_HOUR = 3_600_000
_DAY = 24 * _HOUR


def _context(
    agent: Agent,
    profile: Profile,
    chain: Chain,
    label: Label,
    environment: str,
    calls: int,
    resource: str,
    now: int,
    posture: tuple[str, ...],
) -> dict[str, str | bool | int | tuple[str, ...]]:
    return {
        "tier": agent.tier.value,
        "chain_depth": chain.depth,
        "initiator_kind": chain.initiator.kind.value,
        "trust": label.trust.word,
        "label_sensitivity": label.sensitivity.word,
        "label_rank": int(label.sensitivity),
        "environment": environment,
        "calls": calls,
        "resource": resource,
        "origin": "none",
        "carries": "none",
        "expected": True,
        "repeats": 0,
        "profile": profile.of(agent.tier).value,
        "posture": posture,
        "hour": now % _DAY // _HOUR,
        "weekday": (now // _DAY + 3) % 7,  # 1970-01-01 was a Thursday; Monday is 0
    }


def of_proposal(
    agent: Agent, purpose: Purpose, chain: Chain, label: Label, now: int, posture: tuple[str, ...]
) -> Facts:
    """Facts of asking for a task."""
    return Facts(
        agent.name,
        agent.tier.value,
        agent.owner,
        purpose.name,
        "propose",
        "Purpose",
        purpose.name,
        {"owner": purpose.owner},
        _context(agent, purpose.profile, chain, label, "", 0, purpose.name, now, posture),
    )


def of_credential(
    agent: Agent, purpose: Purpose, task: Task, rule: CredentialRule, now: int, posture: tuple[str, ...]
) -> Facts:
    """Facts of asking for a credential."""
    return Facts(
        agent.name,
        agent.tier.value,
        agent.owner,
        task.purpose,
        "issue",
        "Credential",
        rule.name,
        {
            "issuer": rule.issuer,
            "environment": rule.environment,
            "sensitivity": rule.sensitivity.word,
            "sensitivity_rank": int(rule.sensitivity),
            "reveal": rule.reveal,
        },
        _context(agent, purpose.profile, task.chain, task.label, rule.environment, task.calls, rule.name, now, posture),
    )


def of_call(
    agent: Agent,
    purpose: Purpose,
    task: Task,
    tool: Tool,
    resource: str,
    arguments: Mapping[str, Json],
    provenance: Provenance,
    now: int,
    posture: tuple[str, ...],
) -> Facts:
    """Facts of calling a tool."""
    moment = _context(
        agent, purpose.profile, task.chain, task.label, tool.environment, task.calls, resource, now, posture
    )
    moment |= {
        "origin": word(provenance.worst),
        "carries": word(provenance.carried),
        "expected": tool.plausible(task.goal),
        "repeats": task.uses.get(tool.name, 0),
    }
    return Facts(
        agent.name,
        agent.tier.value,
        agent.owner,
        task.purpose,
        tool.name,
        "Tool",
        tool.name,
        {
            "effect": tool.effect.word,
            "sensitivity": tool.sensitivity.word,
            "sensitivity_rank": int(tool.sensitivity),
            "environment": tool.environment,
            "egress": tool.egress,
            "server": tool.server,
        },
        moment,
        arguments,
        {name: provenance.arguments[name].origin.word for name in tool.decisive() if name in provenance.arguments},
    )
