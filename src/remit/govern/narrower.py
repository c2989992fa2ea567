"""A proposed change of the catalogue: what an agent never used is taken out of the files, whose words stay otherwise.

What other agents of a purpose still use stays in it; then the agent alone is narrower, until somebody gives it a
purpose of its own.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

import tomlkit

from remit.domain.catalogue import CatalogueFiles
from remit.domain.errors import StoreUnavailable
from remit.domain.narrowing import Held
from remit.domain.purpose import Purpose
from remit.domain.review import Review
from remit.ports import Env

from .search import Searched
from .usage import last_permit

KINDS = {"tool": ("grants", "tool"), "credential": ("credentials", "name")}


async def narrower(env: Env, log: Searched, review: Review, gone: Collection[Held]) -> dict[str, Any]:
    """`files` that change, `diff` for `git apply`, and what is `kept` because others use it."""
    head, force = await env.in_force()
    row = await env.store.get(CatalogueFiles, head.digest)
    if row is None:
        raise StoreUnavailable("The catalogue in force cannot be read.", inside=head.digest)
    before, files, kept = dict(row.files), {}, []
    for name in sorted({held.purpose for held in gone}):
        purpose, path = force.catalogue.purposes.get(name), f"purposes/{name}.toml"
        if purpose is None or path not in before:
            continue
        ours = [held for held in gone if held.purpose == name]
        needed = [held for held in ours if await _needed(log, review, purpose, held)]
        kept += [f"{held.purpose} {held.kind}:{held.name}" for held in needed]
        after = _without(before[path], [held for held in ours if held not in needed])
        if after != before[path]:
            files[path] = after
    diff = "".join(
        line
        for path, text in files.items()
        for line in difflib.unified_diff(before[path].splitlines(True), text.splitlines(True), f"a/{path}", f"b/{path}")
    )
    return {"against": head.digest, "files": files, "diff": diff, "kept": kept}


async def _needed(log: Searched, review: Review, purpose: Purpose, held: Held) -> bool:
    """Whether another agent of the purpose used it; of a credential nobody knows that here."""
    others = [agent for agent in purpose.agents if agent != review.agent]
    if held.kind != "tool":
        return bool(others)
    return any([await last_permit(log, agent, held.name) >= max(1, review.since) for agent in others])


def _without(text: str, gone: Collection[Held]) -> str:
    document = tomlkit.parse(text)
    for kind, (table, name) in KINDS.items():
        names = {held.name for held in gone if held.kind == kind}
        entries = document.get(table, [])
        for place in range(len(entries) - 1, -1, -1):
            if entries[place].get(name) in names:
                del entries[place]
        if table in document and not entries:
            del document[table]
    return tomlkit.dumps(document)
