"""An identity that was seen at work, as an agent: with what was proved of it, and nothing that was only said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remit.domain.discovery import Place
from remit.domain.errors import BadField
from remit.domain.identity import SpiffeId
from remit.domain.shadow import LONGEST

from .draft import Draft, Refused, Wanted, slug


def draft(seen: Mapping[str, Any], wanted: Wanted) -> Draft:
    """`seen` is a shadow as the server shows it. A tool is no agent: its server is asked, and somebody judges."""
    kind, name, source = str(seen["kind"]), str(seen["name"]), str(seen["source"])
    if kind == "tool":
        raise Refused("a tool is adopted by `remit tool import --server NAME --into FOLDER`, which asks its server")
    if kind == "caller":
        raise Refused("an address proves nobody; find out what runs there, and adopt that")
    if len(name) >= LONGEST:
        raise Refused("its name is too long to be kept whole, and part of a name is somebody else's")
    attestation, missing = _attestation(kind, name, source)
    plain = wanted.name or slug(name.rsplit("/", 1)[-1], "agent")
    return Draft(
        name=plain,
        title=f"Seen at {source[:80]} as {name[:120]}",
        place=Place(f"shadow {seen['id']}"),
        attestation=attestation,
        open=missing,
        left=("its tools: nothing is known of them; grant what it needs in its purpose",),
    )


def _attestation(kind: str, name: str, source: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    if kind == "workload":
        try:
            SpiffeId.parse(name)
        except BadField as bad:
            raise Refused(f"its SPIFFE ID cannot be read: {bad.problem}") from bad
        return {"method": "spiffe", "spiffe_id": name}, ()
    if kind == "subject":
        missing = "Say which claims prove it, in [attestations.claims]: a subject alone may be had by others"
        return {"method": "oidc", "federation": source, "claims": {}}, (missing, f"Its sub was: {name}")
    return {"method": "join_token"}, ()
