"""A proposed change of the catalogue: what an agent never used is taken out of the files, whose words stay otherwise.

What other agents of a purpose still use stays in it; then the agent alone is narrower, until somebody gives it a
purpose of its own.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

from remit.domain.catalogue import CatalogueFiles
from remit.domain.errors import StoreUnavailable
from remit.domain.narrowing import Entitlement
from remit.domain.purpose import Purpose
from remit.domain.review import Review, entitlements
from remit.ports import Env

from .rightsize import Less, written
from .search import Searched
from .usage import never_used


async def narrower(env: Env, log: Searched, review: Review, gone: Collection[Entitlement]) -> dict[str, Any]:
    """`files` that change, `diff` for `git apply`, and what is `kept`, and why."""
    head, force = await env.in_force()
    row = await env.store.get(CatalogueFiles, head.digest)
    if row is None:
        raise StoreUnavailable("The catalogue in force cannot be read.", inside=head.digest)
    before, files, kept, lines = dict(row.files), {}, list[str](), list[str]()
    for name in sorted({held.purpose for held in gone}):
        purpose, path = force.catalogue.purposes.get(name), f"purposes/{name}.toml"
        if purpose is None or review.agent not in purpose.agents:
            continue
        less, why = await _less(log, review, purpose, {held for held in gone if held.purpose == name})
        kept += why
        if less:
            files[path] = text = written(purpose, before[path], less)
            pair = (before[path].splitlines(True), text.splitlines(True))
            lines += difflib.unified_diff(*pair, f"a/{path}", f"b/{path}")
    diff = "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
    return {"against": head.digest, "files": files, "diff": diff, "kept": kept}


async def _less(
    log: Searched, review: Review, purpose: Purpose, gone: Collection[Entitlement]
) -> tuple[Less, list[str]]:
    every, others = entitlements(purpose), [agent for agent in purpose.agents if agent != review.agent]
    if every <= set(gone):
        alone = f"{purpose.name}: nobody else has it, so remove its file if nobody wants it."
        return (Less(agents=frozenset({review.agent})), []) if others else (Less(), [alone])
    needed = [
        held
        for held in sorted(gone)
        if not all([await never_used(log, agent, held, since=review.since) for agent in others])
    ]
    kept = [f"{held}: other agents of this purpose use it." for held in needed]
    left = set(gone).difference(needed)
    tools = frozenset(held.name for held in left if held.kind == "tool")
    if tools and tools == {held.name for held in every if held.kind == "tool"}:
        tools = frozenset()
        kept.append(f"{purpose.name}: it keeps its tools, or it would be of no use.")
    return Less(tools=tools, credentials=frozenset(held.name for held in left if held.kind == "credential")), kept
