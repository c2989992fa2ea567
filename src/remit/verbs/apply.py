"""Apply: put a reviewed catalogue in force, whole or not at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.catalogue import Catalogue, CatalogueFiles, CatalogueHead, differences
from remit.domain.change import Change
from remit.domain.errors import BadCatalogue, BadField, Conflict, NotAsPlanned
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


async def apply(
    env: Env, call: Call, files: Mapping[str, str], against: Collection[str] = ()
) -> tuple[CatalogueHead, tuple[str, ...]]:
    """Make these files the catalogue in force; raises `BadCatalogue` or `BadPolicy` and leaves the old one.

    With `against`, only over a revision with one of these digests: what was planned is what happens, or `NotAsPlanned`.
    What is in force already is no change, so asking again after a lost answer is fine.
    """
    candidate, summary, head = await plan(env, files)
    if head is not None and head.digest == candidate.digest:
        return head, ()
    if against and (head is None or head.digest not in against):
        raise _not_as_planned(head)
    new = CatalogueHead(candidate.digest, head.number + 1 if head else 1, call.now, str(call.caller), version=0)
    because = events.CatalogueApplied(candidate.digest, head.digest if head else "", summary[:200])
    change = Change(because, call).put(new, was=head)
    if await env.store.get(CatalogueFiles, candidate.digest) is None:
        change = change.put(CatalogueFiles(candidate.digest, tuple(sorted(files.items()))), was=None)
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
    return new, summary


def _not_as_planned(head: CatalogueHead | None) -> NotAsPlanned:
    now = f"{head.digest} (revision {head.number}, by {head.applied_by})" if head else "nothing"
    return NotAsPlanned(f"In force is {now}.", next_step="Plan again, look at it, and apply that.")


def _check_credentials(env: Env, catalogue: Catalogue) -> None:
    for purpose in catalogue.purposes.values():
        for rule in purpose.credentials:
            try:
                env.issuer(catalogue.issuers[rule.issuer]).checked(rule.grants)
            except BadField as problem:
                where = f"credential {rule.name}: {problem.message}"
                raise BadCatalogue(f"purposes/{purpose.name}.toml", 1, where) from problem
