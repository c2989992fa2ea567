"""Envelope encryption: a fresh data key per value (AES-256-GCM), itself wrapped by the root key.

Layout, base64url: version 0x01 ‖ nonce(12) ‖ wrapped data key(32+16) ‖ nonce(12) ‖ ciphertext+tag. The
context (table and key of the row) is authenticated, so a sealed value cannot be moved to another row.
"""

from __future__ import annotations

import hmac
import os
from contextlib import suppress

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from remit.domain.errors import BadToken

from . import base64url

VERSION = 1
_NONCE, _KEY, _TAG = 12, 32, 16
_WRAP = b"remit data key v1"
_HEAD = 1 + _NONCE + _KEY + _TAG + _NONCE


def seal(plaintext: bytes, *, root_key: bytes, context: bytes) -> str:
    """Seal under a fresh data key; two seals of one value differ."""
    data_key, wrap_nonce, nonce = os.urandom(_KEY), os.urandom(_NONCE), os.urandom(_NONCE)
    version = bytes([VERSION])
    wrapped = AESGCM(root_key).encrypt(wrap_nonce, data_key, _WRAP)
    ciphertext = AESGCM(data_key).encrypt(nonce, plaintext, version + context)
    return base64url.encode(version + wrap_nonce + wrapped + nonce + ciphertext)


def unseal(envelope: str, *, root_key: bytes, context: bytes) -> bytes:
    """Open it; another root key, another row or a changed byte raises `BadToken`."""
    raw = base64url.decode(envelope)
    if len(raw) < _HEAD + _TAG or raw[0] != VERSION:
        raise BadToken("The sealed value cannot be opened.", inside="not an envelope")
    wrap_nonce, wrapped = raw[1 : 1 + _NONCE], raw[1 + _NONCE : _HEAD - _NONCE]
    nonce, ciphertext = raw[_HEAD - _NONCE : _HEAD], raw[_HEAD:]
    try:
        data_key = AESGCM(root_key).decrypt(wrap_nonce, wrapped, _WRAP)
        return AESGCM(data_key).decrypt(nonce, ciphertext, raw[:1] + context)
    except InvalidTag as bad:
        raise BadToken("The sealed value cannot be opened.", inside="wrong root key, row or bytes") from bad


def derive(root_key: bytes, context: bytes) -> bytes:
    """A key (32 bytes) for this context alone: HMAC-SHA256 under the root key."""
    return hmac.digest(root_key, b"remit derived key v1\0" + context, "sha256")


def rewrap(envelope: str, *, root_key: bytes, previous: bytes) -> str:
    """The same ciphertext, its data key under `root_key` instead of `previous`; nothing of the value is opened.

    One that is under `root_key` already comes back as it is, so this may be done again and again.
    """
    raw = base64url.decode(envelope)
    if len(raw) < _HEAD + _TAG or raw[0] != VERSION:
        raise BadToken("The sealed value cannot be opened.", inside="not an envelope")
    wrap_nonce, wrapped, rest = raw[1 : 1 + _NONCE], raw[1 + _NONCE : _HEAD - _NONCE], raw[_HEAD - _NONCE :]
    with suppress(InvalidTag):
        AESGCM(root_key).decrypt(wrap_nonce, wrapped, _WRAP)
        return envelope
    try:
        data_key = AESGCM(previous).decrypt(wrap_nonce, wrapped, _WRAP)
    except InvalidTag as bad:
        raise BadToken("The sealed value cannot be opened.", inside="under neither root key") from bad
    fresh = os.urandom(_NONCE)
    return base64url.encode(raw[:1] + fresh + AESGCM(root_key).encrypt(fresh, data_key, _WRAP) + rest)
