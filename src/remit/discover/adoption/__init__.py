"""What was found, as catalogue entries for somebody to review: who it is, what it may be asked, and its tools.

Whatever is read here was written by strangers: names are made plain, values are quoted, secrets stay where they are and
become references, and an effect that nothing tells is irreversible. Nothing here writes a file or asks anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from remit.domain.discovery import Noun, Thing

from ..files import File
from . import pipelines, programs, servers, shadows
from .draft import Draft, Refused, Wanted, slug, written

ADOPTABLE = (Noun.AGENT, Noun.MCP_SERVER, Noun.PIPELINE)

__all__ = ["ADOPTABLE", "Draft", "Refused", "Wanted", "draft", "shadows", "slug", "written"]


def draft(file: File, things: list[Thing], wanted: Wanted, described: Mapping[str, Any]) -> Draft:
    """These things of one file as one agent; `Refused` says why not.

    `described` is what MCP servers that were asked said of their tools, by the name they have in the file.
    """
    nouns = {thing.noun for thing in things}
    if not things or nouns - set(ADOPTABLE):
        odd = ", ".join(sorted(noun.value for noun in nouns)) or "nothing"
        raise Refused(f"{file.path} has {odd} there; what can be adopted: agents, MCP servers, pipelines")
    if nouns == {Noun.MCP_SERVER}:
        made = servers.draft(file, {thing.name for thing in things}, wanted, described)
    elif len(things) > 1:
        raise Refused(f"{file.path} has {len(things)} of them; name one by its id")
    elif nouns == {Noun.PIPELINE}:
        made = pipelines.draft(file, things[0], wanted)
    else:
        made = programs.draft(file, things[0], wanted)
    return replace(made, name=wanted.name) if wanted.name else made
