"""DPoP proofs of possession (RFC 9449 section 4). The caller must spend `jti` once: this room has no memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import msgspec

from remit.domain.errors import BadProof, BadToken

from . import base64url, jwk
from .claims import instant, text
from .jws import SigningKey, peek, sign, verify

ALGORITHMS = ("ES256", "EdDSA", "Ed25519")
MAX_AGE_MS = 60_000
LEEWAY_MS = 5_000


@dataclass(frozen=True, slots=True)
class Proof:
    """Somebody holds the private half of `key` and just used it for this request."""

    jkt: str
    jti: str
    issued_at: int
    key: jwk.PublicKey
    nonce: str = ""

    @property
    def spent_until(self) -> int:
        """Remember the `jti` until then (ms); older proofs are refused by age."""
        return self.issued_at + MAX_AGE_MS + 2 * LEEWAY_MS


def parse(proof: str, *, method: str, url: str, now: int, access_token: str = "") -> Proof:
    """Run the checks of RFC 9449 section 4.3; `access_token` empty means the token endpoint, where `ath` is absent."""
    try:
        return _parse(proof, method, url, now, access_token)
    except BadToken as bad:
        raise BadProof("The DPoP proof is not valid.", next_step="Sign a fresh one.", inside=bad.inside) from bad


def _parse(text_: str, method: str, url: str, now: int, access_token: str) -> Proof:
    token = peek(text_, embedded_key=True)
    key = jwk.parse(token.header["jwk"])
    if not set(key.algorithms) & set(ALGORITHMS):
        raise BadToken("", inside="an algorithm DPoP does not use here")
    if "kid" in token.header:
        token.header.pop("kid")
    claims = verify(token, [key], typ=("dpop+jwt",))
    if claims.get("htm") != method:
        raise BadToken("", inside=f"htm is not {method}")
    if normal_url(text(claims, "htu")) != normal_url(url):
        raise BadToken("", inside=f"htu is not {url}")
    issued_at = instant(claims, "iat")
    if not now - MAX_AGE_MS - LEEWAY_MS <= issued_at <= now + LEEWAY_MS:
        raise BadToken("", inside="iat is too old or in the future")
    wanted = ath(access_token) if access_token else None
    if claims.get("ath") != wanted:
        raise BadToken("", inside="ath is not of this access token")
    nonce = text(claims, "nonce", limit=512) if "nonce" in claims else ""
    return Proof(key.thumbprint, text(claims, "jti", limit=128), issued_at, key, nonce)


def ath(access_token: str) -> str:
    """Base64url SHA-256 of the token's ASCII text."""
    return base64url.encode(sha256(access_token.encode()).digest())


def normal_url(url: str) -> str:
    """Scheme and host lower-case; default port, query and fragment dropped; empty path `/` (RFC 3986 section 6.2)."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as bad:
        raise BadToken("", inside="htu is not a URL") from bad
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise BadToken("", inside="htu is not an http(s) URL")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme.lower()]
    suffix = "" if port in (None, default) else f":{port}"
    return f"{parts.scheme.lower()}://{host}{suffix}{parts.path or '/'}"


def make(
    key: SigningKey,
    public: Mapping[str, str],
    *,
    method: str,
    url: str,
    now: int,
    jti: str,
    access_token: str = "",
) -> str:
    """Sign a proof, as an agent does."""
    claims: dict[str, Any] = {"jti": jti, "htm": method, "htu": url, "iat": now // 1000}
    if access_token:
        claims["ath"] = ath(access_token)
    nameless = SigningKey("", key.algorithm, key.sign)
    return sign(msgspec.json.encode(claims), typ="dpop+jwt", key=nameless, extra={"jwk": dict(public)})
