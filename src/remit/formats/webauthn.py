"""Passkeys (W3C Web Authentication Level 3): what a person's device is asked to sign, and whether it did.

A challenge is the SHA-256 of a statement in canonical JSON (RFC 8785). The statement of an answer names the approval,
the digest of what was shown, yes or no, the note's digest, the terms of a standing yes, the person, and a nonce of ours
with its end. So the signature is over all of that, and whoever has the log can compute it again. Nothing is kept
between asking and answering: a nonce carries a MAC over its statement, and is spent when it is used.

User verification (a finger, a face, a PIN) is always wanted: presence alone is not consent.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from webauthn import generate_registration_options, verify_authentication_response, verify_registration_response
from webauthn.helpers import options_to_json_dict
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AttestationConveyancePreference,
    AttestationFormat,
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from remit.domain.approval import Again
from remit.domain.errors import BadField, BadPasskey, BadToken
from remit.domain.passkey import Signed

from . import base64url
from .jcs import canonical

CHALLENGE_TTL = 300_000
LIMIT = 16_384
_ALGORITHMS = [
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]

Statement = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """Who passkeys are made for: `id` is a domain, `origin` the one place in the web where they are used."""

    id: str
    origin: str


def relying_party(url: str) -> RelyingParty:
    """The relying party of a public URL; `BadField` where browsers would make no passkey.

    On loopback people come by the name, which is what their browsers make passkeys for.
    """
    url = url.replace("http://127.0.0.1:", "http://localhost:", 1)
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        ip_address(host)
        step = "Start with --public-url http://localhost:PORT to try it, or https:// and a domain; then open that."
        raise BadField("public URL", f"passkeys belong to a name, and {host} is an address", next_step=step)
    except ValueError:
        pass
    if parts.scheme != "https" and host != "localhost":
        step = "Give --tls-cert and --tls-key, or put a TLS proxy in front and say its --public-url."
        raise BadField("public URL", f"browsers make passkeys over https only, and {url} is not", next_step=step)
    return RelyingParty(host, f"{parts.scheme}://{parts.netloc}")


def note_digest(note: str) -> str:
    """What a note is in a statement and in the log: `sha256:<hex>`, or nothing for no note."""
    return "sha256:" + sha256(note.encode()).hexdigest() if note else ""


def answer_statement(
    approval: str, digest: str, person: str, yes: bool, note: str, again: Again, nonce: str, expires_at: int
) -> Statement:
    """What is signed by an answer; `note` is its digest."""
    terms = {"count": again.count, "until": again.until, "released": list(again.released)}
    return {
        "statement": "remit approval answer 1",
        "approval": approval,
        "digest": digest,
        "person": person,
        "answer": "yes" if yes else "no",
        "note": note,
        "again": terms,
        "nonce": nonce,
        "expires_at": expires_at,
    }


def registration_statement(person: str, party: RelyingParty, nonce: str, expires_at: int) -> Statement:
    """What a new passkey is challenged with: it can be registered for this person alone."""
    return {
        "statement": "remit passkey registration 1",
        "person": person,
        "rp_id": party.id,
        "nonce": nonce,
        "expires_at": expires_at,
    }


def challenge(statement: Statement) -> bytes:
    """What the device signs over."""
    return sha256(canonical(statement)).digest()


def vouched(key: bytes, statement: Statement) -> Statement:
    """The statement with a MAC in its nonce, which says that we asked exactly this."""
    mac = hmac.new(key, canonical(statement), sha256).hexdigest()
    return {**statement, "nonce": f"{statement['nonce']}.{mac}"}


def asked(key: bytes, statement: Statement, now: int) -> None:
    """Raise `BadPasskey` unless we asked exactly this, not long ago."""
    bare, _, mac = str(statement["nonce"]).rpartition(".")
    wanted = hmac.new(key, canonical({**statement, "nonce": bare}), sha256).hexdigest()
    if not hmac.compare_digest(mac.encode(), wanted.encode()):
        raise BadPasskey(
            "This was not what was asked to be signed.", next_step="Ask for a challenge with exactly this answer."
        )
    if now >= statement["expires_at"]:
        raise BadPasskey("The challenge is too old.", next_step="Ask for a fresh one and sign that.")


def registration_options(
    party: RelyingParty, person: str, title: str, statement: Statement, known: Sequence[str]
) -> dict[str, Any]:
    """`PublicKeyCredentialCreationOptionsJSON` (section 5.1.8)."""
    options = generate_registration_options(
        rp_id=party.id,
        rp_name="Remit",
        user_name=person,
        user_display_name=title or person,
        user_id=sha256(b"remit person " + person.encode()).digest(),
        challenge=challenge(statement),
        timeout=CHALLENGE_TTL,
        attestation=AttestationConveyancePreference.NONE,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=base64url.decode(one)) for one in known],
        supported_pub_key_algs=_ALGORITHMS,
    )
    return options_to_json_dict(options)


def answer_options(party: RelyingParty, statement: Statement, known: Sequence[str]) -> dict[str, Any]:
    """`PublicKeyCredentialRequestOptionsJSON` (section 5.1.9)."""
    return {
        "challenge": base64url.encode(challenge(statement)),
        "timeout": CHALLENGE_TTL,
        "rpId": party.id,
        "allowCredentials": [{"type": "public-key", "id": one} for one in known],
        "userVerification": "required",
    }


@dataclass(frozen=True, slots=True)
class Registered:
    """A credential that was made for us; `public_key` is a COSE key. All text is base64url."""

    id: str
    public_key: str
    sign_count: int
    synced: bool


def registered(party: RelyingParty, statement: Statement, credential: Mapping[str, Any]) -> Registered:
    """Verify a `RegistrationResponseJSON`: this challenge, our origin and domain, a verified user, attestation `none`.

    Everything that is wrong with it is `BadPasskey`.
    """
    try:
        found = verify_registration_response(
            credential=_bounded(credential),
            expected_challenge=challenge(statement),
            expected_rp_id=party.id,
            expected_origin=party.origin,
            require_user_verification=True,
            supported_pub_key_algs=_ALGORITHMS,
        )
    except Exception as bad:  # a parser of somebody else's bytes: whatever it trips over, nothing is registered
        raise BadPasskey("The passkey could not be registered.", next_step="Try again.", inside=str(bad)) from bad
    if found.fmt != AttestationFormat.NONE:
        raise BadPasskey("The passkey brought an attestation, and none was asked for.", inside=str(found.fmt))
    return Registered(
        base64url.encode(found.credential_id),
        base64url.encode(found.credential_public_key),
        found.sign_count,
        found.credential_backed_up,
    )


def signed_by(party: RelyingParty, statement: Statement, signed: Signed, public_key: str, sign_count: int) -> int:
    """Verify that this key signed this statement, with a verified user, for our origin and domain.

    Returns the new count of signatures. Everything that is wrong with it is `BadPasskey`. From the log alone: with 0.
    """
    response = {
        "authenticatorData": signed.authenticator_data,
        "clientDataJSON": signed.client_data,
        "signature": signed.signature,
    }
    credential = {"id": signed.passkey, "rawId": signed.passkey, "type": "public-key", "response": response}
    try:
        found = verify_authentication_response(
            credential=_bounded(credential),
            expected_challenge=challenge(statement),
            expected_rp_id=party.id,
            expected_origin=party.origin,
            credential_public_key=base64url.decode(public_key),
            credential_current_sign_count=sign_count,
            require_user_verification=True,
        )
    except Exception as bad:  # as above: whatever it trips over, nobody has agreed
        raise BadPasskey("The passkey did not sign this answer.", next_step="Try again.", inside=str(bad)) from bad
    return found.new_sign_count


def _bounded(credential: Mapping[str, Any]) -> dict[str, Any]:
    """Only what is read, as texts of base64url without padding and of a bounded size."""
    response = credential.get("response")
    if not isinstance(response, Mapping) or credential.get("type") != "public-key":
        raise BadToken("The credential is not a public key's.")
    texts = {name: response[name] for name in response if name in _RESPONSE}
    for text in (credential.get("id"), credential.get("rawId"), *texts.values()):
        if not isinstance(text, str) or not 0 < len(text) <= LIMIT:
            raise BadToken("A part of the credential is missing or too long.")
        base64url.decode(text)
    return {"id": credential["id"], "rawId": credential["rawId"], "type": "public-key", "response": texts}


_RESPONSE = ("clientDataJSON", "attestationObject", "authenticatorData", "signature")
