"""Where sightings of what nobody registered are kept: telemetry, bounded, and no part of the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from remit.domain.shadow import Shadow


class Shadows(Protocol):
    """Kept for all replicas."""

    async def shadowed(self, found: Sequence[Shadow]) -> int:
        """Add to what is known of each, and drop what nobody has seen for `KEPT`. Of what a reporter has said too much
        of a kind, those go that were seen least, and longest ago; returns how many.
        """
        ...

    async def shadows(self) -> Sequence[Shadow]:
        """All that are kept, the newest first."""
        ...
