"""The opaque `requestState` of MCP 2026-07-28 (multi round-trip requests): sealed, and bound to what it was made for.

Whoever holds one can neither read nor change it (AES-256-GCM), and it opens for nothing but the very request it
belongs to. That it is used once is the caller's to remember, by `handle`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from remit.domain.errors import BadToken, Refusal

from . import base64url

LIMIT = 64 * 1024
_NONCE = 12
_NAME = b"remit request state v1"


@dataclass(frozen=True, slots=True)
class RequestState:
    """`caller`, `tool` and `arguments` (a digest) are what it is bound to; `until` is in ms.

    `approval` is what is waited for; `upstream` is a server's own state, to be given back to it alone.
    """

    caller: str
    tool: str
    arguments: str
    until: int
    approval: str = ""
    upstream: str | None = None
    handle: str = ""


def key_of(secret: str) -> bytes:
    """The sealing key that everybody with this secret shares."""
    return sha256(_NAME + b"\x00" + secret.encode()).digest()


def seal(state: RequestState, *, key: bytes) -> str:
    """Seal it; two seals of one state differ."""
    nonce = os.urandom(_NONCE)
    return base64url.encode(nonce + AESGCM(key).encrypt(nonce, msgspec.json.encode(asdict(state)), _NAME))


def unseal(text: str, *, key: bytes, caller: str, tool: str, arguments: str, now: int) -> RequestState:
    """Open one that was sealed for exactly this; any flaw is one `BadToken`."""
    try:
        state = _open(text, key)
    except (InvalidTag, Refusal, ValueError, TypeError, msgspec.DecodeError) as bad:
        raise _bad("forged, cut, or another gateway's") from bad
    if (state.caller, state.tool, state.arguments) != (caller, tool, arguments):
        raise _bad("another caller's, tool's or other arguments'")
    if now >= state.until:
        raise _bad("expired")
    return state


def _open(text: str, key: bytes) -> RequestState:
    if len(text) > LIMIT:
        raise ValueError("too long")
    raw = base64url.decode(text)
    found: Mapping[str, Any] = msgspec.json.decode(AESGCM(key).decrypt(raw[:_NONCE], raw[_NONCE:], _NAME))
    return RequestState(**found)


def _bad(inside: str) -> BadToken:
    return BadToken("The requestState is not valid.", next_step="Call again without it.", inside=inside)
