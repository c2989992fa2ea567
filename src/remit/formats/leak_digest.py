"""What a secret is known again by: HMAC-SHA256 (RFC 2104) twice, under two keys (see `domain.leak`)."""

from __future__ import annotations

import re
from hmac import digest as keyed

from remit.domain.errors import BadField

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_OF = b"remit leak v1\0"


def seen(scan_key: bytes, secret: str) -> str:
    """What leaves the machine that was scanned; white space around a secret is none of it."""
    return keyed(scan_key, _OF + secret.strip().encode("utf-8", "surrogatepass"), "sha256").hex()


def kept(kept_key: bytes, digest: str) -> str:
    """What is stored and compared here; `BadField` for what is no digest."""
    if not _DIGEST.match(digest):
        raise BadField("digest", "must be 64 hexadecimal digits")
    return keyed(kept_key, bytes.fromhex(digest), "sha256").hex()
