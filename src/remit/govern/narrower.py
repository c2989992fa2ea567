"""A proposed change of the catalogue: what an agent never used is taken out of the files, whose words stay otherwise.

What other agents of a purpose still use stays in it; then the agent alone is narrower, until somebody gives it a
purpose of its own.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from remit.domain.catalogue import CatalogueFiles
from remit.domain.errors import BadCatalogue, StoreUnavailable
from remit.domain.narrowing import Entitlement
from remit.domain.purpose import Purpose
from remit.domain.review import Review, entitlements
from remit.ports import Env

from .excess import Excess
from .search import Searched
from .usage import unused
from .without import diff, file_of, without


async def narrower(env: Env, log: Searched, review: Review, gone: Collection[Entitlement]) -> dict[str, Any]:
    """`files` that change, `diff` for `git apply`, and what is `kept`, and why."""
    head, force = await env.in_force()
    row = await env.store.get(CatalogueFiles, head.digest)
    if row is None:
        raise StoreUnavailable("The catalogue in force cannot be read.", inside=head.digest)
    before, files, kept = dict(row.files), dict[str, str](), list[str]()
    for name in sorted({held.purpose for held in gone}):
        purpose, path = force.catalogue.purposes.get(name), file_of(name)
        if purpose is None or review.agent not in purpose.agents:
            continue
        less, why = await _less(log, review, purpose, {held for held in gone if held.purpose == name})
        kept += why
        if less:
            try:
                files[path] = without(purpose, before[path], less)
            except BadCatalogue as bad:
                kept.append(f"{name}: its file stays, and wants a person's hand: {bad}.")
    told = "".join(diff(path, before[path], text) for path, text in files.items())
    return {"against": head.digest, "files": files, "diff": told, "kept": kept}


async def _less(
    log: Searched, review: Review, purpose: Purpose, gone: Collection[Entitlement]
) -> tuple[Excess, list[str]]:
    every, others = entitlements(purpose), [agent for agent in purpose.agents if agent != review.agent]
    if every <= set(gone):
        alone = f"{purpose.name}: nobody else has it, so remove its file if nobody wants it."
        return (Excess(agents=frozenset({review.agent})), []) if others else (Excess(), [alone])
    idle = await unused(log, purpose, agents=others, since=review.since) if others else None
    free = {"tool": idle.tools, "credential": idle.credentials} if idle else {}
    needed = [held for held in sorted(gone) if idle and held.name not in free[held.kind]]
    kept = [f"{held}: other agents of this purpose use it." for held in needed]
    left = set(gone).difference(needed)
    tools = frozenset(held.name for held in left if held.kind == "tool")
    if tools and tools == {held.name for held in every if held.kind == "tool"}:
        tools = frozenset()
        kept.append(f"{purpose.name}: it keeps its tools, or it would be of no use.")
    return Excess(tools=tools, credentials=frozenset(held.name for held in left if held.kind == "credential")), kept
