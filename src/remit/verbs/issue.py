"""Issue: a credential for one task. Reserve, mint, settle: a lease is durable before its credential exists."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from remit.domain import events, facts
from remit.domain.above import Above
from remit.domain.caller import Call, CallerKind
from remit.domain.change import Change
from remit.domain.decision import Permit, Reason, Why
from remit.domain.errors import Absent, Busy, Conflict, Denied, IssuerUnavailable, Refusal
from remit.domain.flow import Json
from remit.domain.identity import Identity, stale
from remit.domain.leak import Leak, LeakKind
from remit.domain.lease import Lease, LeaseState, Minted
from remit.domain.posture import Posture
from remit.domain.purpose import CredentialRule
from remit.domain.secret import SealedSecret, current
from remit.domain.status import StatusEntry
from remit.domain.task import Task
from remit.ports import Env, InForce, Issuer

MINT_WINDOW = 30_000
HIDDEN = ("static", "oauth")
LOOKED_UP = "jwt"
ROUNDS = 24


async def issue(env: Env, call: Call, task_id: str, credential: str) -> tuple[Lease, Minted]:
    """Return a live lease and its secret, which exists nowhere else.

    If the task ends while the mint is in flight, the secret is thrown away, the credential dies, and
    the caller gets `Denied` (law 5). The mint has `MINT_WINDOW` ms.
    """
    for _ in range(ROUNDS):
        try:
            stored, issuer = await _reserve(env, call, task_id, credential)
            break
        except Conflict:
            continue
    else:
        raise Busy("The task is very busy.", next_step="Try again in a moment.")
    try:
        async with asyncio.timeout((stored.mint_until - call.now) / 1000):
            minted = await issuer.mint(stored)
    except TimeoutError as late:
        await _end(env, call, stored, issuer, "mint timed out")
        raise IssuerUnavailable("The issuer did not answer in time.", next_step="Try again.") from late
    except BaseException:
        await _end(env, call, stored, issuer, "mint failed")
        raise
    return await _settle(env, call, stored, issuer, minted)


async def _reserve(env: Env, call: Call, task_id: str, credential: str) -> tuple[Lease, Issuer]:
    task = await env.store.get(Task, task_id)
    if task is None or not task.acted_for_by(call.caller):
        raise Absent(inside=f"task {task_id} for {call.caller}")
    task.must_be_at(env.place)
    head, force = await env.in_force()
    identity = await env.store.get(Identity, task.jkt)
    above = await env.above_of(task)
    posture, left = await env.posture(task.agent), await env.beginner(task)
    rule, whys, policies = judge(force, task, above, identity, posture, credential, call)
    if left.ended(task.opened_at):
        whys = [Why(Reason.INITIATOR_LEFT, left.ended(task.opened_at))]
    if whys or rule is None:
        raise await _denial(env, call, task, credential, whys, policies)
    lease = _reserved(env, call, task, rule)
    version = await _version(env, force, lease, call.now)
    if version is not None:
        until = min(filter(None, (lease.expires_at, version.expires_at)))
        lease = replace(lease, holds=version.label, expires_at=until)
    entry = None
    if force.catalogue.issuers[rule.issuer].kind == LOOKED_UP:
        entry = StatusEntry.drawn(env.new_id("idx"), call.now, lease.id, lease.expires_at)
        lease = replace(lease, status=entry.key)
    because = events.LeaseReserved(
        lease.id, task.id, task.agent, rule.name, rule.issuer, lease.handle, lease.expires_at, policies, above.tasks,
        task.purpose,
    )  # fmt: skip
    change = Change(because, call).put(lease, was=None).check(task).check(head).check(posture)
    change = above.guard(change.check(version) if version else change)
    change = change.check(left) if left.person else change
    if entry is not None:
        change = change.put(entry, was=None)
    await env.store.commit(change)
    return replace(lease, version=1), env.issuer(force.catalogue.issuers[rule.issuer])


async def _version(env: Env, force: InForce, lease: Lease, now: int) -> SealedSecret | None:
    """The version of a static secret that this lease will hold; None for what is minted afresh."""
    name = lease.grants.get("secret")
    if force.catalogue.issuers[lease.issuer].kind != "static" or not isinstance(name, str):
        return None
    found = current(await env.store.find(SealedSecret, {"name": name, "state": "active"}, limit=1000), now)
    if found is None:
        raise IssuerUnavailable(f"Nothing is sealed as {name}.", next_step=f"remit secret put {name}")
    return found


async def _settle(env: Env, call: Call, lease: Lease, issuer: Issuer, minted: Minted) -> tuple[Lease, Minted]:
    call = replace(call, now=env.clock())
    because = events.LeaseMinted(lease.id, lease.task)
    for _ in range(ROUNDS):
        task = await env.store.get(Task, lease.task)
        if task is None or not task.open_at(call.now):
            break
        above = await env.above_of(task)
        _, force = await env.in_force()
        catalogue = force.catalogue
        purpose = catalogue.purposes.get(task.purpose)
        rule = purpose.credential(lease.credential) if purpose else None
        frozen = above.frozen.of(catalogue.agents.get(task.agent), purpose)
        if frozen is not None or rule is None or above.closed(rule.environment) is not None:
            break
        over = above.flaw(catalogue, call.now) is not None or not above.could_have(catalogue, rule, task)
        if over or above.withholds(task, rule.name):
            break
        live = lease.live(call.now, minted.reference, minted.ends_at)
        try:
            change = Change(because, call).put(live, was=lease)
            if not lease.holds:  # a static secret is known by its version
                change = env.recognised(change, Leak(LeakKind.LEASE, lease.id), minted.parts)
            await env.store.commit(above.guard(change.check(task)))
            return live, minted
        except Conflict:
            fresh = await env.store.get(Lease, lease.id)
            if fresh is None or fresh.state is not LeaseState.RESERVED:
                break
    await _end(env, call, lease, issuer, "task ended while minting", minted.reference)
    raise Denied("The task or its credential ended before it was ready.", reasons=(Reason.TASK_NOT_OPEN.value,))


async def _end(env: Env, call: Call, reserved: Lease, issuer: Issuer, reason: str, reference: str = "") -> None:
    """Hand the lease to the reconciler, which kills and keeps killing; a `reference` that came late goes with it.

    One that is ENDED already, because a replica's clock was ahead and closed the mint window early, nobody else would
    kill: what landed since is killed here, or dies at its own end.
    """
    while True:  # whoever wins a conflict has moved it on, and it cannot move for ever
        lease = await env.store.get(Lease, reserved.id)
        if lease is None or lease.state is LeaseState.ENDED:
            with suppress(Refusal):
                await issuer.kill(reserved.known_as(reference))
            break
        because: events.Event = events.LeaseEnding(lease.id, lease.task, reason)
        if lease.state is LeaseState.ENDING:  # the reconciler has it already
            if not reference:
                break
            because, after = events.LeaseMinted(lease.id, lease.task), lease
        else:
            after = lease.ending(call.now, reason)
        with suppress(Conflict):
            await env.store.commit(Change(because, call).put(after.known_as(reference), was=lease))
            break
    env.nudge()


def judge(
    force: InForce,
    task: Task,
    above: Above,
    identity: Identity | None,
    posture: Posture,
    credential: str,
    call: Call,
) -> tuple[CredentialRule | None, list[Why], tuple[str, ...]]:
    """The rule it may be issued by now, or why it may not; and the policies that spoke."""
    agent, purpose = force.catalogue.agents.get(task.agent), force.catalogue.purposes.get(task.purpose)
    if agent is None:
        return None, [Why(Reason.AGENT_UNKNOWN, f"{task.agent} is no longer registered.")], ()
    frost = above.frost(agent, purpose)
    if frost is not None:
        return None, [frost], ()
    flaw = stale(identity, agent, call.now, max_age=purpose.identity_max_age if purpose else 0)
    if flaw:
        return None, [Why(Reason.IDENTITY_STALE, flaw)], ()
    if not task.open_at(call.now):
        return None, [Why(Reason.TASK_NOT_OPEN, f"The task is {task.state.value}; propose a new one.")], ()
    if purpose is None or purpose.revision != task.purpose_revision:
        return None, [Why(Reason.PURPOSE_SUPERSEDED, f"Purpose {task.purpose} has changed.")], ()
    over = above.flaw(force.catalogue, call.now)
    if over is not None:
        return None, [over], ()
    unmet = posture.unmet(purpose.needs, call.now)
    if unmet:
        return None, [Why(Reason.POSTURE_UNMET, unmet)], ()
    rule = purpose.credential(credential)
    if rule is None:
        offered = ", ".join(r.name for r in purpose.credentials) or "none"
        return None, [Why(Reason.CREDENTIAL_UNKNOWN, f"This purpose offers: {offered}.")], ()
    if above.withholds(task, credential):
        return None, [Why(Reason.OUT_OF_SCOPE, f"A review took {credential} away from {agent.name}.")], ()
    closed = above.closed(rule.environment)
    if closed is not None:
        return None, [closed], ()
    if call.caller.kind is CallerKind.AGENT and _hidden(force, rule):
        sentence = f"{rule.name} is used on the agent's behalf and never shown to it."
        return None, [Why(Reason.OUT_OF_SCOPE, sentence)], ()
    if not above.could_have(force.catalogue, rule, task):
        sentence = f"A task above this one could not have had {rule.name} for the same."
        return None, [Why(Reason.OUT_OF_SCOPE, sentence)], ()
    seen = above.strictest(force.catalogue, agent, purpose)
    verdict = force.bundle.verdict(facts.of_credential(*seen, above.judged(task), rule, call.now, posture.at(call.now)))
    policies = tuple(why.policy for why in verdict.why if why.policy)
    return (rule, [], policies) if isinstance(verdict, Permit) else (None, list(verdict.why), policies)


def _hidden(force: InForce, rule: CredentialRule) -> bool:
    """What cannot be killed for certain, or is somebody else's, an agent sees only if its purpose says so."""
    return force.catalogue.issuers[rule.issuer].kind in HIDDEN and not rule.reveal


def _reserved(env: Env, call: Call, task: Task, rule: CredentialRule) -> Lease:
    lease_id = env.new_id("lse")
    return Lease(
        id=lease_id,
        task=task.id,
        agent=task.agent,
        credential=rule.name,
        issuer=rule.issuer,
        handle="remit_" + lease_id.removeprefix("lse_").lower(),
        reserved_at=call.now,
        mint_until=call.now + MINT_WINDOW,
        expires_at=min(call.now + rule.ttl, task.deadline),
        grants=_filled(rule.grants, task.parameters),
        parameters=task.parameters,
        trace=call.span,
    )


def _filled(grants: Mapping[str, Json], parameters: Mapping[str, str]) -> dict[str, Json]:
    """Fill `{parameter}` in the issuer's description; a value is data there, and the issuer quotes it."""

    def fill(value: Json) -> Json:
        if isinstance(value, str):
            whole = value[:1] == "{" and value[-1:] == "}"
            return parameters.get(value[1:-1], value) if whole else value
        if isinstance(value, Mapping):
            return {key: fill(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [fill(part) for part in value]
        return value

    return {key: fill(value) for key, value in grants.items()}


async def _denial(
    env: Env, call: Call, task: Task, credential: str, whys: list[Why], policies: tuple[str, ...]
) -> Denied:
    reasons = tuple(why.reason.value for why in whys)
    because = events.IssueDenied(task.id, task.agent, credential[:128], reasons, policies)
    await env.store.commit(Change(because, call))
    return Denied(" ".join(why.sentence for why in whys), reasons=reasons)
