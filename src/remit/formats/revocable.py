"""Serial numbers that say when their certificate ends, so that a revocation list knows what it may forget.

`end in seconds (4 bytes) ‖ hash of the handle`. Two handles of one second that share a hash are revoked together, which
errs on the safe side; at 8 bytes that is one pair in 2^32.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256


def serial(handle: str, expires_at: int, *, size: int) -> int:
    """The serial of a certificate, `size` bytes in all; `expires_at` in ms, rounded up to a second."""
    end = -(-expires_at // 1000)
    return int.from_bytes(end.to_bytes(4, "big") + sha256(handle.encode()).digest()[: size - 4], "big")


def remembered(serials: Iterable[int], now: int, *, size: int) -> list[int]:
    """Those whose certificates may still be shown at `now` (ms), sorted; clocks may be an hour apart."""
    return sorted({one for one in serials if (one >> (8 * (size - 4))) + 3600 > now // 1000})
