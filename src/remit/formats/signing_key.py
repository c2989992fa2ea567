"""Private keys in memory: generate, seal-able bytes in and out, raw signatures (ES256 r‖s, EdDSA, RS256)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)
from joserfc.jwk import ECKey, OKPKey, RSAKey

from remit.domain.keys import KeyState, SigningKey

from . import jwk

ALGORITHMS: Mapping[str, str] = {
    "token": "ES256",
    "log": "EdDSA",
    "federation": "RS256",
    "svid": "ES256",
    "authority": "ES256",
    "x509": "ES256",
    "ssh": "ES256",
    "client": "ES256",
    "signal": "RS256",
}

# RFC 6979: the same key and data give the same signature, so replicas publish the same certificates, byte for byte.
_ECDSA = ec.ECDSA(SHA256(), deterministic_signing=True)


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """`public.kid` is the thumbprint. `der` (PKCS #8) is the secret and never shown."""

    algorithm: str
    public: jwk.PublicKey
    sign: Callable[[bytes], bytes]
    der: bytes

    def __repr__(self) -> str:
        return f"<private key {self.public.thumbprint}>"


def generate(algorithm: str) -> PrivateKey:
    """A fresh key for `ES256`, `EdDSA` (Ed25519) or `RS256` (2048 bits)."""
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
    match algorithm:
        case "ES256":
            key = ec.generate_private_key(ec.SECP256R1())
        case "RS256":
            key = rsa.generate_private_key(65537, 2048)
        case _:
            key = ed25519.Ed25519PrivateKey.generate()
    return load(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def load_pem(data: bytes) -> PrivateKey:
    """Read a PEM file without a passphrase (PKCS #8 or PKCS #1); `ValueError` when it is none."""
    key = load_pem_private_key(data, None)
    return load(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def fresh(use: str, now: int, state: KeyState, signs_from: int, seal: Callable[[bytes, bytes], str]) -> SigningKey:
    """A new key of this use, as a row; `seal(plaintext, context)` puts its private half under an envelope."""
    key = generate(ALGORITHMS[use])
    public = " ".join(f"{name}={value}" for name, value in sorted(key.public.jwk.items()))
    kid, algorithm = key.public.kid, key.algorithm
    return SigningKey(
        kid, use, algorithm, public, now, state, signs_from, changed_at=now, sealed=seal(key.der, context(kid))
    )


def context(kid: str) -> bytes:
    """What the sealed private half is bound to."""
    return b"signing_key:" + kid.encode()


def load(der: bytes) -> PrivateKey:
    """Read PKCS #8 bytes that `generate` made."""
    key = load_der_private_key(der, None)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        ec_key = key
        members = ECKey.import_key(ec_key.public_key()).as_dict(private=False)

        def sign_es256(data: bytes) -> bytes:
            r, s = decode_dss_signature(ec_key.sign(data, _ECDSA))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")

        return PrivateKey("ES256", _named(members), sign_es256, der)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        members = OKPKey.import_key(key.public_key()).as_dict(private=False)
        return PrivateKey("EdDSA", _named(members), key.sign, der)
    if isinstance(key, rsa.RSAPrivateKey):
        rsa_key = key
        members = RSAKey.import_key(rsa_key.public_key()).as_dict(private=False)

        def sign_rs256(data: bytes) -> bytes:
            return rsa_key.sign(data, PKCS1v15(), SHA256())

        return PrivateKey("RS256", _named(members), sign_rs256, der)
    raise ValueError("neither a P-256 nor an Ed25519 nor an RSA key")


class HeldKey(ec.EllipticCurvePrivateKey):
    """A P-256 key that somebody else holds, in the shape that certificate builders ask for: it can only sign."""

    def __init__(self, public: jwk.PublicKey, sign: Callable[[bytes], bytes]) -> None:
        self._public = ECKey.import_key(dict(public.jwk)).public_key
        self._sign = sign

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """ECDSA with SHA-256, DER."""
        raw = self._sign(bytes(data))
        return encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def exchange(self, *args: object) -> bytes:
        raise NotImplementedError

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        raise NotImplementedError

    def private_bytes(self, *args: object) -> bytes:
        raise NotImplementedError

    def __copy__(self) -> HeldKey:
        return self

    def __deepcopy__(self, memo: object) -> HeldKey:
        return self


def _named(members: dict[str, str | list[str]]) -> jwk.PublicKey:
    anonymous = jwk.parse(
        {name: value for name, value in members.items() if name in ("kty", "crv", "x", "y", "n", "e")}
    )
    return jwk.parse({**anonymous.jwk, "kid": anonymous.thumbprint})


def ed25519_public_bytes(public: jwk.PublicKey) -> bytes:
    """The 32 bytes of an Ed25519 public key, as signed notes carry it."""
    from . import base64url

    return base64url.decode(public.jwk["x"])
