"""Base64url without padding (RFC 4648 section 5, RFC 7515 section 2), strictly canonical.

The libraries below this accept padding and stray bits; two spellings of one signature would slip past
every table that remembers what was used.
"""

from __future__ import annotations

import base64
import binascii
import re

from remit.domain.errors import BadToken

_ALPHABET = re.compile(r"[A-Za-z0-9_-]*\Z", re.ASCII)


def encode(data: bytes) -> str:
    """Encode without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Decode; padding, whitespace, other letters and non-zero trailing bits raise `BadToken`."""
    if not _ALPHABET.match(text) or len(text) % 4 == 1:
        raise BadToken("The token is not valid.", inside="not base64url")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as bad:  # pragma: no cover - the alphabet is checked above
        raise BadToken("The token is not valid.", inside="not base64url") from bad
    if encode(data) != text:
        raise BadToken("The token is not valid.", inside="base64url with stray bits")
    return data
