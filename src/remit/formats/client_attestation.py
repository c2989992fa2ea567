"""OAuth 2.0 attestation-based client authentication (draft-ietf-oauth-attestation-based-client-auth, July 2026).

An attester signs whose instance holds which key (section 4); the instance signs that it holds it, here and now
(section 5). Only keys written in the catalogue, or at an address written there, sign attestations: `jku`, `x5c` and
`jwk` in a header name nobody. A MAC is no attestation here, though the draft allows one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from remit.domain.errors import BadToken, Refusal
from remit.domain.identity import Attestation, Attester

from . import json_input, jwk
from .claims import check_audience, check_issuer, check_lifetime, instant, text
from .jws import bad, peek, verify
from .rfc9449 import LEEWAY_MS, MAX_AGE_MS
from .toml_source import Section

ATTESTATION_TYP, POP_TYP = "oauth-client-attestation+jwt", "oauth-client-attestation-pop+jwt"
ALGORITHMS = ("ES256", "ES384", "ES512", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512")
LIMIT = 8_192  # characters of one header; a chain of certificates has no business in it
KEYS_LIMIT = 16


@dataclass(frozen=True, slots=True)
class ClaimedAttestation:
    """What an attestation says, unverified: good for choosing whom to ask, and for refusing what says it is old."""

    client: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class VerifiedAttestation:
    """The instance of `client` that holds the key `jkt` is genuine, says the attester's key `signed_by` (a thumbprint).

    Instants in ms. `made_at` is 0 when the attestation does not say: then it is of no age that anybody could rely on.
    """

    client: str
    jkt: str
    made_at: int
    expires_at: int
    signed_by: str


@dataclass(frozen=True, slots=True)
class Possession:
    """The instance's key was used just now, for us. The caller must spend `jti` once, until `spent_until` (ms)."""

    jti: str
    challenge: str
    spent_until: int


def claimed(attestation: str) -> ClaimedAttestation:
    """Whose it says it is, and until when."""
    if len(attestation) > LIMIT:
        raise bad("too long")
    claims = peek(attestation).claims()
    return ClaimedAttestation(text(claims, "sub"), instant(claims, "exp"))


def parse(
    attestation: str, *, issuer: str, audience: str, keys: Sequence[jwk.PublicKey], now: int
) -> VerifiedAttestation:
    """The checks of section 7.1 that need no request. `issuer`, unless empty, is the `iss` it must have.

    The draft knows no `aud` in it; one that is there anyway must name us (RFC 7519 section 4.1.3).
    """
    token = peek(attestation)
    claims = verify(token, keys, typ=(ATTESTATION_TYP,))
    if issuer:
        check_issuer(claims, issuer)
    said = claims.get("aud", audience)
    if audience not in (said if isinstance(said, list) else [said]):
        raise bad(f"aud is there and is not {audience}")
    # No leeway: what it proves ends at its `exp` by our clock, so it could prove nothing after.
    expires_at = check_lifetime(claims, now)
    if now >= expires_at:
        raise bad("expired")
    cnf = claims.get("cnf")
    if not isinstance(cnf, dict) or list(cnf) != ["jwk"]:
        raise bad("cnf is not exactly a jwk")
    try:
        key = jwk.parse(cnf["jwk"])
    except BadToken as flaw:
        raise bad(f"cnf.jwk is {flaw.inside}") from flaw
    made_at = min(now, instant(claims, "iat")) if "iat" in claims else 0
    signed_by = jwk.choose(keys, token.kid).thumbprint
    return VerifiedAttestation(text(claims, "sub"), key.thumbprint, made_at, expires_at, signed_by)


def parse_pop(pop: str, *, key: jwk.PublicKey, audience: str, now: int) -> Possession:
    """The checks of section 7.2; the audience is the issuer URL alone. `challenge` is empty when there is none."""
    if len(pop) > LIMIT:
        raise bad("too long")
    token = peek(pop)
    token.header.pop("kid", None)  # the key is the attested one, whatever name it goes by
    claims = verify(token, [key], typ=(POP_TYP,))
    check_audience(claims, audience)
    check_lifetime({"exp": 2**40 - 1, **claims}, now)  # `exp` and `nbf` are no part of it, but are kept when said
    issued_at = instant(claims, "iat")
    if issued_at < now - MAX_AGE_MS - LEEWAY_MS:
        raise bad("iat is too old")
    challenge = text(claims, "challenge", limit=512) if "challenge" in claims else ""
    return Possession(text(claims, "jti", limit=128), challenge, issued_at + MAX_AGE_MS + 2 * LEEWAY_MS)


def unmet(rule: Attestation, said: VerifiedAttestation, jkt: str) -> list[str]:
    """What speaks against this rule, for the operator alone; `jkt` is the key whose possession was proved."""
    return [
        flaw
        for holds, flaw in (
            (said.client == rule.client, "sub is another client's"),
            (said.jkt == jkt, f"cnf.jwk is not the key of the proof, {jkt}"),
            (rule.key in ("", said.signed_by), f"signed by {said.signed_by}, this rule is for {rule.key}"),
        )
        if not holds
    ]


# --- the attester, as the catalogue writes it ---


def trusted(document: Any) -> tuple[jwk.PublicKey, ...]:
    """Keys of a JWK set that sign with one algorithm; RSA that leaves it open, without `alg`, is left out."""
    return tuple(key for key in jwk.parse_set(document) if key.algorithms[0] == "EdDSA" or len(key.algorithms) == 1)


def pinned(attester: Attester) -> tuple[jwk.PublicKey, ...]:
    """The keys written in the catalogue; none when they are at an address."""
    return trusted(json_input.parse(attester.keys.encode(), limit=400_000)) if attester.keys else ()


def read(name: str, s: Section) -> Attester:
    """One `[attesters.NAME]`: whom we believe, by pinned keys or by an address that is written here."""
    attester = Attester(
        name,
        s.text("issuer", "", limit=2048),
        s.text("keys", "", limit=100_000),
        s.text("jwks_uri", "", limit=2048),
        s.flag("allow_private_network", False),
    )
    if bool(attester.keys) is bool(attester.jwks_uri):
        s.fail("keys", "an attester has either 'keys', a JWK set as JSON, or 'jwks_uri'")
    plain = attester.allow_private_network and attester.jwks_uri.startswith("http://")
    if attester.jwks_uri and not plain and not re.match(r"https://[^\s?#@]+\Z", attester.jwks_uri):
        s.fail("jwks_uri", "'jwks_uri' must be an https:// URL")
    if attester.keys:
        try:
            written = json.loads(attester.keys).get("keys", ())
            found = pinned(attester)
        except (ValueError, AttributeError, RecursionError, Refusal) as flaw:
            inside = flaw.inside if isinstance(flaw, Refusal) else type(flaw).__name__
            s.fail("keys", f"'keys' is not a JWK set: {inside}")
        # All of them: a key that would silently count for nothing is a mistake.
        if not found or len(found) != len(written) or len(found) > KEYS_LIMIT:
            s.fail("keys", f"'keys' must be 1 to {KEYS_LIMIT} public signature keys; an RSA key says its 'alg'")
    return attester


def rules(written: Attestation, attester: Attester | None) -> tuple[Attestation, ...]:
    """One rule for each pinned key: taking a key away ends what it proved, adding one ends nothing.

    Keys at an address come and go by themselves; there the rule is for whatever key is there.
    """
    if attester is None:
        return (written,)
    about = f"{written.rule} {attester.issuer} {attester.jwks_uri}"
    keys = [key.thumbprint for key in pinned(attester)] or [""]
    digests = [sha256(f"{about} {key}".encode()).hexdigest()[:16] for key in keys]
    return tuple(replace(written, key=key, rule=rule) for key, rule in zip(keys, digests, strict=True))
