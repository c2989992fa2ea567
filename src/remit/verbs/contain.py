"""Contain: take what leaked out of use, in one step.

What anybody may stop is stopped in the commit that says so: the task whose credential it is, a bearer key, a static
secret that would still be handed out; its agent too, if that is wanted. What cannot be undone, destroying the version
of a static secret, waits for somebody else's yes. What hangs below ends by reconciliation (`work.contain`).
"""

from __future__ import annotations

from dataclasses import replace

from remit.domain import events
from remit.domain.above import Branch
from remit.domain.approval import Approval, Shown
from remit.domain.caller import AccessKey, Call, Caller, CallerKind
from remit.domain.catalogue import Catalogue
from remit.domain.chain import Chain, Hop, Principal, PrincipalKind
from remit.domain.change import Change
from remit.domain.decision import Requirement
from remit.domain.errors import Absent, BadField, Busy, Conflict, Denied, WrongState
from remit.domain.finding import Finding, FindingState
from remit.domain.freeze import Freeze, Reach
from remit.domain.leak import Leak, LeakKind, Live
from remit.domain.lease import Lease, LeaseState
from remit.domain.notice import notice
from remit.domain.secret import SealedSecret, SecretState, current, key_of
from remit.domain.task import Task, TaskState
from remit.formats.jcs import canonical, digest_of
from remit.ports import Env

ROUNDS = 64
ASKED_FOR = 7 * 86_400_000
TOOL = "retire secret"


async def contain(env: Env, call: Call, finding_id: str, reason: str, *, agent: bool = False) -> Finding:
    """When this returns, what can be stopped is stopped and durable, and no permit or credential of it follows.

    `agent` freezes the agent whose credential it was, too. Containing twice returns the first. `Absent` for what is not
    there, and to whoever may not; `WrongState` for what was not recognised by its bytes, or is resolved.
    """
    if not 0 < len(reason) <= 500:
        raise BadField("reason", "say why in 1 to 500 characters")
    for _ in range(ROUNDS):
        row = await env.store.get(Finding, finding_id)
        _, force = await env.in_force()
        if row is None or not await may(env, call.caller, row, force.catalogue):
            raise Absent(inside=f"finding {finding_id} for {call.caller}")
        if not row.leak:
            step = "Freeze what it is about, or retire the secret: `remit freeze`, `remit secret retire`."
            raise WrongState("Nothing here knows what leaked by its bytes.", next_step=step)
        if row.contained_at and row.state is FindingState.OPEN:
            return row
        one = _Step(env, call, row, reason, force.catalogue)
        try:
            after = await one.taken(Leak.parse(row.leak), agent=agent)
        except Conflict:
            continue
        env.nudge()
        return after
    raise Busy("What leaked keeps changing.", next_step="Try again at once.")


class _Step:
    """One attempt: what is read, and what is written in one commit with `FindingContained`."""

    def __init__(self, env: Env, call: Call, row: Finding, reason: str, catalogue: Catalogue) -> None:
        self._env, self._call, self._row, self._catalogue = env, call, row, catalogue
        self._after = row.contained(call.now, str(call.caller))
        self._because = events.FindingContained(row.id, row.leak, reason, ())
        self._change = Change(self._because, call)

    async def taken(self, leak: Leak, *, agent: bool) -> Finding:
        """Commit it."""
        if leak.kind is LeakKind.LEASE:
            await self._lease(leak.name, agent=agent)
        elif leak.kind is LeakKind.SECRET:
            await self._secret(leak.name)
        else:
            await self._key(leak.name)
        change = replace(self._change, because=self._because).put(self._after, was=self._row)
        await self._env.store.commit(change)
        return replace(self._after, version=self._row.version + 1)

    def _ends(self, what: str) -> None:
        self._because = replace(self._because, ends=(*self._because.ends, what))

    async def _lease(self, lease_id: str, *, agent: bool) -> None:
        lease = await self._env.store.get(Lease, lease_id)
        task = await self._env.store.get(Task, lease.task) if lease else None
        assert lease is not None and task is not None  # rows are never taken away
        if task.state is TaskState.OPEN:
            why = f"{self._row.id} was contained"
            self._change = self._change.put(task.ended(TaskState.REVOKED, self._call.now, why), was=task)
            branch = await self._env.store.get(Branch, task.id) if task.handed else None
            if branch is not None:
                self._change = self._change.put(branch.ended(self._call.now), was=branch)
            self._because = replace(self._because, task=task.id, home=task.home)
            self._ends(f"task {task.id}")
        known = self._catalogue.agents.get(task.agent) if agent else None
        if known is None:
            return
        if self._call.caller.kind is CallerKind.PERSON and known.owner != self._call.caller.name:
            raise Denied(f"Only {known.owner} and operators may freeze {known.name}.", reasons=("not_its_owner",))
        await self._frozen(Reach.AGENT, known.name)

    async def _key(self, digest: str) -> None:
        key = await self._env.store.get(AccessKey, digest)
        if key is not None and self._call.now < key.expires_at:
            self._change = self._change.put(key.ended(self._call.now), was=key)
            self._ends(f"key of {key.kind.value} {key.name}")

    async def _secret(self, label: str) -> None:
        name = label.rpartition("/")[0]
        active = await self._env.store.find(SealedSecret, {"name": name, "state": "active"}, limit=1000)
        version = next((one for one in active if one.label == label), None)
        if version is None:
            return  # retired, or being so: nothing hands it out
        self._change = self._change.check(version)
        if current(active, self._call.now) is version:
            await self._frozen(Reach.SECRET, name)
        approval = self._asked(version)
        if approval is None:
            return
        self._change = self._change.put(approval, was=None)
        if self._catalogue.tells:
            self._change = self._change.put(notice(approval, self._call.now), was=None)
        self._after = replace(self._after, approval=approval.id)
        self._because = replace(self._because, approval=approval.id)

    async def _frozen(self, reach: Reach, name: str) -> None:
        frozen = await self._env.frozen()
        if frozen.found(reach, name) is not None:
            self._change = self._change.check(frozen)
            return
        new = Freeze(reach, name, self._call.now, f"contained: {self._row.title}", self._row.mark)
        self._change = self._change.put(frozen.began(new), was=frozen)
        self._ends(new.target)

    def _asked(self, version: SealedSecret) -> Approval | None:
        """What somebody else is shown; None when there is nobody."""
        who, row, now = self._call.caller.name, self._row, self._call.now
        asked = [one for one in undoers(self._catalogue, version.name) if one != who]
        if not asked:
            return None
        covers = canonical(
            {"finding": row.id, "secret": version.name, "number": version.number, "by": str(self._call.caller)}
        )
        digest = digest_of(covers)
        sentence = f"{who} asks to destroy version {version.number} of secret {version.name}. This cannot be undone."
        why = f"It was seen at {row.place}, by {row.found_by}: {row.title}."
        shown = Shown(
            sentence, TOOL, canonical({"number": version.number, "secret": version.name}).decode(),
            f"secret/{version.label}", "irreversible", row.title, (why,), (), ("NHI2:2025",),
        )  # fmt: skip
        return Approval(
            id=f"apv_{digest.removeprefix('sha256:')[:32]}",
            digest=digest,
            access=digest,
            round=1,
            task=row.id,
            chain=Chain(Principal(PrincipalKind.PERSON, who), (Hop("remit", row.id),)),
            owner="",
            shown=shown,
            needs=(Requirement(tuple(asked)),),
            asked_at=now,
            expires_at=now + ASKED_FOR,
            covers=covers.decode(),
        )


def undoers(catalogue: Catalogue, secret: str) -> tuple[str, ...]:
    """Who agrees to what cannot be undone: whom the catalogue names, or else who answers for what uses the secret."""
    owners = sorted({purpose.owner for purpose in catalogue.using(secret)})
    return catalogue.undoers or tuple(owners)


async def may(env: Env, caller: Caller, row: Finding, catalogue: Catalogue) -> bool:
    """An operator; of a lease, who may end its task; of a secret, who answers for all that uses it; whose key it is."""
    if caller.kind is not CallerKind.PERSON or not row.leak:
        return caller.kind is CallerKind.OPERATOR
    leak, name = Leak.parse(row.leak), caller.name
    if leak.kind is LeakKind.SECRET:
        using = catalogue.using(leak.name.rpartition("/")[0])
        return bool(using) and all(purpose.owner == name for purpose in using)
    if leak.kind is LeakKind.KEY:
        key = await env.store.get(AccessKey, leak.name)
        return key is not None and (key.kind, key.name) == (CallerKind.PERSON, name)
    task = await env.store.get(Task, row.name)
    agent = catalogue.agents.get(task.agent) if task else None
    purpose = catalogue.purposes.get(task.purpose) if task else None
    began = task.initiator.name if task else ""
    return name in (began, agent.owner if agent else "", purpose.owner if purpose else "")


async def live(env: Env, row: Finding, now: int) -> Live:
    """Whether what leaked still opens something here. Of a static secret that is gone here nobody can tell upstream."""
    if not row.leak:
        return Live.UNKNOWN
    leak = Leak.parse(row.leak)
    if leak.kind is LeakKind.SECRET:
        version = await env.store.get(SealedSecret, key_of(leak.name))
        gone = version is None or version.state is SecretState.RETIRED
        return Live.UNKNOWN if gone else Live.YES
    if leak.kind is LeakKind.LEASE:
        lease = await env.store.get(Lease, leak.name)
        return Live.NO if lease is None or lease.state is LeaseState.ENDED else Live.YES
    key = await env.store.get(AccessKey, leak.name)
    return Live.NO if key is None or now >= key.expires_at else Live.YES
