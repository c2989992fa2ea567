"""Attestation-based client authentication at the token endpoint (draft-ietf-oauth-attestation-based-client-auth).

The attested key is the DPoP key, with the attestation's own proof as much as without it: there is no token for
another. Every proof needs a challenge. That is a sealed instant: nothing is stored for strangers, any replica can
read it, and the first proof that carries it spends it, durably.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call
from remit.domain.errors import (
    AttestationTooOld,
    BadAttestation,
    BadField,
    BadToken,
    ChallengeWanted,
    Conflict,
    NotAttested,
)
from remit.domain.identity import Identity
from remit.formats import client_attestation, form, rfc9449
from remit.verbs.attest import ClientAttestation, attest

from .house import Asked, House, spent_proof
from .problems import json_response

ATTESTATION, POP = "oauth-client-attestation", "oauth-client-attestation-pop"
CHALLENGE = "OAuth-Client-Attestation-Challenge"
METHODS = ("attest_jwt_client_auth", "attest_jwt_client_auth_dpop")
REFUSED = "The client attestation or its proof of possession is not valid."
CHALLENGE_FOR, LEEWAY = 300_000, 5_000
_SEALED_FOR = b"oauth client attestation challenge"


def sent(asked: Asked) -> bool:
    """Whether the request has either header; then nothing else authenticates it."""
    return ATTESTATION in asked.headers or POP in asked.headers


async def client(house: House, call: Call, fields: form.Fields, asked: Asked) -> Identity:
    """Who asks. Whoever is refused learns whether to bring another challenge or attestation, and no more (law 11)."""
    if "client_assertion" in fields or "client_assertion_type" in fields:
        raise BadField("client_assertion", "is a second proof of who asks, beside OAuth-Client-Attestation; send one")
    proof = house.verified_proof(asked, call.now)
    try:
        return await _client(house, call, fields, asked, proof)
    except (BadToken, NotAttested) as flaw:
        raise BadAttestation(REFUSED, inside=flaw.inside) from flaw


async def _client(house: House, call: Call, fields: form.Fields, asked: Asked, proof: rfc9449.Proof) -> Identity:
    attestation = asked.headers.get(ATTESTATION, "")
    said = client_attestation.claimed(attestation)
    if call.now >= said.expires_at:  # unverified: this tells its bearer what it can read itself
        raise AttestationTooOld("The client attestation has expired.", next_step="Get a new one from the attester.")
    if form.one(fields, "client_id", required=False) not in ("", said.client):
        raise BadToken("", inside="client_id is not the attestation's sub")
    challenge, spent = proof.nonce, [(spent_proof(proof), proof.spent_until)]
    if POP in asked.headers:
        pop = client_attestation.parse_pop(asked.headers[POP], key=proof.key, audience=house.url, now=call.now)
        challenge = pop.challenge
        spent.append((f"attestation-pop:{proof.jkt}:{pop.jti}", pop.spent_until))
    until = _good_until(house, challenge, call.now)
    await house.spend(*spent)
    if not await house.env.store.spend(f"challenge:{sha256(challenge.encode()).hexdigest()}", until):
        raise _wanted(house, call.now, "used before")
    try:
        return await attest(house.env, call, ClientAttestation(attestation), proof.jkt, proof.key.jwk)
    except Conflict:
        # One instance, many requests at once: they prove the same, and one of them wrote it down.
        found = await house.env.store.get(Identity, proof.jkt)
        if found is None or found.evidence != sha256(attestation.encode()).hexdigest():
            raise
        return found


def fresh(house: House, now: int) -> str:
    """A challenge, good once within five minutes."""
    return house.env.sealer.seal(now.to_bytes(8, "big"), _SEALED_FOR)


def _good_until(house: House, challenge: str, now: int) -> int:
    if not challenge:
        raise _wanted(house, now, "none")
    try:
        made = int.from_bytes(house.env.sealer.unseal(challenge, _SEALED_FOR), "big")
    except BadToken as flaw:
        raise _wanted(house, now, "not of ours") from flaw
    if not now - CHALLENGE_FOR <= made <= now + LEEWAY:
        raise _wanted(house, now, "too old")
    return made + CHALLENGE_FOR + LEEWAY


def _wanted(house: House, now: int, inside: str) -> ChallengeWanted:
    step = f"Put the one in {CHALLENGE} into a fresh proof: `challenge`, or `nonce` in a DPoP proof."
    message = "The proof of possession needs a challenge of this server."
    return ChallengeWanted(message, challenge=fresh(house, now), next_step=step, inside=f"challenge: {inside}")


async def challenge(house: House, call: Call, asked: Asked) -> Response:
    """POST /oauth/challenge."""
    return json_response({"attestation_challenge": fresh(house, call.now)})


def metadata(at: str) -> dict[str, Any]:
    """Section 8."""
    return {
        "challenge_endpoint": f"{at}/oauth/challenge",
        "client_attestation_signing_alg_values_supported": client_attestation.ALGORITHMS,
        "client_attestation_pop_signing_alg_values_supported": ["ES256", "EdDSA"],
    }
