"""The playground: what would be decided, why, and what an edited policy would have decided of what was. It applies
nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call
from remit.domain.catalogue import CatalogueFiles
from remit.domain.decision import Facts, word
from remit.domain.errors import BadField, Malformed, Refusal, StoreUnavailable, TooLarge
from remit.domain.flow import Sensitivity
from remit.domain.tool import Tool
from remit.formats import form, json_input
from remit.govern.replay import replay
from remit.policy import default_policy
from remit.policy.cases import facts_of
from remit.ports import InForce
from remit.verbs.apply import plan
from remit.web.house import Asked, House

from .page import answered

LONGEST = 40_000  # characters of a policy file that can be edited here
MOST = 500  # decisions asked about again
TIME = 5.0
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "trust": ("trusted", "untrusted"),
    "sensitivity": tuple(one.word for one in Sensitivity),
    "origin": ("stated", "trusted", "invented", "untrusted", "none"),
    "carries": ("none", "stated", "trusted", "invented", "untrusted"),
    "initiator": ("person", "agent", "event"),
    "expected": ("yes", "no"),
}
NUMBERS = ("repeats", "calls", "hops")
FIELDS = ("agent", "purpose", "tool", "arguments", *OPTIONS, *NUMBERS, "file", "policy", "decisions")
QUERY = ("agent", "purpose", "tool", "file")
_DEFAULT = "policies/default.cedar"


async def read(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """The form, with an ordinary moment in it."""
    given = {name: asked.query.get(name, "") for name in QUERY}
    _, force = await house.env.in_force()
    tools = force.catalogue.tools
    chosen = given["tool"] or "".join(sorted(tools)[:1])
    example = json.dumps(_example(tools[chosen])) if chosen in tools else "{}"
    return await _shown(house, {**given, "arguments": example, "decisions": "200"}, None)


def _example(tool: Tool) -> dict[str, Any]:
    """Arguments of the right types, to be made the right ones."""
    some = {"integer": 1, "boolean": False, "array": [], "object": {}}
    properties: Any = tool.schema.get("properties", {})
    return {
        name: some.get(str(schema.get("type")), "1") for name, schema in properties.items() if isinstance(schema, dict)
    }


async def attempt(house: House, call: Call, asked: Asked) -> Response:
    """The form, and what came of it."""
    fields = form.parse(asked.body)
    form.one(fields, "file")  # our page always says which
    given = {name: form.one(fields, name, required=False).replace("\r\n", "\n") for name in FIELDS}
    try:
        found = await _found(house, given)
    except (Malformed, TooLarge) as bad:
        found = {"error": bad.message, "next": bad.next_step}
    return answered(house, call, asked, "playground.html", "Playground", await _shown(house, given, found))


async def _shown(house: House, given: dict[str, str], found: dict[str, Any] | None) -> dict[str, Any]:
    head, force = await house.env.in_force()
    policies = await _policies(house, head.digest)
    file = given.get("file") or _DEFAULT
    text = policies.get(file, "")
    return {
        "given": {**dict.fromkeys(FIELDS, ""), **given, "file": file, "policy": given.get("policy") or text},
        "too_long": len(text) > LONGEST,
        "files": sorted(policies),
        "agents": sorted(force.catalogue.agents),
        "purposes": sorted(force.catalogue.purposes),
        "tools": sorted(force.catalogue.tools),
        "options": OPTIONS,
        "numbers": NUMBERS,
        "most": MOST,
        "found": found,
    }


async def _policies(house: House, digest: str) -> dict[str, str]:
    """Every policy file in force, the shipped one too where none takes its place."""
    files = await house.env.store.get(CatalogueFiles, digest)
    if files is None:
        raise StoreUnavailable("The catalogue in force cannot be read.", inside=digest)
    return {_DEFAULT: default_policy(), **{name: text for name, text in files.files if name.endswith(".cedar")}}


async def _found(house: House, given: Mapping[str, str]) -> dict[str, Any]:
    head, force = await house.env.in_force()
    policies = await _policies(house, head.digest)
    file, text = given["file"], given["policy"]
    if file not in policies or len(text) > LONGEST:
        raise BadField("file" if file not in policies else "policy", "must be one of those that can be edited here")
    edited = bool(text) and text.strip() != policies[file].strip()
    candidate = force
    if edited:
        whole = await house.env.store.get(CatalogueFiles, head.digest)
        planned = await plan(house.env, {**dict(whole.files if whole else ()), file: text}, house.clock(), limit=0)
        candidate = planned.candidate
    facts = _facts(force, given)
    before, after = force.bundle.explain(facts), candidate.bundle.explain(facts)
    return {
        "error": "",
        "was": word(before.decision),
        "decision": word(after.decision),
        "why": [{**asdict(why), "reason": why.reason.value} for why in after.decision.why],
        "considered": list(after.considered),
        "decided": list(after.first),
        "as_if_approved": list(after.as_if_approved),
        "reads": list(after.reads),
        "notes": _notes(force, given),
        "edited": edited,
        "replay": await _replayed(house, candidate, given) if edited else None,
    }


async def _replayed(house: House, candidate: InForce, given: Mapping[str, str]) -> dict[str, Any] | None:
    """What of the newest decisions would be another; nothing when none were asked for."""
    decisions = _whole(given, "decisions", MOST)
    if not decisions:
        return None
    try:
        async with asyncio.timeout(TIME):
            return asdict(await replay(house.env, house.log, candidate, decisions=decisions))
    except TimeoutError as slow:
        raise BadField("decisions", f"take longer than {TIME:.0f} s to ask about; ask about fewer") from slow


def _facts(force: InForce, given: Mapping[str, str]) -> Facts:
    """Facts of this call, by this agent, at this moment."""
    catalogue = force.catalogue
    for name, known in (("tool", catalogue.tools), ("agent", catalogue.agents), ("purpose", catalogue.purposes)):
        if given[name] not in known:
            raise BadField(name, "must be one of the catalogue's")
    tool, agent = catalogue.tools[given["tool"]], catalogue.agents[given["agent"]]
    moment = {name: given[name] or options[0] for name, options in OPTIONS.items()}
    for name, options in OPTIONS.items():
        if moment[name] not in options:
            raise BadField(name, f"must be {', '.join(options)}")
    arguments = json_input.parse((given["arguments"] or "{}").encode(), limit=LONGEST)
    if not isinstance(arguments, dict):
        raise BadField("arguments", "must be a JSON object")
    context = {
        "trust": moment["trust"],
        "label_sensitivity": moment["sensitivity"],
        "label_rank": int(Sensitivity[moment["sensitivity"].upper()]),
        "origin": moment["origin"],
        "carries": moment["carries"],
        "initiator_kind": moment["initiator"],
        "expected": moment["expected"] == "yes",
        "repeats": _whole(given, "repeats", 10_000),
        "calls": _whole(given, "calls", 1_000_000),
        "chain_depth": _whole(given, "hops", 100),
        "resource": _resource(force, given["tool"], arguments) or tool.name,
        "profile": catalogue.purposes[given["purpose"]].profile.of(agent.tier).value,
    }
    who = {"agent": agent.name, "tier": agent.tier.value, "owner": agent.owner, "purpose": given["purpose"]}
    entry = {**who, "tool": tool.name, "arguments": arguments, "context": context}
    origins = {name: moment["origin"] for name in tool.decisive() if name in arguments and moment["origin"] != "none"}
    return replace(facts_of(entry, catalogue.tools), origins=origins)


def _resource(force: InForce, tool: str, arguments: dict[str, Any]) -> str:
    try:
        return force.catalogue.tools[tool].resource_of(arguments)
    except Refusal:
        return ""


def _notes(force: InForce, given: Mapping[str, str]) -> list[str]:
    """What else would be refused before any policy is asked."""
    purpose, tool = force.catalogue.purposes[given["purpose"]], force.catalogue.tools[given["tool"]]
    arguments: Any = json_input.parse((given["arguments"] or "{}").encode(), limit=LONGEST)
    notes = []
    if given["agent"] not in purpose.agents:
        notes.append(f"{purpose.name} is not for {given['agent']}, so it could have no such task.")
    if all(grant.tool != tool.name for grant in purpose.grants):
        notes.append(f"{purpose.name} does not grant {tool.name}, so this would be denied before any policy is asked.")
    try:
        tool.resource_of(arguments)
        unfit = [f"{path} {what}" for path, what in force.schemas[tool.name].problems(arguments)]
    except Refusal as bad:
        unfit = [bad.message]
    if unfit:
        notes.append(
            "The arguments do not fit, so this would be denied before any policy is asked: " + "; ".join(unfit)
        )
    return notes


def _whole(given: Mapping[str, str], name: str, most: int) -> int:
    text = given[name] or "0"
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or int(text) > most:
        raise BadField(name, f"must be a whole number of at most {most}")
    return int(text)
