"""Transact: a workload takes one call of a task further into a call graph, and can never take it wider (law 2).

The token is no authority of its own: it says which call this is part of, for whom, and through whose hands it came. It
lives as long as the credential that began it, and that as long as the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from remit.domain import events
from remit.domain.above import Above
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.decision import Reason, Why
from remit.domain.errors import Absent, Busy, Conflict, Denied
from remit.domain.flow import Json
from remit.domain.identity import Identity, stale
from remit.domain.lease import Lease, LeaseState
from remit.domain.status import StatusEntry
from remit.domain.task import Task
from remit.domain.transaction import LIFE, Transaction, TransactionRule, assurance
from remit.ports import Env, InForce

ROUNDS = 24


@dataclass(frozen=True, slots=True)
class Further:
    """What a workload asks for; `details` and `context` are the endpoint's word on its request, and only its."""

    scope: frozenset[str]
    details: Mapping[str, Json] = field(default_factory=dict)
    context: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Behind:
    """Everything a transaction hangs from, as read at one instant. `path` is who carries it, and now asks to."""

    task: Task
    lease: Lease
    above: Above
    identity: Identity | None
    path: tuple[str, ...]

    def flaw(self, force: InForce, now: int) -> Why | None:
        """Why nothing may be done in its name, if so."""
        agents, purpose = force.catalogue.agents, force.catalogue.purposes.get(self.task.purpose)
        agent = agents.get(self.task.agent)
        if agent is None or not set(self.path) <= agents.keys():
            return Why(Reason.AGENT_UNKNOWN, "An agent or workload on the way is no longer registered.")
        frosts = (self.above.frost(agent, purpose), *(self.above.frost(agents[name], None) for name in self.path))
        for frost in filter(None, frosts):
            return frost
        if not self.task.open_at(now):
            return Why(Reason.TASK_NOT_OPEN, "The task is over.")
        if purpose is None or purpose.revision != self.task.purpose_revision:
            return Why(Reason.PURPOSE_SUPERSEDED, f"Purpose {self.task.purpose} has changed.")
        if self.lease.state is not LeaseState.LIVE or now >= self.lease.expires_at:
            return Why(Reason.CREDENTIAL_ENDED, "The credential that began this has ended.")
        flaw = stale(self.identity, agent, now)
        return Why(Reason.IDENTITY_STALE, flaw) if flaw else self.above.flaw(force.catalogue, now)


async def transact(env: Env, call: Call, begun: Transaction | str, asked: Further) -> Transaction:
    """What the calling workload carries on, after the event that explains it is durable; its caller signs it.

    `begun` is the transaction of a verified token that this one replaces, or the lease of a verified access token.
    Raises `Denied` with its reason.
    """
    for _ in range(ROUNDS):
        head, force = await env.in_force()
        workload = call.caller.name
        path = (workload,) if isinstance(begun, str) else (*begun.path, workload)
        behind = await _behind(env, begun if isinstance(begun, str) else begun.lease, path)
        task, lease = behind.task, behind.lease
        found = begun if isinstance(begun, Transaction) else await _first(env, behind, asked)
        identity = await env.store.get(Identity, call.caller.jkt)
        why = behind.flaw(force, call.now)
        flaw = stale(identity, force.catalogue.agents[workload], call.now) if not why else ""
        why = why or (Why(Reason.IDENTITY_STALE, flaw) if flaw else None)
        rule = TransactionRule.of(lease.grants) or TransactionRule("")
        why = why or found.refusal(rule, workload, asked.scope)
        if why is not None:
            reasons = (why.reason.value,)
            names = (task.id, task.agent, found.txn, lease.id, str(task.initiator), path, reasons, behind.above.tasks)
            await env.store.commit(Change(events.TransactionTokenDenied(*names), call))
            raise Denied(why.sentence, reasons=reasons)
        until = min(call.now + LIFE, lease.expires_at, task.deadline)
        found = found.carried(workload, asked.scope, assurance(identity), until, call.now)
        entry = StatusEntry.drawn(env.new_id("idx"), call.now, lease.id, found.expires_at, found.path)
        found = replace(found, status=entry.key)
        because = events.TransactionTokenIssued(
            task.id,
            task.agent,
            found.txn,
            lease.id,
            str(task.initiator),
            found.path,
            tuple(sorted(found.scope)),
            found.expires_at,
            behind.above.tasks,
        )
        change = Change(because, call).put(entry, was=None).check(head).check(task).check(lease)
        try:
            await env.store.commit(behind.above.guard(change))
        except Conflict:
            continue
        return found
    raise Busy("The task is very busy.", next_step="Try again in a moment.")


async def alive(env: Env, lease: str, path: tuple[str, ...], now: int) -> bool:
    """Whether everything behind a token of this lease still is, which `path` has carried on, if anybody."""
    _, force = await env.in_force()
    return (await _behind(env, lease, path)).flaw(force, now) is None


async def _behind(env: Env, lease_id: str, path: tuple[str, ...]) -> _Behind:
    lease = await env.store.get(Lease, lease_id)
    task = await env.store.get(Task, lease.task) if lease else None
    if lease is None or task is None:
        raise Absent(inside=f"lease {lease_id}")
    identity = await env.store.get(Identity, task.jkt)
    return _Behind(task, lease, await env.above_of(task), identity, path)


async def _first(env: Env, behind: _Behind, asked: Further) -> Transaction:
    """A transaction that nobody has carried yet, as wide as the credential that begins it."""
    task, lease = behind.task, behind.lease
    scope = lease.grants.get("scope", ())
    proofs = [await env.store.get(Identity, one.jkt) for one in (*(k.task for k in behind.above.links), task)]
    return Transaction(
        txn=env.new_id("txn"),
        domain=env.trust_domain,
        subject=str(task.initiator),
        actors=tuple(hop.agent for hop in reversed(task.chain.hops)),
        scope=frozenset(str(word) for word in scope) if isinstance(scope, list | tuple) else frozenset(),
        task=task.id,
        lease=lease.id,
        purpose=task.purpose,
        issued_at=0,
        expires_at=lease.expires_at,
        assurance=min(map(assurance, proofs)),
        parameters=task.parameters,
        details=asked.details,
        context=asked.context,
    )
