"""The agent's side of the first-party API: attest, propose, call, credentials, end."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from remit.domain.caller import AccessKey, Call, CallerKind
from remit.domain.chain import Principal, PrincipalKind
from remit.domain.decision import Access
from remit.domain.errors import Absent, BadField, BadToken, NoCredentials
from remit.domain.identity import Identity, stale
from remit.domain.lease import IssuerOutage, Lease, LeaseState, alive
from remit.domain.task import Task, TaskState
from remit.formats import aws_caller, oidc, rfc8693, rfc9068
from remit.verbs.attest import AwsEvidence, Evidence, JoinEvidence, JwtSvidEvidence, OidcEvidence, X509SvidEvidence
from remit.verbs.attest import attest as attest_verb
from remit.verbs.delegate import Part, delegate
from remit.verbs.issue import issue
from remit.verbs.propose import Proposal
from remit.verbs.propose import propose as propose_verb
from remit.verbs.revoke import end_lease, end_task
from remit.verbs.vouch import first_token

from . import shapes
from .at_home import at_home
from .authenticate import key_digest
from .house import Asked, House
from .problems import json_response

SETTLE_WAIT = 10.0


async def attest(house: House, call: Call, asked: Asked) -> Response:
    """Bind the proof's key to the agent that the evidence proves."""
    proof = await house.proof(asked, call.now)
    wanted = asked.json(shapes.AttestRequest)
    evidence: list[Evidence] = []
    if wanted.join_token:
        evidence.append(JoinEvidence(wanted.join_token))
    if wanted.oidc_token:
        evidence.append(OidcEvidence(wanted.oidc_token, oidc.claimed_issuer(wanted.oidc_token)))
    if wanted.jwt_svid:
        evidence.append(JwtSvidEvidence(wanted.jwt_svid))
    if wanted.x509_svid:
        evidence.append(X509SvidEvidence(asked.certificates()))
    if wanted.aws_request:
        signed = wanted.aws_request
        evidence.append(AwsEvidence(aws_caller.SignedRequest(signed.url, signed.headers, signed.body)))
    if len(evidence) != 1:
        raise BadField("evidence", "send exactly one of join_token, oidc_token, jwt_svid, x509_svid and aws_request")
    identity = await attest_verb(house.env, call, evidence[0], proof.jkt, proof.key.jwk)
    names = ("agent", "spiffe_id", "jkt", "method", "proved_at", "expires_at")
    return json_response({name: getattr(identity, name) for name in names}, 201)


async def propose(house: House, call: Call, asked: Asked) -> Response:
    """Open a task and return its token."""
    wanted = asked.json(shapes.ProposeRequest)
    proposal = Proposal(wanted.purpose, wanted.goal, wanted.parameters, wanted.duration_ms, wanted.max_calls)
    task = await opened(house, call, proposal, wanted.subject_token)
    identity = await house.env.store.get(Identity, call.caller.jkt)
    if identity is None:
        raise Absent()
    text, token = first_token(house.env, call, identity, task)
    expires_in = (token.expires_at - call.now) // 1000
    body = {"task": shapes.task(task), "access_token": text, "token_type": "DPoP", "expires_in": expires_in}
    return json_response(body, 201)


async def opened(house: House, call: Call, proposal: Proposal, subject_token: str) -> Task:
    """Propose for whom the subject token speaks: a person, or a task that hands on part of itself."""
    if subject_token and rfc8693.is_delegation(subject_token, house.url):
        keys = await house.keys_for(subject_token)
        delegation = rfc8693.parse_delegation(subject_token, issuer=house.url, keys=keys, now=call.now)
        return await propose_verb(house.env, call, proposal, delegation=delegation)
    return await propose_verb(house.env, call, proposal, await initiator_of(house, call, subject_token))


async def delegated(house: House, call: Call, asked: Asked) -> Response:
    """Hand part of the task to another agent, which opens it with the token in the answer."""
    wanted = asked.json(shapes.DelegationRequest)
    much = (wanted.duration_ms, wanted.max_calls)
    part = Part(wanted.agent, wanted.purpose, wanted.goal, wanted.parameters, *much, wanted.jkt)
    task = own_task(call, asked)
    text, found = await at_home(house.env, call, task, lambda call: delegate(house.env, call, task, part), "a hand-off")
    body = {"delegation_token": text, "task": found.task, "agent": found.agent, "max_calls": found.max_calls}
    return json_response({**body, "duration_ms": found.duration, "expires_at": found.expires_at}, 201)


async def initiator_of(house: House, call: Call, subject_token: str) -> Principal | None:
    """The person a subject token of ours names; it is for this agent and for one proposal."""
    if not subject_token:
        return None
    token = rfc9068.parse(
        subject_token,
        issuer=house.url,
        audience=f"{house.url}/initiate",
        keys=await house.keys_for(subject_token),
        now=call.now,
    )
    kind, _, name = token.subject.partition(":")
    if kind != "person" or token.client != call.caller.name:
        raise BadToken("The subject token is not for this agent.", inside=token.subject)
    if not await house.env.store.spend(f"subject:{token.jti}", token.expires_at + 10_000):
        raise BadToken("The subject token was used before.", next_step="Ask the person for a new one.")
    return Principal(PrincipalKind.PERSON, name)


async def call_tool(house: House, call: Call, asked: Asked) -> Response:
    """Decide one call."""
    wanted = asked.json(shapes.CallRequest)
    access = Access(own_task(call, asked), wanted.tool, wanted.arguments, wanted.pin)
    return json_response(await house.decided(call, access))


async def observed(house: House, call: Call, asked: Asked) -> Response:
    """A result the task has read; nothing of it is kept but its label and digests."""
    wanted = asked.json(shapes.ObservationRequest)
    return json_response(await house.observed(call, own_task(call, asked), wanted, len(asked.body)))


async def credential(house: House, call: Call, asked: Asked) -> Response:
    """Issue a credential; the secret is in this answer and nowhere else."""
    wanted = asked.json(shapes.CredentialRequest)
    task, name = own_task(call, asked), wanted.credential
    lease, minted = await at_home(
        house.env, call, task, lambda call: issue(house.env, call, task, name), "a credential"
    )
    _, force = await house.env.in_force()
    config = force.catalogue.issuers.get(lease.issuer)
    kind = config.kind if config else ""
    return json_response({**shapes.lease(lease), "kind": kind, "parts": dict(minted.parts)}, 201)


async def whoami(house: House, call: Call, asked: Asked) -> Response:
    """Who the caller is to this server, how that was proved, and until when."""
    caller = call.caller
    shown: dict[str, object] = {"kind": caller.kind.value, "name": caller.name}
    if caller.kind is not CallerKind.AGENT:
        key = await house.env.store.get(AccessKey, key_digest(asked))
        expires_at = key.expires_at if key else 0
        return json_response({**shown, "groups": list(caller.groups), "expires_at": expires_at})
    identity = await house.env.store.get(Identity, caller.jkt)
    if identity is None:
        raise Absent(inside=f"identity {caller.jkt}")
    names = ("jkt", "spiffe_id", "method", "proved_at", "expires_at")
    shown |= {name: getattr(identity, name) for name in names}
    _, force = await house.env.in_force()
    agent = force.catalogue.agents.get(caller.name)
    frozen = (await house.env.frozen()).of(agent)
    purposes = [p.name for p in force.catalogue.purposes.values() if caller.name in p.agents]
    return json_response(
        {
            **shown,
            "task": caller.task,
            "owner": agent.owner if agent else "",
            "tier": agent.tier.value if agent else "",
            "state": "frozen" if frozen else "active",
            "stale": stale(identity, agent, call.now) if agent else "This agent is no longer registered.",
            "purposes": sorted(purposes),
        }
    )


def own_task(call: Call, asked: Asked) -> str:
    """The task in the path; an agent must hold that very task's token."""
    task = asked.path["task"]
    if call.caller.kind is CallerKind.AGENT and not call.caller.task:
        raise NoCredentials("This needs the task's own token.", next_step="Use the access_token of the proposal.")
    if call.caller.kind is CallerKind.AGENT and call.caller.task != task:
        raise Absent(inside=f"token of {call.caller.task} used for {task}")
    return task


async def end(house: House, call: Call, asked: Asked) -> Response:
    """End the task; `?wait=settled` waits up to ten seconds until every credential is dead."""
    wanted = asked.json(shapes.ReasonRequest)
    if call.caller.kind is CallerKind.AGENT:
        own_task(call, asked)
    task = await end_task(house.env, call, asked.path["task"], wanted.reason)
    if asked.query.get("wait") == "settled":
        task = await _settled(house, task)
    return json_response(await _in_sight(house, task))


async def _settled(house: House, task: Task) -> Task:
    for _ in range(int(SETTLE_WAIT / 0.01)):
        fresh = await house.env.store.get(Task, task.id)
        if fresh is None or fresh.settled_at:
            return fresh or task
        await asyncio.sleep(0.01)
    return task


async def end_credential(house: House, call: Call, asked: Asked) -> Response:
    """End one credential, and leave its task open."""
    reason = asked.json(shapes.ReasonRequest).reason
    return json_response(shapes.lease(await end_lease(house.env, call, asked.path["lease"], reason)))


async def show_task(house: House, call: Call, asked: Asked) -> Response:
    """One task, to those who may see it."""
    task = await visible(house, call, asked.path["task"])
    return json_response(await _in_sight(house, task))


async def _in_sight(house: House, task: Task) -> dict[str, Any]:
    """The task and what it and everything below it still hold, down to zero: by issuer, and by what each waits for."""
    states = (LeaseState.RESERVED, LeaseState.LIVE, LeaseState.ENDING)
    within = [] if task.settled_at else [task.id, *await _below(house, task)]
    leases = [lease for key in within for one in states for lease in await house.env.leases_in(one, key)]
    found = alive({lease.id: lease for lease in leases}.values())
    outages = {one.issuer: await house.env.store.get(IssuerOutage, one.issuer) for one in found}
    since = {issuer: row.since for issuer, row in outages.items() if row is not None and not row.over_at}
    return {**shapes.task(task), "credentials": shapes.credentials(found, since)}


async def _below(house: House, task: Task) -> list[str]:
    """The tasks that hang from this one and have not settled."""
    found: list[str] = []
    waiting = [task]
    while waiting:
        one = waiting.pop()
        children: list[Task] = []
        while one.handed and (
            page := await house.env.store.find(
                Task, {"parent": one.id}, after=children[-1].key if children else "", limit=1000
            )
        ):
            children += page
        waiting += children
        found += [child.id for child in children if not child.settled_at]
    return found


async def task_leases(house: House, call: Call, asked: Asked) -> Response:
    """The leases of one task."""
    task = await visible(house, call, asked.path["task"])
    rows = await house.env.store.find(Lease, {"task": task.id}, after=asked.query.get("after", ""), limit=1000)
    return json_response(
        {"items": [shapes.lease(row) for row in rows], "next": rows[-1].id if len(rows) == 1000 else ""}
    )


async def list_tasks(house: House, call: Call, asked: Asked) -> Response:
    """Tasks the caller may see, by state and agent."""
    where = {name: asked.query[name] for name in ("state", "agent", "purpose") if asked.query.get(name)}
    if "state" in where and where["state"] not in [state.value for state in TaskState]:
        raise BadField("state", "must be open, closed, revoked or expired")
    if call.caller.kind is CallerKind.AGENT:
        where["agent"] = call.caller.name
    limit = asked.whole("limit", 100, most=500)
    rows = await house.env.store.find(Task, where, after=asked.query.get("after", ""), limit=limit)
    seen = [shapes.task(row) for row in rows if await may_see(house, call, row)]
    return json_response({"items": seen, "next": rows[-1].id if rows and len(rows) == limit else ""})


async def visible(house: House, call: Call, task_id: str) -> Task:
    """The task, or the same `Absent` for what is not there and what is not theirs."""
    task = await house.env.store.get(Task, task_id)
    if task is None or not await may_see(house, call, task):
        raise Absent(inside=f"task {task_id} for {call.caller}")
    return task


async def may_see(house: House, call: Call, task: Task) -> bool:
    """Operators, auditors and enforcement points see all; agents their own; people what they began or answer for."""
    match call.caller.kind:
        case CallerKind.OPERATOR | CallerKind.AUDITOR | CallerKind.ENFORCER:
            return True
        case CallerKind.AGENT:
            return task.held_by(call.caller)
        case CallerKind.PERSON:
            _, force = await house.env.in_force()
            agent, purpose = (
                force.catalogue.agents.get(task.agent),
                force.catalogue.purposes.get(task.purpose),
            )
            answers_for = {
                task.initiator.name,
                agent.owner if agent else "",
                purpose.owner if purpose else "",
            }
            return call.caller.name in answers_for
    return False
