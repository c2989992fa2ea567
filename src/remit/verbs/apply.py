"""Apply: put a reviewed catalogue in force, whole or not at all; everywhere at once, or at some edges first."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.catalogue import Catalogue, CatalogueFiles, CatalogueHead, differences
from remit.domain.change import Change
from remit.domain.errors import BadCatalogue, BadField, Conflict, NotAsPlanned, StoreUnavailable, WrongState
from remit.domain.freeze import Frozen
from remit.domain.redecision import Place, Redecision, concerned, details, told
from remit.domain.task import Task, TaskState
from remit.formats import catalogue as catalogue_format
from remit.policy import judge
from remit.ports import Env, InForce, compiled

LOOKED_AT = 10_000
NAMED = 20


@dataclass(frozen=True, slots=True)
class Ends:
    """What becomes of open tasks: `count` of the `looked_at` would end, each with what it handed on; `some` of them by
    id, with the reason. `more`: there are more than were looked at.
    """

    count: int = 0
    looked_at: int = 0
    more: bool = False
    some: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What files would change, compiled: in words, and for open tasks, where `places` say that there may be any.
    `redecision` is what decides those again, once it is applied; empty where there is nothing to decide.
    """

    candidate: InForce
    changes: tuple[str, ...]
    head: CatalogueHead | None
    places: tuple[Place, ...]
    details: Mapping[str, str]
    ends: Ends
    redecision: str = ""


async def plan(env: Env, files: Mapping[str, str], now: int, *, limit: int = LOOKED_AT) -> Plan:
    """Compile the files and say what they would change and end; changes nothing. Judges `limit` open tasks at most."""
    candidate = compiled(catalogue_format.digest(files), tuple(sorted(files.items())))
    _check_credentials(env, candidate.catalogue)
    head = await env.store.get(CatalogueHead, "head")
    old, new = (await env.in_force())[1].catalogue if head else Catalogue(), candidate.catalogue
    places, changed = concerned(old, new), details(old, new)
    ends = await _ends(env, candidate, places, changed, now, limit)
    return Plan(candidate, differences(old, new), head, places, changed, ends)


async def apply(
    env: Env, call: Call, files: Mapping[str, str], against: Collection[str] = ()
) -> tuple[CatalogueHead, Plan]:
    """Make these files the catalogue in force; raises `BadCatalogue` or `BadPolicy` and leaves the old one.

    With `against`, only over a revision with one of these digests: what was planned is what happens, or `NotAsPlanned`.
    What is in force already is no change, so asking again after a lost answer is fine.
    Open tasks that it concerns are decided again by reconciliation, which this commit asks for.
    """
    found = await plan(env, files, call.now, limit=1000)
    head, digest = found.head, found.candidate.digest
    if head is not None and head.share:
        step = "Bring it to an end first: remit rollout finish, or remit rollout back."
        raise WrongState("A revision is being rolled out.", next_step=step)
    if head is not None and head.digest == digest:
        return head, found
    if against and (head is None or head.digest not in against):
        raise _not_as_planned(head)
    new = CatalogueHead(digest, head.number + 1 if head else 1, call.now, str(call.caller), version=0)
    because = events.CatalogueApplied(digest, head.digest if head else "", found.changes[:200])
    change = Change(because, call).put(new, was=head)
    if head is not None and found.places:
        row = _redecision(env, call, new, found.places, found.details)
        found, change = replace(found, redecision=row.id), change.put(row, was=None)
    if await env.store.get(CatalogueFiles, digest) is None:
        change = change.put(CatalogueFiles(digest, tuple(sorted(files.items()))), was=None)
    if (
        head is None and not (await env.frozen()).version
    ):  # so that there is a row to lock: the first freeze of all is seen by whoever decides meanwhile
        change = change.put(Frozen(), was=None)
    try:
        await env.store.commit(change)
    except Conflict:
        if against:
            raise _not_as_planned(await env.store.get(CatalogueHead, "head")) from None
        raise
    env.nudge()
    return new, found


def _not_as_planned(head: CatalogueHead | None) -> NotAsPlanned:
    now = f"{head.digest} (revision {head.number}, by {head.applied_by})" if head else "nothing"
    return NotAsPlanned(f"In force is {now}.", next_step="Plan again, look at it, and apply that.")


def _redecision(
    env: Env, call: Call, head: CatalogueHead, places: tuple[Place, ...], changed: Mapping[str, str]
) -> Redecision:
    return Redecision(env.new_id("rdc"), f"catalogue {head.number}", call.now, places, changed)


async def _ends(
    env: Env, candidate: InForce, places: tuple[Place, ...], changed: Mapping[str, str], now: int, limit: int
) -> Ends:
    """The judgement that open tasks get when it is applied."""
    looked: set[str] = set()
    some: list[tuple[str, str]] = []
    count = 0
    for column, value in places:
        after = ""
        while page := await env.store.find(Task, {"state": TaskState.OPEN.value, column: value}, after=after):
            after = page[-1].key
            for task in (one for one in page if one.id not in looked):
                if len(looked) == limit:
                    return Ends(count, limit, True, tuple(some))
                looked.add(task.id)
                context = (await env.context(task)).proved(now)
                opening = judge(candidate.catalogue, candidate.bundle, task, context, now)
                if opening.why:
                    count += 1
                    some += [(task.id, told("", changed, task, opening.why))][: NAMED - len(some)]
    return Ends(count, len(looked), False, tuple(some))


async def roll_out(env: Env, call: Call, files: Mapping[str, str], share: int) -> tuple[CatalogueHead, Plan]:
    """Put these files in force at `share` % of the edges, chosen by name. Everywhere else nothing changes.

    `WrongState` while another revision is rolled out, or when this one is in force already.
    """
    _checked(share)
    found = await plan(env, files, call.now, limit=1000)
    candidate, head = found.candidate, found.head
    if head is None or head.share or head.digest == candidate.digest:
        step = "Bring the other one to an end first: remit rollout finish, or remit rollout back."
        raise WrongState("There is nothing to roll out beside what is in force.", next_step=step)
    new = replace(head, number=head.number + 1, rollout=candidate.digest, share=share)
    change = Change(events.RolloutSet(candidate.digest, head.digest, share, found.changes[:200]), call)
    change = change.put(new, was=head)
    if await env.store.get(CatalogueFiles, candidate.digest) is None:
        change = change.put(CatalogueFiles(candidate.digest, tuple(sorted(files.items()))), was=None)
    await env.store.commit(change)
    return new, found


async def set_share(env: Env, call: Call, share: int) -> CatalogueHead:
    """Let more of the edges, or fewer, have what is rolled out."""
    _checked(share)
    head = await _rolling(env)
    new = replace(head, number=head.number + 1, share=share)
    await env.store.commit(Change(events.RolloutSet(head.rollout, head.digest, share, ()), call).put(new, was=head))
    return new


async def finish(env: Env, call: Call) -> CatalogueHead:
    """Put what is rolled out in force everywhere; open tasks that it concerns are decided again."""
    head = await _rolling(env)
    old, files = (await env.in_force())[1].catalogue, await env.store.get(CatalogueFiles, head.rollout)
    if files is None:
        raise StoreUnavailable("What is rolled out cannot be read.", inside=head.rollout)
    now_in_force = compiled(head.rollout, files.files).catalogue
    number, by = head.number + 1, str(call.caller)
    new = replace(head, digest=head.rollout, number=number, applied_at=call.now, applied_by=by, rollout="", share=0)
    change = Change(events.CatalogueApplied(head.rollout, head.digest, ("rolled out",)), call).put(new, was=head)
    places = concerned(old, now_in_force)
    if places:
        change = change.put(_redecision(env, call, new, places, details(old, now_in_force)), was=None)
    await env.store.commit(change)
    env.nudge()
    return new


async def take_back(env: Env, call: Call, reason: str) -> CatalogueHead:
    """Put what is in force elsewhere in force at every edge again."""
    head = await _rolling(env)
    new = replace(head, number=head.number + 1, rollout="", share=0)
    because = events.RolloutTakenBack(head.rollout, head.digest, reason[:500])
    await env.store.commit(Change(because, call).put(new, was=head))
    return new


async def _rolling(env: Env) -> CatalogueHead:
    head, _ = await env.in_force()
    if not head.share:
        raise WrongState("No revision is being rolled out.", next_step="Begin one: remit apply FOLDER --edges 10.")
    return head


def _checked(share: int) -> None:
    if not 1 <= share <= 100:
        raise BadField("share", "must be 1 to 100 percent of the edges")


def _check_credentials(env: Env, catalogue: Catalogue) -> None:
    for purpose in catalogue.purposes.values():
        for rule in purpose.credentials:
            try:
                env.issuer(catalogue.issuers[rule.issuer]).checked(rule.grants)
            except BadField as problem:
                where = f"credential {rule.name}: {problem.message}"
                raise BadCatalogue(f"purposes/{purpose.name}.toml", 1, where) from problem
