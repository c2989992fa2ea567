"""Attest: evidence becomes an identity, bound to a key the agent generated and never shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TypeAlias

from remit.domain import events
from remit.domain.above import Branch, ending
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.errors import Absent, BadToken, Busy, Conflict, NotAttested, Replayed
from remit.domain.flow import Json
from remit.domain.identity import Agent, Attestation, Identity, JoinToken, SpiffeId
from remit.domain.restore import Restored
from remit.domain.task import Task, TaskState
from remit.formats import aws_caller, claim_conditions, client_attestation, oidc_providers, spiffe, x509_svid
from remit.formats.claims import instant
from remit.ports import Env, InForce

JOINED_FOR = 30 * 24 * 3_600_000
FEDERATED_FOR = 3_600_000
NEAR_MISSES = 5
ROUNDS = 64


@dataclass(frozen=True, slots=True)
class JoinEvidence:
    """A one-time join token."""

    token: str


@dataclass(frozen=True, slots=True)
class OidcEvidence:
    """A token of a federated OIDC issuer; `issuer` is its unverified `iss`, used only to choose whom to ask."""

    token: str
    issuer: str


@dataclass(frozen=True, slots=True)
class JwtSvidEvidence:
    """A JWT-SVID for our issuer URL, of our own or a federated trust domain."""

    token: str


@dataclass(frozen=True, slots=True)
class X509SvidEvidence:
    """The chain (DER, leaf first) whose key the caller has just used in the TLS handshake."""

    chain: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class AwsEvidence:
    """A GetCallerIdentity for AWS STS, signed for this server and this key, and not sent."""

    request: aws_caller.SignedRequest


@dataclass(frozen=True, slots=True)
class ClientAttestation:
    """What an attester signed about the very key whose possession was proved; good as often as it is shown."""

    token: str


Evidence: TypeAlias = JoinEvidence | OidcEvidence | JwtSvidEvidence | X509SvidEvidence | AwsEvidence | ClientAttestation
_Judged: TypeAlias = tuple[Agent, Attestation, Sequence[str]]  # what speaks against this rule


@dataclass(frozen=True, slots=True)
class _Proved:
    """What evidence came to. Instants in ms; `once` texts prove one key only."""

    agent: Agent
    rule: Attestation
    proved_at: int
    expires_at: int
    code: str = ""
    join: JoinToken | None = None
    once: bool = False


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
    digest = sha256(_bytes(evidence)).hexdigest()
    bound = await env.store.get(Identity, jkt)
    proved = await _prove(env, force, evidence, digest, jkt, call.now)
    await _after_restore(env, proved)
    fresh = not proved.once or await env.store.spend(f"evidence:{digest}", proved.expires_at)
    if not fresh and (bound is None or bound.evidence != digest):
        raise Replayed("This token already proved another key.", next_step="Get a fresh one.")
    agent, rule = proved.agent, proved.rule
    if bound is not None and bound.agent != agent.name:
        raise NotAttested("This evidence proves no registered agent.", inside=f"key {jkt} is bound to {bound.agent}")
    spiffe_id = f"spiffe://{env.trust_domain}/agent/{agent.name}"
    identity = Identity(
        jkt,
        agent.name,
        spiffe_id,
        rule.kind,
        digest,
        dict(jwk),
        proved.proved_at,
        proved.expires_at,
        rule.rule,
        proved.code,
    )
    await _supersede(env, call, agent, identity, bound)
    because = events.AgentProved(agent.name, rule.kind, jkt, spiffe_id, digest, proved.expires_at)
    change = Change(because, call).put(identity, was=bound)
    if proved.join is not None:
        change = change.put(replace(proved.join, used_at=call.now), was=proved.join)
    await env.store.commit(change)
    return identity


async def _after_restore(env: Env, proved: _Proved) -> None:
    """What was used before a restore, the store has forgotten: made before it, it counts as used."""
    restored = await env.store.get(Restored, "restored") if proved.once else None
    if restored is not None and proved.proved_at <= restored.since:
        raise Replayed("This token is from before the store was restored.", next_step="Get a fresh one.")


def _bytes(evidence: Evidence) -> bytes:
    if isinstance(evidence, AwsEvidence):
        return evidence.request.encode()
    return b"".join(evidence.chain) if isinstance(evidence, X509SvidEvidence) else evidence.token.encode()


def claimed_id(evidence: JwtSvidEvidence | X509SvidEvidence) -> SpiffeId:
    """The SPIFFE ID that evidence names, unverified."""
    if isinstance(evidence, JwtSvidEvidence):
        return spiffe.claimed_id(evidence.token)
    return x509_svid.claimed_id(evidence.chain[0])


async def _prove(env: Env, force: InForce, evidence: Evidence, digest: str, jkt: str, now: int) -> _Proved:
    if isinstance(evidence, JoinEvidence):
        return await _joined(env, force, digest, now)
    if isinstance(evidence, OidcEvidence):
        return await _federated(env, force, evidence, now)
    if isinstance(evidence, AwsEvidence):
        return await _called(env, force, evidence, jkt, now)
    if isinstance(evidence, ClientAttestation):
        return await _instance(env, force, evidence, jkt, now)
    if isinstance(evidence, JwtSvidEvidence):
        bundle = await _bundle(env, force, claimed_id(evidence), now, kid=spiffe.claimed_key(evidence.token))
        jwt = spiffe.parse_jwt_svid(evidence.token, bundle=bundle, audience=env.issuer_url, now=now)
        return _workload(env, force, jwt, now, once=True)
    bundle = await _bundle(env, force, claimed_id(evidence), now)
    domain, authorities = bundle.trust_domain, bundle.authorities
    x509 = x509_svid.parse(evidence.chain, trust_domain=domain, authorities=authorities, now=now)
    return _workload(env, force, x509, now, once=False)


async def _bundle(env: Env, force: InForce, id: SpiffeId, now: int, *, kid: str = "") -> spiffe.TrustBundle:
    if id.trust_domain == env.trust_domain:
        return await env.own_bundle(kid=kid)
    domain = force.catalogue.trust_domains.get(id.trust_domain)
    if domain is None:
        raise NotAttested("This evidence proves no registered agent.", inside=f"{id}: a trust domain nobody configured")
    return await env.attestor.bundle(domain, now, kid=kid)


def _workload(env: Env, force: InForce, svid: spiffe.JwtSvid | x509_svid.X509Svid, now: int, *, once: bool) -> _Proved:
    """Whose SVID it is: ours names an agent and the rule that its host met, others' are named by rules."""
    ours = svid.id.trust_domain == env.trust_domain
    found = [
        (agent, rule)
        for agent in force.catalogue.agents.values()
        for rule in agent.attestations
        if (ours and svid.id.path == f"/agent/{agent.name}" and rule.method == "unix" and rule.rule == svid.of.rule)
        or (not ours and rule.method == "spiffe" and rule.spiffe_id == str(svid.id))
    ]
    if len({agent.name for agent, _ in found}) != 1:
        why = "several agents have it" if found else "no agent has it, or the rule it was issued by has changed"
        subject = None if found else ("workload", str(svid.id), svid.id.trust_domain)
        raise NotAttested("This evidence proves no registered agent.", inside=f"{svid.id}: {why}", subject=subject)
    agent, rule = found[0]
    proved_at = min(svid.issued_at or now, now)
    code = svid.of.code if ours else ""
    return _Proved(agent, rule, proved_at, min(svid.expires_at, now + FEDERATED_FOR), code, once=once)


async def _supersede(env: Env, call: Call, agent: Agent, new: Identity, bound: Identity | None) -> None:
    """End what other code of a `latest_only` agent, or other code under this very key, proved before (law 6).

    Tasks end before the newcomer counts: should we stop in between, it proves itself again and this is done again, for
    what was superseded then too.
    """
    rows = await _identities(env, agent) if agent.latest_only else [bound] if bound else []
    gone = {row.jkt: row for row in rows if new.code and row.code != new.code}
    for jkt, row in gone.items():
        if jkt != new.jkt and call.now < row.expires_at:
            because = events.IdentitySuperseded(agent.name, jkt, row.code, new.code)
            await env.store.commit(Change(because, call).put(row.superseded(call.now), was=row))
    after = ""
    while gone and (tasks := await env.store.find(Task, {"agent": agent.name, "state": "open"}, after=after)):
        for task in tasks:
            if task.jkt in gone:
                await _end(env, call, task)
        after = tasks[-1].key
    if gone:
        env.nudge()


async def _end(env: Env, call: Call, task: Task) -> None:
    for _ in range(ROUNDS):
        branch = await env.store.get(Branch, task.id) if task.handed else None
        try:
            await env.store.commit(ending(call, task, branch, TaskState.REVOKED, "the agent's code has changed"))
            return
        except Conflict:  # it is called, or ended, meanwhile
            task = await env.store.get(Task, task.id) or task
            if task.state is not TaskState.OPEN:
                return
    raise Busy("A task of the agent's old code is very busy.", next_step="Try again at once.")


async def _identities(env: Env, agent: Agent) -> list[Identity]:
    found: list[Identity] = []
    while rows := await env.store.find(Identity, {"agent": agent.name}, after=found[-1].key if found else ""):
        found += rows
    return found


async def _joined(env: Env, force: InForce, digest: str, now: int) -> _Proved:
    join = await env.store.get(JoinToken, digest)
    if join is None or join.used_at or now >= join.expires_at:
        state = "unknown" if join is None else "used" if join.used_at else "expired"
        raise NotAttested("This join token is not good.", next_step="Ask for a new one.", inside=state)
    agent = force.catalogue.agents.get(join.agent)
    rule = next((a for a in agent.attestations if a.method == "join_token"), None) if agent else None
    if agent is None or rule is None:
        inside = f"{join.agent} is not registered, or joins no more"
        raise NotAttested("This evidence proves no registered agent.", inside=inside)
    return _Proved(agent, rule, now, now + JOINED_FOR, join=join)


async def _federated(env: Env, force: InForce, evidence: OidcEvidence, now: int) -> _Proved:
    judged: list[_Judged] = []
    claims: Mapping[str, Json] = {}
    flawed: BadToken | None = None
    proved: tuple[str, str, str] | None = None
    federations = [f for f in force.catalogue.federations.values() if f.issuer == evidence.issuer]
    for federation in federations:
        try:
            claims = await env.attestor.claims(federation, evidence.token, now)
        except BadToken as bad:
            inside = f"federation {federation.name}: {bad.inside}"
            flawed = BadToken(bad.message, next_step=bad.next_step, inside=inside)
            continue
        proved = ("subject", str(claims.get("sub", "")), federation.name)
        rules = [(a, r) for a, r in _rules(force, "oidc") if r.federation == federation.name]
        judged += [(a, r, oidc_providers.unmet(federation, r.claims, claims)) for a, r in rules]
    if flawed and not judged:
        raise flawed
    nobody = "no agent's rule names a federation of this issuer" if federations else "no federation has this issuer"
    agent, rule = _one(judged, nobody, proved)
    told = oidc_providers.code_identity(force.catalogue.federations[rule.federation].provider, claims)
    code = sha256(repr(sorted(told.items())).encode()).hexdigest() if told else ""
    made = min(now, instant(claims, "iat")) if "iat" in claims else now
    return _Proved(agent, rule, made, min(now + FEDERATED_FOR, instant(claims, "exp")), code, once=True)


async def _called(env: Env, force: InForce, evidence: AwsEvidence, jkt: str, now: int) -> _Proved:
    request = aws_caller.check(evidence.request, server=env.issuer_url, jkt=jkt, now=now)
    rules = _rules(force, "aws")
    # Nothing is sent for strangers where no agent could be proved by it.
    claims = await env.attestor.caller(request) if rules else {}
    agent, rule = _one([(a, r, claim_conditions.unmet(r.claims, claims)) for a, r in rules], "no agent has such a rule")
    return _Proved(agent, rule, min(request.signed_at, now), now + FEDERATED_FOR, once=True)


async def _instance(env: Env, force: InForce, evidence: ClientAttestation, jkt: str, now: int) -> _Proved:
    client = client_attestation.claimed(evidence.token).client
    judged: list[_Judged] = []
    said: dict[str, client_attestation.VerifiedAttestation] = {}
    # No attester's keys are fetched for a client that no rule names.
    for agent, rule in (found for found in _rules(force, "client_attestation") if found[1].client == client):
        attester = force.catalogue.attesters[rule.attester]
        try:
            said[rule.rule] = await env.attestor.attestation(attester, evidence.token, env.issuer_url, now)
            missed = client_attestation.unmet(rule, said[rule.rule], jkt)
        except BadToken as bad:
            missed = [f"attester {attester.name}: {bad.inside}"]
        judged.append((agent, rule, missed))
    agent, rule = _one(judged, "no agent's rule names this client")
    return _Proved(agent, rule, said[rule.rule].made_at, min(said[rule.rule].expires_at, now + FEDERATED_FOR))


def _rules(force: InForce, method: str) -> list[tuple[Agent, Attestation]]:
    return [(a, r) for a in force.catalogue.agents.values() for r in a.attestations if r.method == method]


def _one(
    judged: Sequence[_Judged], nobody: str, proved: tuple[str, str, str] | None = None
) -> tuple[Agent, Attestation]:
    """The one agent with a rule that nothing speaks against; the operator learns what the nearest rules miss."""
    found = [(agent, rule) for agent, rule, missed in judged if not missed]
    if len({agent.name for agent, _ in found}) != 1:
        near = sorted((len(missed), agent.name, ", ".join(missed[:NEAR_MISSES])) for agent, _, missed in judged)
        why = "; ".join(f"{name}: {text}" for _, name, text in near[:NEAR_MISSES]) or nobody
        inside = "several agents match" if found else why
        subject = None if found else proved
        raise NotAttested("This evidence proves no registered agent.", inside=inside, subject=subject)
    return found[0]
