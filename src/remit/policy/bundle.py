"""A compiled policy bundle: facts in, one decision out.

Two looks tell Hold from Deny: one as things are, one as if approved. An access is held when approval is
all it lacks. Cedar skips a `forbid` that errors and would answer Allow, so the schema is always passed and
any diagnostic error denies (law 3).

The verdict depends on the agent, the purpose, the action, the resource and the context paths that the
slice's policies read, and on nothing else; it is remembered under exactly those.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import cedarpy

from remit.domain.decision import Decision, Deny, Facts, Hold, Permit, Reason, Requirement, Why, combine
from remit.domain.errors import BadPolicy
from remit.domain.tool import Tool

from . import model
from .reading import PolicyInfo, default_policy, read
from .slices import Bounded, Path, Slice, Slices, context_reads

_MEMO = 65_536
_OF_THE_CALL = {(), ("arguments",), ("origins",), ("resource",)}
_UNEVALUATED = "A policy could not be evaluated, so this is denied."


@dataclass(frozen=True)
class Look:
    """One evaluation: allowed or not, the determining policies, and any error at all."""

    allowed: bool
    determining: tuple[PolicyInfo, ...]
    errors: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """Everything about one verdict: what could match, both looks, and what was read."""

    decision: Decision
    considered: tuple[str, ...]
    first: tuple[str, ...]
    as_if_approved: tuple[str, ...]
    reads: tuple[str, ...]


class Bundle:
    """Immutable once compiled. `revision` names exactly these texts and this schema; `asks_posture`: a policy does."""

    def __init__(self, policies: tuple[PolicyInfo, ...], schema: str, tools: Mapping[str, Tool], revision: str) -> None:
        self.policies = policies
        self.schema_text = schema
        self.revision = revision
        self._schema = cedarpy.Schema.from_str(schema)
        self._arguments = {name: model.arguments_of(tool) for name, tool in tools.items()}
        self._slices = Slices(policies)
        self.asks_posture = any(
            path[:1] in ((), ("posture",)) for info in policies for path in context_reads(info.body)
        )
        self._by_id = {info.id: info for info in policies}
        self._memo: Bounded[tuple[Any, ...], Decision] = Bounded(_MEMO)
        self._entities: Bounded[tuple[Any, ...], cedarpy.Entities] = Bounded(_MEMO)

    def verdict(self, facts: Facts) -> Decision:
        """Permit, Hold or Deny, without any approval."""
        if not self.policies:
            return Deny((Why(Reason.POLICY_ABSENT, "No policy is in force."),))
        try:
            context = self._context(facts)
            found = self._slices.of(facts)
            key: tuple[Any, ...] = (facts.agent, facts.tier, facts.owner, facts.purpose, facts.action)
            key += (facts.resource_type, facts.resource, *facts.attributes.values())
            key += (id(found), *(_freeze(_at(context, path)) for path in found.reads))
            known = self._memo.get(key)
            if known is None:
                known = self._evaluate(facts, found, context)
                self._memo.put(key, known)
            return known
        except Exception:  # whatever it is, it denies (law 3)
            return Deny((Why(Reason.POLICY_ERROR, _UNEVALUATED),))

    def verdict_of_any(self, facts: Facts) -> Decision | None:
        """The verdict whatever the call's arguments, their origins and its resource are; None when a policy asks."""
        if any(path[:1] in _OF_THE_CALL for path in self._slices.of(facts).reads):
            return None
        some = {name: argument.some for name, argument in self._arguments[facts.action].items() if argument.required}
        return self.verdict(replace(facts, arguments=some, origins={}))

    def explain(self, facts: Facts) -> Explanation:
        """Say how the verdict comes about; nothing is remembered."""
        decision = self.verdict(facts)
        try:
            context = self._context(facts)
        except model.Unfit:
            return Explanation(decision, (), (), (), ())
        found = self._slices.of(facts)
        first = self._look(facts, found, {**context, "approved": False})
        second = self._look(facts, found, {**context, "approved": True})
        return Explanation(
            decision,
            tuple(info.id for info in found.policies),
            tuple(info.id for info in first.determining),
            tuple(info.id for info in second.determining),
            tuple(sorted(".".join(path) or "context" for path in found.reads)),
        )

    def _context(self, facts: Facts) -> dict[str, Any]:
        model.checked(facts.context, model.MOMENT)
        model.checked(facts.attributes, model.ATTRIBUTES[facts.resource_type])
        context: dict[str, Any] = dict(facts.context)
        if facts.resource_type == "Tool":
            context["arguments"] = model.converted(facts, self._arguments[facts.action])
            context["origins"] = dict(facts.origins)
        return context

    def _evaluate(self, facts: Facts, found: Slice, context: Mapping[str, Any]) -> Decision:
        first = self._look(facts, found, {**context, "approved": False})
        if first.allowed:
            return Permit(_permits(first))
        second = self._look(facts, found, {**context, "approved": True})
        if first.errors or second.errors:
            return Deny((Why(Reason.POLICY_ERROR, _UNEVALUATED),))
        lifted = all(info.approvers for info in first.determining)
        if first.determining and lifted and second.allowed:
            return combine(
                Hold((_why(info, facts, Reason.NEEDS_APPROVAL),), (Requirement(info.approvers, info.quorum),))
                for info in first.determining
            )
        blocking = [info for info in second.determining if info.effect == "forbid"] or list(first.determining)
        if not blocking:
            return Deny((Why(Reason.POLICY_SILENT, "No policy permits this."),))
        return Deny(tuple(_why(info, facts, Reason.POLICY_FORBIDS) for info in blocking))

    def _look(self, facts: Facts, found: Slice, context: Mapping[str, Any]) -> Look:
        request = {
            "principal": {"type": "Remit::Agent", "id": facts.agent},
            "action": {"type": "Remit::Action", "id": facts.action},
            "resource": {"type": f"Remit::{facts.resource_type}", "id": facts.resource},
            "context": json.dumps(context),
        }
        result = cedarpy.is_authorized(request, found.compiled, self._entities_of(facts), self._schema)
        errors = tuple(result.diagnostics.errors)
        if result.decision is cedarpy.Decision.NoDecision and not errors:
            errors = ("no decision",)
        determining = tuple(self._by_id[name] for name in sorted(result.diagnostics.reasons))
        return Look(result.allowed and not errors, determining, errors)

    def _entities_of(self, facts: Facts) -> cedarpy.Entities:
        key: tuple[Any, ...] = (
            facts.agent,
            facts.tier,
            facts.owner,
            facts.purpose,
            facts.resource_type,
            facts.resource,
        )
        key += tuple(facts.attributes.values())
        known = self._entities.get(key)
        if known is None:
            purpose = {"type": "Remit::Purpose", "id": facts.purpose}
            agent = {"tier": facts.tier, "owner": facts.owner}
            resource = {"type": f"Remit::{facts.resource_type}", "id": facts.resource}
            entities = [
                {"uid": {"type": "Remit::Agent", "id": facts.agent}, "attrs": agent, "parents": [purpose]},
                {"uid": resource, "attrs": dict(facts.attributes), "parents": []},
            ]
            known = cedarpy.Entities.from_json_str(json.dumps(entities), self._schema)
            self._entities.put(key, known)
        return known


def _permits(look: Look) -> tuple[Why, ...]:
    return tuple(Why(Reason.WITHIN_POLICY, "A policy permits this.", p.id, p.control) for p in look.determining)


def _why(info: PolicyInfo, facts: Facts, reason: Reason) -> Why:
    words = {"tool": facts.resource, "agent": facts.agent, "purpose": facts.purpose, **facts.context}
    said = info.says or "Policy " + info.id + " forbids {tool}"
    for name, value in words.items():
        said = said.replace("{" + name + "}", str(value))
    if reason is Reason.NEEDS_APPROVAL:
        some = f"{info.quorum} of " if info.quorum > 1 else ""
        groups = " or ".join(f"{facts.agent}'s owner" if g == "owner" else g for g in info.approvers)
        said += f"; {some}{groups} must agree"
    return Why(reason, said.rstrip(".") + ".", info.id, info.control)


def _at(context: Mapping[str, Any], path: Path) -> Any:
    value: Any = context
    for step in path:
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return value


def _freeze(value: Any) -> Any:
    """A hashable stand-in that keeps True apart from 1."""
    if isinstance(value, str | int) or value is None:
        return (type(value), value)
    return json.dumps(value, sort_keys=True)


def compile_bundle(policies: Mapping[str, str], tools: Mapping[str, Tool], *, with_default: bool = True) -> Bundle:
    """Compile and strictly validate; raises `BadPolicy` and then nothing has changed.

    The shipped default is part of every bundle unless a file named `default.cedar` takes its place.
    """
    files = dict(policies)
    if with_default:
        files.setdefault("policies/default.cedar", default_policy())
    schema = model.schema_text(tools)
    try:
        cedarpy.Schema.from_str(schema)
    except ValueError as bad:
        raise BadPolicy(f"The tools' schemas cannot be typed for policies: {str(bad)[:300]}") from bad
    revision = sha256(json.dumps([sorted(files.items()), schema]).encode()).hexdigest()
    return Bundle(read(files, schema), schema, tools, "sha256:" + revision)
