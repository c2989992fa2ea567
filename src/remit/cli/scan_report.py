"""What a scan found, told to a server: digests under its scan key and places, never a secret.

The server says that it took them, and nothing else; what it knows of them is for its operators.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from remit.domain.discovery import Flaw, Scan
from remit.formats import base64url

from .api import Api
from .output import plain

AT_ONCE = 1_000
PLACE = 200


def scan_key(api: Api) -> bytes:
    """What to digest under."""
    return base64url.decode(str(api.get("/v1/scans/key")["key"]))


def send(api: Api, found: Scan, digests: Mapping[str, set[str]], where: Path) -> int:
    """Tell the server; returns how many secrets that were."""
    seen = [one for flaw in found.flaws for one in _seen(flaw, digests, where)]
    for start in range(0, len(seen), AT_ONCE):
        api.post("/v1/scans", {"seen": seen[start : start + AT_ONCE]})
    return sum(1 for flaw in found.flaws if flaw.fingerprint)


def _seen(flaw: Flaw, digests: Mapping[str, set[str]], where: Path) -> Iterator[dict[str, Any]]:
    """A place that a stranger named is spelled out, and keeps its end: where in which file."""
    text = plain(f"{where.resolve().name}/{flaw.place}")
    place = text if len(text) <= PLACE else f"…{text[1 - PLACE :]}"
    for digest in sorted(digests.get(flaw.fingerprint, ())):
        yield {"digest": digest, "rule": flaw.rule, "place": place, "live": flaw.live or "unknown"}
