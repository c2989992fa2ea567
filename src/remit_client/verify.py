"""What a resource server must check of a token that Remit issued, and of its proof (RFC 9068 4, RFC 9449 4.3).

Pure: bytes and keys in, a caller out, or `Unverified`, whose text says nothing a thief could use. The algorithm is the
key's, never the header's; a key from a header proves possession and nothing else.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from .keys import b64

LARGEST = 8 * 1024  # a token, in characters
TXN_TYP = "txntoken+jwt"
ACTORS = 17  # the longest chain
PROOF_AGE = 60
LEEWAY = 5  # seconds another's clock may differ


class Unverified(Exception):
    """It does not prove what it must; the text is for the server's own log."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An agent that acts in a task, for `subject`, with these scope words; by `proof` (key, id) until `spent_until`."""

    agent: str
    task: str
    subject: str
    scope: frozenset[str]
    proof: tuple[str, str]
    spent_until: float


@dataclass(frozen=True, slots=True)
class Transaction:
    """One call of a task: for `subject`, acted by `actors` (who acts now first), through `path` (the endpoint first).

    `parameters` are the task's, stated by whoever asked for it; `details` is what the endpoint said of its request.
    """

    txn: str
    subject: str
    actors: tuple[str, ...]
    scope: frozenset[str]
    path: tuple[str, ...]
    assurance: int
    task: str
    purpose: str
    parameters: Mapping[str, Any]
    details: Mapping[str, Any]
    context: Mapping[str, Any]
    expires_at: int


class Key:
    """A public key from a JWK, of the two kinds there are here."""

    def __init__(self, jwk: Mapping[str, Any]) -> None:
        if "d" in jwk:
            raise Unverified("a private key")
        self._ec: ec.EllipticCurvePublicKey | None = None
        names: tuple[str, ...]
        self.algorithms: tuple[str, ...]
        try:
            if (jwk.get("kty"), jwk.get("crv")) == ("EC", "P-256"):
                names, self.algorithms = ("crv", "kty", "x", "y"), ("ES256",)
                x, y = (int.from_bytes(_bytes(jwk[name], 32), "big") for name in ("x", "y"))
                self._ec = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
            elif (jwk.get("kty"), jwk.get("crv")) == ("OKP", "Ed25519"):
                names, self.algorithms = ("crv", "kty", "x"), ("EdDSA", "Ed25519")
                self._ed = ed25519.Ed25519PublicKey.from_public_bytes(_bytes(jwk["x"], 32))
            else:
                raise Unverified("a key of another kind")
        except (KeyError, ValueError) as bad:
            raise Unverified("not a key") from bad
        canonical = json.dumps({name: jwk[name] for name in names}, separators=(",", ":"), sort_keys=True)
        self.thumbprint = b64(sha256(canonical.encode()).digest())

    def verify(self, signature: bytes, signed: bytes) -> None:
        """Raise `Unverified` unless it is this key's."""
        if len(signature) != 64:
            raise Unverified("a signature of another length")
        try:
            if self._ec is None:
                self._ed.verify(signature, signed)
                return
            r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
            self._ec.verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))
        except InvalidSignature as bad:
            raise Unverified("the signature is not this key's") from bad


def key_id(token: str) -> str:
    """The `kid` a token names, unverified."""
    return str(_parts(token)[0].get("kid", ""))


def claimed_type(token: str) -> str:
    """The `typ` a token names, unverified."""
    return str(_parts(token)[0].get("typ", ""))


def claimed(token: str, name: str) -> str:
    """A claim of a token, unverified."""
    return str(_parts(token)[1].get(name, ""))


def caller(
    token: str, proof: str, *, keys: Mapping[str, Key], issuer: str, audience: str, method: str, url: str, now: float
) -> Caller:
    """Who sent this request. The caller of this must spend `proof` once, until `spent_until` (seconds)."""
    # 1. The token: ours, for us, now.
    header, claims, signature, signed = _parts(token)
    key = keys.get(str(header.get("kid", "")))
    if key is None:
        raise Unverified("no key of that name")
    _signed_by(key, header, signature, signed, "at+jwt")
    if claims.get("iss") != issuer or claims.get("aud") != audience:
        raise Unverified("another issuer, or for another audience")
    if not _instant(claims, "iat") <= now + LEEWAY or not now < _instant(claims, "exp"):
        raise Unverified("not yet, or no longer")
    # 2. Its holder: the proof is by the key the token is bound to, for this very request, fresh.
    bound = claims.get("cnf")
    jkt = bound.get("jkt") if isinstance(bound, Mapping) else None
    header, shown, signature, signed = _parts(proof)
    embedded = header.get("jwk")
    if not isinstance(embedded, Mapping):
        raise Unverified("a proof without a key")
    holder = Key(embedded)
    if not isinstance(jkt, str) or holder.thumbprint != jkt:
        raise Unverified("the token is bound to another key, or to none")
    _signed_by(holder, header, signature, signed, "dpop+jwt")
    if shown.get("htm") != method or _normal(_text(shown, "htu")) != _normal(url):
        raise Unverified("a proof for another request")
    if shown.get("ath") != b64(sha256(token.encode()).digest()):
        raise Unverified("a proof for another token")
    made = _instant(shown, "iat")
    if not now - PROOF_AGE - LEEWAY <= made <= now + LEEWAY:
        raise Unverified("a proof that is too old, or of the future")
    words = frozenset(_text(claims, "scope").split()) if "scope" in claims else frozenset()
    agent, task, subject = (_text(claims, name) for name in ("client_id", "txn", "sub"))
    return Caller(agent, task, subject, words, (jkt, _text(shown, "jti")), made + PROOF_AGE + 2 * LEEWAY)


def transaction(token: str, *, keys: Mapping[str, Key], issuer: str, domain: str, now: float) -> Transaction:
    """What a `Txn-Token` header says, verified offline (draft-ietf-oauth-transaction-tokens).

    It is about the call, and says nothing of who sent it: authenticate whoever sent it by other means.
    """
    header, claims, signature, signed = _parts(token)
    key = keys.get(str(header.get("kid", "")))
    if key is None:
        raise Unverified("no key of that name")
    _signed_by(key, header, signature, signed, TXN_TYP)
    if claims.get("iss") != issuer or claims.get("aud") != domain:
        raise Unverified("another issuer, or of another trust domain")
    expires_at = _instant(claims, "exp")
    if not _instant(claims, "iat") <= now + LEEWAY or not now < expires_at:
        raise Unverified("not yet, or no longer")
    told, chain = _object(claims, "tctx"), _object(_object(claims, "agentic_ctx"), "chain_metadata")
    path, level = chain.get("txn_path"), _instant(chain, "min_assurance_level")
    if (
        not isinstance(path, list)
        or not path
        or len({*map(str, path)}) != len(path)
        or claims.get("req_wl") != path[-1]
    ):
        raise Unverified("no path")
    actors: list[str] = []
    act = claims.get("act")
    while isinstance(act, Mapping) and len(actors) < ACTORS:
        actors.append(_text(act, "sub"))
        act = act.get("act")
    if not actors or act is not None:
        raise Unverified("no chain")
    details, context = (_object(of, name) if name in of else {} for of, name in ((told, "details"), (claims, "rctx")))
    txn, subject, scope = (_text(claims, name) for name in ("txn", "sub", "scope"))
    task, purpose, parameters = _text(told, "task"), _text(told, "purpose"), _object(told, "parameters")
    words, hops = frozenset(scope.split()), tuple(map(str, path))
    return Transaction(
        txn, subject, tuple(actors), words, hops, level, task, purpose, parameters, details, context, expires_at
    )


def _signed_by(key: Key, header: Mapping[str, Any], signature: bytes, signed: bytes, kind: str) -> None:
    if header.get("typ") != kind or header.get("alg") not in key.algorithms or "crit" in header:
        raise Unverified("another type or algorithm")
    key.verify(signature, signed)


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    pieces = token.split(".")
    if len(token) > LARGEST or len(pieces) != 3 or not token.isascii():
        raise Unverified("not a compact JWS")
    try:
        header, claims = (json.loads(_bytes(piece), object_pairs_hook=_once) for piece in pieces[:2])
    except (ValueError, RecursionError) as bad:
        raise Unverified("not a compact JWS") from bad
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise Unverified("not a compact JWS")
    return header, claims, _bytes(pieces[2]), f"{pieces[0]}.{pieces[1]}".encode()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unverified("a name twice")
    return found


def _bytes(text: Any, length: int = 0) -> bytes:
    """Base64url exactly as RFC 7515 writes it: one spelling for each value."""
    if not isinstance(text, str):
        raise Unverified("not base64url")
    try:
        found = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as bad:
        raise Unverified("not base64url") from bad
    if b64(found) != text or (length and len(found) != length):
        raise Unverified("not base64url")
    return found


def _object(claims: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = claims.get(name)
    if not isinstance(value, Mapping):
        raise Unverified(f"no {name}")
    return value


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 2048:
        raise Unverified(f"no {name}")
    return value


def _instant(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unverified(f"no {name}")
    return value


def _normal(url: str) -> str:
    """RFC 3986 section 6.2: scheme and host lower-case, no default port, no query and fragment, never an empty path."""
    try:
        parts = urlsplit(url)
        default = {"http": 80, "https": 443}[parts.scheme]
        port = "" if parts.port in (None, default) else f":{parts.port}"
    except (ValueError, KeyError) as bad:
        raise Unverified("not a URL") from bad
    if not parts.hostname or "@" in parts.netloc:
        raise Unverified("not a URL")
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path or '/'}"
