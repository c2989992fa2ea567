"""What was seen and nobody registered, as far as somebody has said something of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ShadowDismissed:
    """Somebody has looked at what was seen, and it need not be shown any more."""

    shadow: str
    kind: str
    name: str
    source: str
    note: str
