"""The people's side of the first-party API: the catalogue, keys, what exists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from starlette.responses import Response

from remit.domain.caller import KEYED, AccessKey, Call, CallerKind
from remit.domain.catalogue import Catalogue, CatalogueFiles
from remit.domain.errors import Absent, BadField, StoreUnavailable
from remit.domain.freeze import Reach
from remit.domain.identity import Agent, Identity
from remit.domain.lease import Lease, LeaseState
from remit.domain.purpose import Purpose
from remit.domain.succession import Succession, SuccessionState
from remit.domain.tool import Tool
from remit.govern.enforcement import enforcement
from remit.govern.replay import replay as replay_decisions
from remit.verbs import admit as admit_verb
from remit.verbs import apply as apply_verb
from remit.verbs.attest import invite as invite_verb
from remit.verbs.vouch import speak_for

from . import api_reach, shapes, shapes_accountability, shapes_context
from .etags import etag, if_match
from .house import Asked, House
from .problems import json_response

_YEAR = 366 * 86_400_000


def _page(items: list[Any], key: str) -> Response:
    return json_response({"items": items, "next": key})


async def subject_token(house: House, call: Call, asked: Asked) -> Response:
    """A token that names the caller as the initiator of one task of this agent."""
    wanted = asked.json(shapes.SubjectTokenRequest)
    _, force = await house.env.in_force()
    if wanted.agent not in force.catalogue.agents:
        raise Absent(inside=f"agent {wanted.agent}")
    text, token = await speak_for(house.env, call, wanted.agent)
    return json_response({"subject_token": text, "expires_at": token.expires_at}, 201)


# --- what exists ---


async def list_agents(house: House, call: Call, asked: Asked) -> Response:
    """The registered agents."""
    _, force = await house.env.in_force()
    return _page([await agent_shape(house, agent) for agent in _sorted(force.catalogue.agents)], "")


async def show_agent(house: House, call: Call, asked: Asked) -> Response:
    """One agent, how it has been held to its decisions, and its proven keys."""
    _, force = await house.env.in_force()
    agent = _one(force.catalogue.agents, asked.path["agent"])
    keys = await house.env.store.find(Identity, {"agent": agent.name}, limit=100)
    names = ("jkt", "spiffe_id", "method", "evidence", "rule", "code", "proved_at", "expires_at")
    identities = [{name: getattr(key, name) for name in names} for key in keys]
    seen = await enforcement(house.log, agent.name)
    known = shapes_context.posture(await house.env.posture(agent.name), call.now)["facts"]
    more = {"enforcement": seen, "identities": identities, "posture": known}
    return json_response({**await agent_shape(house, agent), **more})


async def agent_shape(house: House, agent: Agent) -> dict[str, Any]:
    """An agent, and whether it may act."""
    freeze = (await house.env.frozen()).of(agent)
    methods = sorted({a.method for a in agent.attestations})
    state, why = ("frozen", freeze.reason) if freeze else ("active", "")
    shown = {"name": agent.name, "title": agent.title, "owner": agent.owner, "tier": agent.tier.value}
    row = await house.env.store.get(Succession, f"{Reach.AGENT.value} {agent.name}")
    lasting = row is not None and row.state is not SuccessionState.OVER
    return {
        **shown,
        "deputy": agent.deputy,
        "escalation": list(agent.escalation),
        "answers": row.answers_for(agent.owner) if row else agent.owner,
        "succession": shapes_accountability.succession(row, house.clock()) if row and lasting else None,
        "attests_by": methods,
        "state": state,
        "state_reason": why,
    }


async def list_purposes(house: House, call: Call, asked: Asked) -> Response:
    """Purposes in force; an agent sees those it may be asked for."""
    _, force = await house.env.in_force()
    found = [p for p in _sorted(force.catalogue.purposes) if _is_for(call, p)]
    return _page([purpose_shape(p) for p in found], "")


async def show_purpose(house: House, call: Call, asked: Asked) -> Response:
    """One purpose."""
    _, force = await house.env.in_force()
    purpose = _one(force.catalogue.purposes, asked.path["purpose"])
    if not _is_for(call, purpose):
        raise Absent(inside=f"purpose {purpose.name} for {call.caller}")
    return json_response(purpose_shape(purpose))


def _is_for(call: Call, purpose: Purpose) -> bool:
    return call.caller.kind is not CallerKind.AGENT or call.caller.name in purpose.agents


def purpose_shape(purpose: Purpose) -> dict[str, Any]:
    """A purpose as it is in force."""
    shown = asdict(purpose)
    shown["sensitivity"] = purpose.sensitivity.word
    for credential, rule in zip(shown["credentials"], purpose.credentials, strict=True):
        credential["sensitivity"] = rule.sensitivity.word
    return shown


async def list_tools(house: House, call: Call, asked: Asked) -> Response:
    """The reviewed tools."""
    _, force = await house.env.in_force()
    return _page([tool_shape(tool) for tool in _sorted(force.catalogue.tools)], "")


async def show_tool(house: House, call: Call, asked: Asked) -> Response:
    """One tool."""
    _, force = await house.env.in_force()
    return json_response(tool_shape(_one(force.catalogue.tools, asked.path["tool"])))


def tool_shape(tool: Tool) -> dict[str, Any]:
    """A tool as it was reviewed."""
    words = {"effect": tool.effect.word, "sensitivity": tool.sensitivity.word}
    output: dict[str, Any] = {
        "output_trust": tool.output_trust.word,
        "output_sensitivity": tool.output_sensitivity.word,
        "output_format": tool.output_format,
        "output_fields": {name: trust.word for name, trust in tool.output_fields.items()},
    }
    return {**asdict(tool), **words, **output}


def _sorted(things: Mapping[str, Any]) -> Iterable[Any]:
    return [things[name] for name in sorted(things)]


def _one(things: Mapping[str, Any], name: str) -> Any:
    if name not in things:
        raise Absent(inside=name)
    return things[name]


async def list_leases(house: House, call: Call, asked: Asked) -> Response:
    """Leases, by state."""
    state = asked.query.get("state", "")
    if state and state not in [s.value for s in LeaseState]:
        raise BadField("state", "must be reserved, live, ending or ended")
    limit = asked.whole("limit", 100, most=500)
    where = {"state": state} if state else {}
    rows = await house.env.store.find(Lease, where, after=asked.query.get("after", ""), limit=limit)
    return _page([shapes.lease(row) for row in rows], rows[-1].id if rows and len(rows) == limit else "")


# --- the operator ---


async def invite(house: House, call: Call, asked: Asked) -> Response:
    """A one-time join token for an agent."""
    ttl = asked.json(shapes.InviteRequest).ttl_ms
    if not 1_000 <= ttl <= 86_400_000:
        raise BadField("ttl_ms", "must be one second to one day")
    text, row = await invite_verb(house.env, call, asked.path["agent"], ttl)
    return json_response({"join_token": text, "agent": row.agent, "expires_at": row.expires_at}, 201)


async def plan(house: House, call: Call, asked: Asked) -> Response:
    """What these files would change."""
    found = await apply_verb.plan(house.env, asked.json(shapes.FilesRequest).files, call.now)
    against = found.head.digest if found.head else ""
    told = {"digest": found.candidate.digest, "against": against, "changed": found.candidate.digest != against}
    old = (await house.env.in_force())[1].catalogue if found.head else Catalogue()
    said = {**told, "changes": found.changes, "ends": shapes_context.ends(found.ends)}
    said |= await api_reach.planned(house, old, found.candidate.catalogue)
    return json_response(said, headers=etag(against))


async def replay(house: House, call: Call, asked: Asked) -> Response:
    """What these files would have decided, of the newest decisions."""
    wanted = asked.json(shapes.ReplayRequest)
    if not 1 <= wanted.decisions <= 10_000:
        raise BadField("decisions", "must be 1 to 10000")
    planned = await apply_verb.plan(house.env, wanted.files, call.now, limit=0)
    found = await replay_decisions(
        house.env, house.log, planned.candidate, decisions=wanted.decisions, since=wanted.since
    )
    return json_response(asdict(found))


async def apply(house: House, call: Call, asked: Asked) -> Response:
    """Put these files in force."""
    files, against = asked.json(shapes.FilesRequest).files, if_match(asked.headers)
    head, found = await apply_verb.apply(house.env, call, files, against)
    told = {"digest": head.digest, "number": head.number, "changes": found.changes}
    said = {**told, "ends": shapes_context.ends(found.ends), "redecision": found.redecision}
    return json_response(said, headers=etag(head.digest))


async def show_catalogue(house: House, call: Call, asked: Asked) -> Response:
    """The files in force."""
    head, _ = await house.env.in_force()
    files = await house.env.store.get(CatalogueFiles, head.digest)
    if files is None:
        raise StoreUnavailable("The catalogue in force cannot be read.")
    shown = {name: getattr(head, name) for name in ("digest", "number", "applied_at", "applied_by")}
    return json_response({**shown, "files": dict(files.files)}, headers=etag(head.digest))


async def list_keys(house: House, call: Call, asked: Asked) -> Response:
    """Bearer keys that are good, by the digest that each is kept under; the keys are nobody's to see."""
    limit = asked.whole("limit", 100, most=500)
    rows = await house.env.store.find(AccessKey, {}, after=asked.query.get("after", ""), limit=limit)
    good = [_key_shape(row) for row in rows if call.now < row.expires_at]
    return _page(good, rows[-1].key if rows and len(rows) == limit else "")


async def end_key(house: House, call: Call, asked: Asked) -> Response:
    """A bearer key is refused from now on."""
    reason = asked.json(shapes.ReasonRequest).reason
    return json_response(_key_shape(await admit_verb.end(house.env, call, asked.path["key"], reason)))


def _key_shape(row: AccessKey) -> dict[str, Any]:
    times = {"created_at": row.created_at, "expires_at": row.expires_at}
    return {"id": row.digest, "kind": row.kind.value, "name": row.name, **times}


async def create_key(house: House, call: Call, asked: Asked) -> Response:
    """A bearer key; its text is in this answer and nowhere else."""
    wanted = asked.json(shapes.KeyRequest)
    if wanted.kind not in (kinds := [kind.value for kind in KEYED]):
        raise BadField("kind", f"must be one of {', '.join(kinds)}")
    if not 1_000 <= wanted.ttl_ms <= _YEAR:
        raise BadField("ttl_ms", "must be one second to one year")
    text, row = await admit_verb.admit(house.env, call, CallerKind(wanted.kind), wanted.name, wanted.ttl_ms)
    return json_response({"key": text, **_key_shape(row)}, 201)
