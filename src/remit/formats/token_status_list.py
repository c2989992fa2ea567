"""Token Status List (draft-ietf-oauth-status-list): what a token says of its place in one, and the list as a JWT.

Whoever verifies a token asks for the list at `uri`, whose `sub` must be that, and reads the bits at `idx`, the least
significant first. 0 is VALID, 1 INVALID.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

from . import base64url
from .jws import SigningKey, sign

MEDIA = "application/statuslist+jwt"
VALID, INVALID = 0, 1
TTL = 15  # s: how old whoever keeps a list lets it become
LIFE = 60  # s: after it a list says nothing any more


def address(issuer: str, number: int | str) -> str:
    """The URI of a list of ours."""
    return f"{issuer}/status/{number}"


def claim(issuer: str, entry: str) -> dict[str, Any]:
    """The `status` of a token (section 6.2), from its `list/index`."""
    number, _, index = entry.partition("/")
    return {"status_list": {"idx": int(index), "uri": address(issuer, number)}}


def packed(statuses: Mapping[int, int], size: int, *, bits: int = 1, others: int = VALID) -> bytes:
    """The compressed byte array (section 4.1) of `size` tokens; `others` is the status of those that are not named."""
    each = 8 // bits
    fill = sum(others << (bits * place) for place in range(each))
    array = bytearray([fill]) * (size // each)
    mask = (1 << bits) - 1
    for index, status in statuses.items():
        shift = bits * (index % each)
        array[index // each] = array[index // each] & ~(mask << shift) | status << shift
    return zlib.compress(array, 9)


def encode(uri: str, array: bytes, now: int, key: SigningKey, *, bits: int = 1) -> str:
    """Serialize and sign (section 5.1); `now` in ms."""
    claims = {
        "sub": uri,
        "iat": now // 1000,
        "exp": now // 1000 + LIFE,
        "ttl": TTL,
        "status_list": {"bits": bits, "lst": base64url.encode(array)},
    }
    return sign(msgspec.json.encode(claims), typ="statuslist+jwt", key=key)
