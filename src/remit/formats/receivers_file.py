"""`[receivers.NAME]` in `remit.toml`: a system that may be told what ends here, and of what."""

from __future__ import annotations

from remit.domain.stream import Receiver

from .toml_source import Section


def read(name: str, s: Section) -> Receiver:
    """The entry; a key missing, wrong or unknown is a `BadCatalogue` with its line."""
    found = Receiver(
        name,
        s.text("audience", limit=2048),
        s.texts("audiences", ()),
        s.texts("agents", ()),
        s.flag("everything", False),
        s.flag("allow_private_network", False),
    )
    if found.everything == bool(found.audiences or found.agents):
        s.fail("audiences", "say 'everything = true', or else whose: 'audiences', 'agents' or both")
    return found
