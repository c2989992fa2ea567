"""Apply: put a reviewed catalogue in force, whole or not at all; everywhere at once, or at some edges first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.catalogue import Catalogue, CatalogueFiles, CatalogueHead, differences
from remit.domain.change import Change
from remit.domain.errors import BadCatalogue, BadField, WrongState
from remit.domain.freeze import Frozen
from remit.formats import catalogue as catalogue_format
from remit.ports import Env, InForce, compiled


async def plan(env: Env, files: Mapping[str, str]) -> tuple[InForce, tuple[str, ...], CatalogueHead | None]:
    """Compile the files and say in words what they would change; changes nothing."""
    candidate = compiled(catalogue_format.digest(files), tuple(sorted(files.items())))
    _check_credentials(env, candidate.catalogue)
    head = await env.store.get(CatalogueHead, "head")
    current = (await env.in_force())[1].catalogue if head else Catalogue()
    return candidate, differences(current, candidate.catalogue), head


async def apply(env: Env, call: Call, files: Mapping[str, str]) -> tuple[CatalogueHead, tuple[str, ...]]:
    """Make these files the catalogue in force; raises `BadCatalogue` or `BadPolicy` and leaves the old one."""
    candidate, summary, head = await plan(env, files)
    if head is not None and head.share:
        step = "Bring it to an end first: remit rollout finish, or remit rollout back."
        raise WrongState("A revision is being rolled out.", next_step=step)
    if head is not None and head.digest == candidate.digest:
        return head, ()
    new = CatalogueHead(candidate.digest, head.number + 1 if head else 1, call.now, str(call.caller), version=0)
    because = events.CatalogueApplied(candidate.digest, head.digest if head else "", summary[:200])
    change = Change(because, call).put(new, was=head)
    if await env.store.get(CatalogueFiles, candidate.digest) is None:
        change = change.put(CatalogueFiles(candidate.digest, tuple(sorted(files.items()))), was=None)
    if (
        head is None and not (await env.frozen()).version
    ):  # so that there is a row to lock: the first freeze of all is seen by whoever decides meanwhile
        change = change.put(Frozen(), was=None)
    await env.store.commit(change)
    return new, summary


async def roll_out(env: Env, call: Call, files: Mapping[str, str], share: int) -> tuple[CatalogueHead, tuple[str, ...]]:
    """Put these files in force at `share` % of the edges, chosen by name. Everywhere else nothing changes.

    `WrongState` while another revision is rolled out, or when this one is in force already.
    """
    _checked(share)
    candidate, summary, head = await plan(env, files)
    if head is None or head.share or head.digest == candidate.digest:
        step = "Bring the other one to an end first: remit rollout finish, or remit rollout back."
        raise WrongState("There is nothing to roll out beside what is in force.", next_step=step)
    new = replace(head, number=head.number + 1, rollout=candidate.digest, share=share)
    change = Change(events.RolloutSet(candidate.digest, head.digest, share, summary[:200]), call).put(new, was=head)
    if await env.store.get(CatalogueFiles, candidate.digest) is None:
        change = change.put(CatalogueFiles(candidate.digest, tuple(sorted(files.items()))), was=None)
    await env.store.commit(change)
    return new, summary


async def set_share(env: Env, call: Call, share: int) -> CatalogueHead:
    """Let more of the edges, or fewer, have what is rolled out."""
    _checked(share)
    head = await _rolling(env)
    new = replace(head, number=head.number + 1, share=share)
    await env.store.commit(Change(events.RolloutSet(head.rollout, head.digest, share, ()), call).put(new, was=head))
    return new


async def finish(env: Env, call: Call) -> CatalogueHead:
    """Put what is rolled out in force everywhere."""
    head = await _rolling(env)
    number, by = head.number + 1, str(call.caller)
    new = replace(head, digest=head.rollout, number=number, applied_at=call.now, applied_by=by, rollout="", share=0)
    because = events.CatalogueApplied(head.rollout, head.digest, ("rolled out",))
    await env.store.commit(Change(because, call).put(new, was=head))
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
