"""`[edges.NAME]` of `remit.toml`: where an edge is, which tasks it may be given, and how old what it knows may be."""

from __future__ import annotations

import re

from remit.domain.estate import LONGEST_STALE, STALE_AFTER, Edge
from remit.domain.tool import Effect

from .toml_source import Section


def read(name: str, s: Section) -> Edge:
    """One edge; every flaw is a `BadCatalogue` at its line."""
    url = s.text("url", limit=2048)
    if not re.fullmatch(r"https://[^\s/?#@]+|http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", url):
        s.fail("url", "'url' must be https://HOST[:PORT] and nothing after it, or http:// on loopback")
    general = s.duration("stale_after", STALE_AFTER)
    by_effect = s.table("stale")
    stale = {effect: by_effect.duration(effect.word, general) for effect in Effect}
    by_effect.done()
    for effect, bound in stale.items():
        if not 1_000 <= bound <= LONGEST_STALE:
            s.fail("stale_after", f"{effect.word} calls: the bound must be from 1s to 1h")
    return Edge(name, url, s.text("owner", limit=64), s.texts("purposes", ()), stale)
