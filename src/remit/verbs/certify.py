"""Certify: SPIFFE identity documents for a workload of this host, by what the kernel says of it.

They say who it is, and open nothing: with no task there is neither credential nor permit (law 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.errors import NotAttested
from remit.domain.identity import Agent, Attestation, SpiffeId
from remit.formats import spiffe, x509_svid
from remit.formats.jws import SigningKey
from remit.ports import Env

JWT_TTL = 300_000


@dataclass(frozen=True, slots=True)
class Workload:
    """A process: the selectors that hold for it, the SHA-256 of its code (hex), and how the operator knows it."""

    selectors: frozenset[str]
    code: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Entitled:
    """An agent that the workload is, and the rule that says so."""

    agent: Agent
    rule: Attestation
    id: SpiffeId


@dataclass(frozen=True, slots=True)
class Document:
    """A SPIFFE identity document: a certificate (DER) and its PKCS #8 key, or a token. `expires_at` in ms."""

    id: SpiffeId
    expires_at: int
    certificate: bytes = b""
    private_key: bytes = field(default=b"", repr=False)
    token: str = field(default="", repr=False)


async def entitled(env: Env, workload: Workload) -> tuple[Entitled, ...]:
    """The agents it is, frozen ones left out; raises `NotAttested` when there is none (law 11: and no more is said)."""
    _, force = await env.in_force()
    frozen = await env.frozen()
    found: list[Entitled] = []
    near: list[str] = []
    for agent in force.catalogue.agents.values():
        for rule in agent.attestations:
            if rule.method != "unix":
                continue
            missing = [selector for selector in rule.selectors if selector not in workload.selectors]
            if missing:
                near.append(f"{agent.name} wants {', '.join(missing)}")
                continue
            if frozen.of(agent) is not None:
                near.append(f"{agent.name} is frozen")
                continue
            found.append(Entitled(agent, rule, SpiffeId(env.trust_domain, f"/agent/{agent.name}")))
            break
    if not found:
        why = "; ".join(near[:20]) or "no agent attests by unix"
        raise NotAttested("No identity issued.", inside=f"{workload.about}: {why}")
    return tuple(found)


async def certify_x509(env: Env, call: Call, workload: Workload, of: Entitled) -> Document:
    """A fresh key and its X.509-SVID, after the event that explains it is durable (law 4)."""
    authority, key = await env.authority()
    pair = x509_svid.generate()
    expires_at = call.now + env.svid_ttl
    proof = x509_svid.Proof(of.rule.rule, workload.code)
    leaf = x509_svid.leaf(of.id, pair.public, authority, key, expires_at, call.now, proof)
    await _record(env, call, workload, of, "x509", x509_svid.serial_of(leaf), expires_at)
    return Document(of.id, expires_at, leaf, pair.pkcs8)


async def certify_jwt(env: Env, call: Call, workload: Workload, of: Entitled, audience: Sequence[str]) -> Document:
    """A JWT-SVID for these audiences, after the event that explains it is durable (law 4)."""
    kid = env.signer.signing("svid")
    key = SigningKey(kid, "ES256", lambda data: env.signer.sign("svid", data, kid).value)
    svid = spiffe.JwtSvid(
        of.id, call.now, call.now + min(JWT_TTL, env.svid_ttl), x509_svid.Proof(of.rule.rule, workload.code)
    )
    token = spiffe.encode_jwt_svid(svid, audience, env.new_id("svid"), key)
    await _record(env, call, workload, of, "jwt", sha256(token.encode()).hexdigest(), svid.expires_at)
    return Document(of.id, svid.expires_at, token=token)


async def _record(
    env: Env, call: Call, workload: Workload, of: Entitled, kind: str, serial: str, expires_at: int
) -> None:
    """What is frozen is checked in the same commit: nobody is certified after a freeze was acknowledged."""
    because = events.SvidIssued(of.agent.name, str(of.id), kind, serial, of.rule.rule, workload.code, expires_at)
    frozen = await env.frozen()
    if frozen.of(of.agent) is not None:
        raise NotAttested("No identity issued.", inside=f"{of.agent.name} is frozen")
    await env.store.commit(Change(because, call).check(frozen))
