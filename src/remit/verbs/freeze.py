"""Freeze: stop an agent, a purpose, a tool, a secret, an environment, an owner's estate or everything, in one commit.

What hangs below it then ends by reconciliation: its open tasks, and every credential they hold.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from remit.domain import events
from remit.domain.caller import Call, CallerKind
from remit.domain.catalogue import Catalogue
from remit.domain.change import Change
from remit.domain.errors import Absent, BadField, Busy, Conflict, WrongState
from remit.domain.freeze import Freeze, Reach
from remit.domain.lease import Lease, LeaseState
from remit.domain.purpose import Purpose
from remit.domain.restore import IN_FLIGHT, Restored
from remit.domain.task import Task, TaskState
from remit.ports import Env

ROUNDS = 64


async def freeze(env: Env, call: Call, reach: Reach, name: str, reason: str) -> Freeze:
    """Stop it. When this returns nothing below it is permitted any more; freezing twice returns the first freeze.

    An operator may stop anything, a person what they answer for; the rest is `Absent` to them (law 11).
    """
    if not reason or len(reason) > 500:
        raise BadField("reason", "say why in 1 to 500 characters: whoever is refused sees it")
    _, force = await env.in_force()
    if not _there(force.catalogue, reach, name) or not await _answers_for(env, call, force.catalogue, reach, name):
        raise Absent(inside=f"{reach.value} {name} for {call.caller}")
    for _ in range(ROUNDS):
        frozen = await env.frozen()
        found = frozen.found(reach, name)
        if found is not None:
            return found
        new = Freeze(reach, name, call.now, reason, str(call.caller))
        change = Change(events.Froze(reach.value, name, reason), call).put(frozen.began(new), was=frozen)
        try:
            await env.store.commit(change)
        except Conflict:
            continue
        env.nudge()
        return new
    raise Busy("What is frozen keeps changing.", next_step="Try again at once.")


async def unfreeze(env: Env, call: Call, reach: Reach, name: str, reason: str) -> Freeze:
    """Let it act again, in new tasks. A person may end what they froze; an operator anything."""
    if len(reason) > 500:
        raise BadField("reason", "is longer than 500 characters")
    for _ in range(ROUNDS):
        frozen = await env.frozen()
        found = frozen.found(reach, name)
        if found is None or (call.caller.kind is not CallerKind.OPERATOR and found.by != str(call.caller)):
            raise Absent(inside=f"freeze of {reach.value} {name} for {call.caller}")
        if reach is Reach.EVERYTHING:
            await _restore_is_over(env)
        change = Change(events.Unfroze(reach.value, name, reason), call).put(frozen.ended(found), was=frozen)
        try:
            await env.store.commit(change)
        except Conflict:
            continue
        return found
    raise Busy("What is frozen keeps changing.", next_step="Try again at once.")


async def _restore_is_over(env: Env) -> None:
    row = await env.store.get(Restored, "restored")
    if row is not None and not row.swept_at:
        step = f"Issuers are asked what they list, the last time {IN_FLIGHT // 1000} s after it. See `remit doctor`."
        raise WrongState("The store was restored, and that is not finished.", next_step=step)


def _there(catalogue: Catalogue, reach: Reach, name: str) -> bool:
    match reach:
        case Reach.AGENT:
            return name in catalogue.agents
        case Reach.PURPOSE:
            return name in catalogue.purposes
        case Reach.OWNER:
            return name in catalogue.people
        case Reach.TOOL:
            return name in catalogue.tools
        case Reach.SECRET:
            return any(name in purpose.secrets for purpose in catalogue.purposes.values())
        case Reach.ENVIRONMENT:
            return name in catalogue.environments
    return not name


async def _answers_for(env: Env, call: Call, catalogue: Catalogue, reach: Reach, name: str) -> bool:
    if call.caller.kind is CallerKind.OPERATOR:
        return True
    if reach in (Reach.AGENT, Reach.PURPOSE):
        thing = catalogue.agents[name] if reach is Reach.AGENT else catalogue.purposes[name]
        return await env.answers_for(thing) == call.caller.name
    return reach is Reach.OWNER and name == call.caller.name


@dataclass(frozen=True, slots=True)
class Below:
    """What still lives below a freeze: tasks that are open, and credentials that are not confirmed dead."""

    tasks: tuple[Task, ...]
    leases: tuple[Lease, ...]

    @property
    def credentials(self) -> int:
        """How many."""
        return len(self.leases)


async def below(env: Env, freeze: Freeze) -> Below:
    """Read what a freeze has not reached yet: what it stops, and what that handed on."""
    _, force = await env.in_force()
    agents, purposes = force.catalogue.agents, force.catalogue.purposes
    known: dict[str, bool] = {}

    async def stopped(task_id: str) -> bool:
        if task_id not in known:
            task = await env.store.get(Task, task_id)
            known[task_id] = task is not None and (
                freeze.stops(agents.get(task.agent), purposes.get(task.purpose))
                or any([await stopped(hop.task) for hop in task.chain.hops[:-1]])
            )
        return known[task_id]

    async def there(lease: Lease) -> bool:
        task = await env.store.get(Task, lease.task)
        purpose = purposes.get(task.purpose) if task else None
        rule = purpose.credential(lease.credential) if purpose else None
        return rule is None or rule.environment == freeze.name

    inside = there if freeze.reach is Reach.ENVIRONMENT else lambda lease: stopped(lease.task)
    tasks = await _open(env, freeze, purposes, stopped)
    leases: list[Lease] = []
    for state in (LeaseState.RESERVED, LeaseState.LIVE, LeaseState.ENDING):
        found = await env.leases_in(state)
        leases += [one for one in found if freeze.reach is Reach.EVERYTHING or await inside(one)]
    return Below(tuple(tasks), tuple(leases))


async def _open(
    env: Env, freeze: Freeze, purposes: Mapping[str, Purpose], stopped: Callable[[str], Awaitable[bool]]
) -> list[Task]:
    places = [("state", TaskState.OPEN.value)]
    match freeze.reach:
        case Reach.ENVIRONMENT:
            return []
        case Reach.AGENT | Reach.PURPOSE:
            places = [(freeze.reach.value, freeze.name)]
        case Reach.TOOL | Reach.SECRET:
            places = [("purpose", purpose.name) for purpose in purposes.values() if freeze.stops(None, purpose)]
    found: list[Task] = []
    for column, value in places:
        after = ""
        where = {"state": TaskState.OPEN.value, column: value}
        while page := await env.store.find(Task, where, after=after, limit=1000):
            found += [task for task in page if await stopped(task.id)]
            after = page[-1].key
    known = {task.id for task in found}
    for task in found:  # grows as it goes: what a task handed on hangs from it
        if task.handed:
            children = await env.store.find(Task, {"parent": task.id, "state": TaskState.OPEN.value}, limit=1000)
            found += [child for child in children if child.id not in known]
            known |= {child.id for child in children}
    return found
