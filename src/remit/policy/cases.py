"""Tests a policy author writes: given this task and access, expect this decision, because of this policy.

[[case]]
name = "paying is held"
tool = "payments.send"            # or action = "propose" | "issue", with resource = "…"
arguments = { invoice = 17, amount = "120.00" }
expect = "hold"
because = "irreversible-needs-a-person"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from remit.domain.decision import Facts, word
from remit.domain.errors import BadCatalogue
from remit.domain.flow import Json
from remit.domain.identity import Tier
from remit.domain.purpose import Profile
from remit.domain.tool import Tool

from .bundle import Bundle

_KEYS = {
    "name": str,
    "agent": str,
    "owner": str,
    "tier": str,
    "purpose": str,
    "action": str,
    "tool": str,
    "resource": str,
    "attributes": dict,
    "context": dict,
    "arguments": dict,
    "expect": str,
    "because": str,
}


@dataclass(frozen=True)
class Case:
    """One expectation; `because` empty does not care which policy decided."""

    name: str
    facts: Facts
    expect: str
    because: str = ""


@dataclass(frozen=True)
class CaseResult:
    """What came out; `ok` when it is what was expected."""

    case: Case
    decision: str
    policies: tuple[str, ...]
    sentences: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """The decision, and the policy when one was named."""
        named = not self.case.because or self.case.because in self.policies
        return self.decision == self.case.expect and named


def parse_cases(file: str, text: str, tools: Mapping[str, Tool]) -> tuple[Case, ...]:
    """Parse a case file; `BadCatalogue` names file, line and the nearest known key."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as bad:
        raise BadCatalogue(file, 1, f"not TOML: {bad}") from bad
    entries = document.get("case", [])
    if set(document) - {"case"} or not isinstance(entries, list):
        raise BadCatalogue(file, 1, "a case file holds [[case]] entries and nothing else")
    starts = [n for n, line in enumerate(text.splitlines(), 1) if line.strip() == "[[case]]"] or [1] * len(entries)
    return tuple(_case(file, line, entry, tools) for line, entry in zip(starts, entries, strict=False))


def _case(file: str, line: int, entry: Mapping[str, Any], tools: Mapping[str, Tool]) -> Case:
    for key, value in entry.items():
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(_KEYS)}"
            raise BadCatalogue(file, line, f"unknown key {key!r}; {hint}")
        if not isinstance(value, _KEYS[key]):
            raise BadCatalogue(file, line, f"{key} is not {_KEYS[key].__name__}")
    name, expect = entry.get("name", ""), entry.get("expect", "")
    if not name or expect not in ("permit", "hold", "deny"):
        raise BadCatalogue(file, line, "a case needs a name, and expect = permit, hold or deny")
    if ("tool" in entry) == ("action" in entry):
        raise BadCatalogue(file, line, f"case {name!r} needs either tool or action (propose, issue)")
    if "tool" in entry and entry["tool"] not in tools:
        near = get_close_matches(entry["tool"], tools, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise BadCatalogue(file, line, f"case {name!r}: there is no tool {entry['tool']!r}{hint}")
    if "action" in entry and entry["action"] not in ("propose", "issue"):
        raise BadCatalogue(file, line, f"case {name!r}: action is propose or issue; for a call say tool")
    return Case(name, facts_of(entry, tools), expect, entry.get("because", ""))


def facts_of(entry: Mapping[str, Any], tools: Mapping[str, Tool]) -> Facts:
    """Facts of an ordinary moment, with what the entry says otherwise."""
    tier, owner, purpose = (
        entry.get("tier", "assistant"),
        entry.get("owner", "owner"),
        entry.get("purpose", "purpose"),
    )
    arguments: Mapping[str, Json] = entry.get("arguments", {})
    environment = "production"
    if "tool" in entry:
        tool = tools[entry["tool"]]
        action, kind, resource, environment = tool.name, "Tool", tool.name, tool.environment
        attributes: dict[str, Any] = {
            "effect": tool.effect.word,
            "sensitivity": tool.sensitivity.word,
            "sensitivity_rank": int(tool.sensitivity),
            "environment": tool.environment,
            "egress": tool.egress,
            "server": tool.server,
        }
    elif entry["action"] == "propose":
        action, kind, resource, attributes = "propose", "Purpose", purpose, {"owner": owner}
    else:
        action, kind, resource = "issue", "Credential", entry.get("resource", "credential")
        attributes = {
            "issuer": "issuer",
            "environment": environment,
            "sensitivity": "internal",
            "sensitivity_rank": 1,
            "reveal": False,
        }
    context = {
        "tier": tier,
        "chain_depth": 0,
        "initiator_kind": "person",
        "trust": "trusted",
        "label_sensitivity": "public",
        "label_rank": 0,
        "environment": environment,
        "calls": 0,
        "resource": resource,
        "origin": "invented",
        "carries": "none",
        "expected": True,
        "repeats": 0,
        "profile": Profile.BY_TIER.of(Tier(tier)).value if tier in {t.value for t in Tier} else "",
        "posture": (),
        "hour": 12,
        "weekday": 2,
        **entry.get("context", {}),
    }
    if isinstance(context["posture"], list):
        context["posture"] = tuple(context["posture"])
    attributes |= entry.get("attributes", {})
    agent = entry.get("agent", "agent")
    return Facts(agent, tier, owner, purpose, action, kind, resource, attributes, context, arguments)


def run_cases(bundle: Bundle, cases: Sequence[Case]) -> tuple[CaseResult, ...]:
    """Decide every case."""
    results: list[CaseResult] = []
    for case in cases:
        decision = bundle.verdict(case.facts)
        policies = tuple(why.policy for why in decision.why if why.policy)
        results.append(CaseResult(case, word(decision), policies, tuple(why.sentence for why in decision.why)))
    return tuple(results)
