"""Attest: evidence becomes an identity, bound to a key the agent generated and never shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeAlias

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.errors import Absent, NotAttested, Replayed
from remit.domain.flow import Json
from remit.domain.identity import Agent, Identity, JoinToken
from remit.formats.oidc import match_claims
from remit.ports import Env, InForce

JOINED_FOR = 30 * 24 * 3_600_000
FEDERATED_FOR = 3_600_000


@dataclass(frozen=True, slots=True)
class JoinEvidence:
    """A one-time join token."""

    token: str


@dataclass(frozen=True, slots=True)
class OidcEvidence:
    """A token of a federated OIDC issuer; `issuer` is its unverified `iss`, used only to choose whom to ask."""

    token: str
    issuer: str


Evidence: TypeAlias = JoinEvidence | OidcEvidence


async def invite(env: Env, call: Call, agent: str, ttl: int) -> tuple[str, JoinToken]:
    """Make a join token for `agent`, good once within `ttl` ms. The text is returned here and kept nowhere."""
    _, force = await env.in_force()
    known = force.catalogue.agents.get(agent)
    if known is None or not any(a.method == "join_token" for a in known.attestations):
        raise Absent(inside=f"agent {agent} is not in the catalogue or does not attest by join token")
    token = env.new_id("join")
    row = JoinToken(sha256(token.encode()).hexdigest(), agent, call.now + ttl)
    because = events.JoinTokenCreated(agent, row.digest, row.expires_at)
    await env.store.commit(Change(because, call).put(row, was=None))
    return token, row


async def attest(env: Env, call: Call, evidence: Evidence, jkt: str, jwk: Mapping[str, str]) -> Identity:
    """Bind the key whose possession the edge just verified to the agent the evidence proves.

    The caller learns only that it is not a registered agent; which claim failed is for the operator.
    """
    _, force = await env.in_force()
    digest = sha256(evidence.token.encode()).hexdigest()
    bound = await env.store.get(Identity, jkt)
    join: JoinToken | None = None
    if isinstance(evidence, JoinEvidence):
        join = await _unused(env, digest, call.now)
        agent, method, expires_at = force.catalogue.agents.get(join.agent), "join_token", call.now + JOINED_FOR
    else:
        agent, method, expires_at = await _federated(env, force, evidence, call.now)
        spent_before = not await env.store.spend(f"evidence:{digest}", expires_at)
        if spent_before and (bound is None or bound.evidence != digest):
            raise Replayed("This token already proved another key.", next_step="Get a fresh one.")
    if agent is None or (bound is not None and bound.agent != agent.name):
        raise NotAttested("This evidence proves no registered agent.", inside=f"key {jkt} or agent not registered")
    spiffe_id = f"spiffe://{env.trust_domain}/agent/{agent.name}"
    identity = Identity(jkt, agent.name, spiffe_id, method, digest, dict(jwk), call.now, expires_at)
    because = events.AgentProved(agent.name, method, jkt, spiffe_id, digest, expires_at)
    change = Change(because, call).put(identity, was=bound)
    if join is not None:
        used = JoinToken(join.digest, join.agent, join.expires_at, used_at=call.now)
        change = change.put(used, was=join)
    await env.store.commit(change)
    return identity


async def _unused(env: Env, digest: str, now: int) -> JoinToken:
    join = await env.store.get(JoinToken, digest)
    if join is None or join.used_at or now >= join.expires_at:
        state = "unknown" if join is None else "used" if join.used_at else "expired"
        raise NotAttested("This join token is not good.", next_step="Ask for a new one.", inside=state)
    return join


async def _federated(env: Env, force: InForce, evidence: OidcEvidence, now: int) -> tuple[Agent | None, str, int]:
    failures: list[str] = []
    found: list[tuple[Agent, str, int]] = []
    federations = [f for f in force.catalogue.federations.values() if f.issuer == evidence.issuer]
    for federation in federations:
        claims = await env.attestor.claims(federation, evidence.token, now)
        for agent in force.catalogue.agents.values():
            for rule in agent.attestations:
                if rule.method != "oidc" or rule.federation != federation.name:
                    continue
                failed = match_claims(rule.claims, claims)
                if failed:
                    failures.append(f"{agent.name}: {failed}")
                else:
                    found.append((agent, f"oidc:{federation.name}", _expiry(claims, now)))
    if len({agent.name for agent, _, _ in found}) != 1:
        why = "; ".join(failures) or "no federation has this issuer" if not found else "several agents match"
        raise NotAttested("This evidence proves no registered agent.", inside=why)
    return found[0]


def _expiry(claims: Mapping[str, Json], now: int) -> int:
    exp = claims.get("exp")
    return min(now + FEDERATED_FOR, int(exp) * 1000) if isinstance(exp, int | float) else now
