"""Decisions in process: flat from 10 to 10,000 policies, remembered (warm) and not (cold), beside plain Cedar."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import cedarpy
from measure import emit, timed

from remit.domain.flow import Sensitivity
from remit.domain.tool import Effect, Tool
from remit.policy import compile_bundle
from remit.policy.cases import facts_of

TOOLS = {
    f"tool{i}": Tool(f"tool{i}", "", Effect.READ, Sensitivity.INTERNAL, "production", f"tool{i}") for i in range(100)
}


def policies(count: int) -> str:
    """One permit for each (agent, tool) of a task, as an operator's generator would write them, and one hold."""
    rules = [
        f'@id("p{i}") permit (principal == Remit::Agent::"agent{i // 100}", action == Remit::Action::"tool{i % 100}", resource)'
        ' when { context.environment == "production" && context.calls < 100000 };'
        for i in range(count - 1)
    ]
    hold = '@id("hold") @approvers("x") forbid (principal, action, resource) when { context.label_rank > 2 } unless { context.approved };'
    return "\n".join([hold, *rules])


def main() -> None:
    """10 to 10,000."""
    for count in (10, 100, 1_000, 10_000):
        text = policies(count)
        bundle = compile_bundle({"p.cedar": text}, TOOLS, with_default=False)
        facts = replace(facts_of({"name": "x", "tool": "tool3"}, TOOLS), agent="agent0")
        assert type(bundle.verdict(facts)).__name__ == "Permit"
        warm = timed(lambda: bundle.verdict(facts), 5_000)
        emit("decision.inproc", "remit", count, warm, len(warm) / sum(warm), "remembered verdict")
        numbers = itertools.count(1)
        cold = timed(lambda: bundle.verdict(replace(facts, context={**facts.context, "calls": next(numbers)})), 1_000)
        emit("decision.inproc", "remit-cold", count, cold, len(cold) / sum(cold), "never seen before, slice compiled")
        whole, schema = cedarpy.PolicySet.from_str(text), cedarpy.Schema.from_str(bundle.schema_text)
        agent = {
            "uid": {"type": "Remit::Agent", "id": "agent0"},
            "attrs": {"tier": "assistant", "owner": "o"},
            "parents": [],
        }
        tool = {"uid": {"type": "Remit::Tool", "id": "tool3"}, "attrs": dict(facts.attributes), "parents": []}
        entities = cedarpy.Entities.from_json_str(json.dumps([agent, tool]))
        context = json.dumps({**facts.context, "approved": False, "arguments": {}})
        request = {
            "principal": agent["uid"],
            "action": {"type": "Remit::Action", "id": "tool3"},
            "resource": tool["uid"],
            "context": context,
        }
        plain = timed(lambda: cedarpy.is_authorized(request, whole, entities, schema), 500 if count < 10_000 else 50)
        emit(
            "decision.inproc",
            "cedarpy-whole",
            count,
            plain,
            len(plain) / sum(plain),
            "all policies, parsed once, no slices",
        )


main()
