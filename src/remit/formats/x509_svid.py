"""X.509-SVIDs: authorities and leaves are made, chains are verified (SPIFFE X509-SVID sections 2 to 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from remit.domain.errors import BadField, BadToken
from remit.domain.identity import SpiffeId

from .signing_key import HeldKey

CHAIN_LIMIT = 4
_FLAWS = (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
CERTIFICATE_LIMIT = 16_384
_BEFORE_MS = 60_000  # certificates begin a little in the past, for clocks that are behind


@dataclass(frozen=True, slots=True)
class Proof:
    """What our own documents carry of the attestation behind them: the rule it met, and what code ran (hex)."""

    rule: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class X509Svid:
    """A verified leaf: whose it is and the key it binds. `of` means something in our own trust domain only."""

    id: SpiffeId
    jwk: dict[str, str]
    serial: str
    issued_at: int
    expires_at: int
    of: Proof


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A fresh key for one leaf; `pkcs8` is the secret."""

    public: CertificatePublicKeyTypes
    pkcs8: bytes

    def __repr__(self) -> str:
        return "<key pair>"


def generate() -> KeyPair:
    """A P-256 key of a workload's own."""
    key = ec.generate_private_key(ec.SECP256R1())
    return KeyPair(key.public_key(), key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def authority(trust_domain: str, key: HeldKey, created_at: int, expires_at: int) -> bytes:
    """The trust domain's self-signed certificate, DER. The same key and instants (ms) always give the same bytes."""
    public = key.public_key()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Remit"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{trust_domain} {created_at // 1000}"[:64]),
        ]
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(int.from_bytes(sha256(identifier.digest + str(created_at).encode()).digest()[:15], "big") + 1)
        .not_valid_before(_instant(created_at - _BEFORE_MS))
        .not_valid_after(_instant(expires_at))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectAlternativeName([_uri(SpiffeId(trust_domain, ""))]), critical=False)
        .add_extension(identifier, critical=False)
    )
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


def leaf(
    id: SpiffeId, public: CertificatePublicKeyTypes, authority_der: bytes, key: HeldKey, until: int, now: int, of: Proof
) -> bytes:
    """A leaf for `public`, DER; it never outlives its authority. Instants in ms."""
    issuer = x509.load_der_x509_certificate(authority_der)
    subject = [(NameOID.ORGANIZATION_NAME, "Remit"), (NameOID.ORGANIZATIONAL_UNIT_NAME, of.rule)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(
            x509.Name(
                [x509.NameAttribute(oid, text) for oid, text in (*subject, (NameOID.SERIAL_NUMBER, of.code)) if text]
            )
        )
        .issuer_name(issuer.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(_instant(now - _BEFORE_MS), issuer.not_valid_before_utc))
        .not_valid_after(min(_instant(until), issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([_uri(id)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


def check_authority(der: bytes) -> None:
    """A bundle's certificate: a CA, and of a key that verifies something; or `BadToken`."""
    _ca(_load(der))


def public_jwk(der: bytes) -> dict[str, str]:
    """The JWK of a certificate's key."""
    return _jwk(_load(der).public_key())


def parse(chain: Sequence[bytes], *, trust_domain: str, authorities: Sequence[bytes], now: int) -> X509Svid:
    """Verify a chain (DER, leaf first) against one trust domain's authorities at `now` (ms)."""
    if not 0 < len(chain) <= CHAIN_LIMIT or not authorities:
        raise _bad("no chain, too long a chain, or no authorities")
    first, *rest = (_load(der) for der in chain)
    id = leaf_id(first)
    if id.trust_domain != trust_domain:
        raise _bad("an ID of another trust domain")
    ca_policy = ExtensionPolicy.webpki_defaults_ca()
    verifier = (
        PolicyBuilder()
        .store(Store([_load(der) for der in authorities]))
        .time(_instant(now))
        .max_chain_depth(CHAIN_LIMIT)
        .extension_policies(ca_policy=ca_policy, ee_policy=ExtensionPolicy.permit_all())
        .build_client_verifier()
    )
    try:
        verifier.verify(first, rest)
    except (VerificationError, InvalidSignature, UnsupportedAlgorithm, ValueError) as flaw:
        raise _bad(f"chain: {flaw}"[:200]) from flaw
    return X509Svid(
        id,
        _jwk(first.public_key()),
        f"{first.serial_number:x}",
        int(first.not_valid_before_utc.timestamp() * 1000) + _BEFORE_MS,
        int(first.not_valid_after_utc.timestamp() * 1000),
        Proof(_named(first, NameOID.ORGANIZATIONAL_UNIT_NAME), _named(first, NameOID.SERIAL_NUMBER)),
    )


def claimed_id(der: bytes) -> SpiffeId:
    """The ID a leaf names, unverified: whose bundle to use."""
    return leaf_id(_load(der))


def leaf_id(certificate: x509.Certificate) -> SpiffeId:
    """The one URI SAN of a leaf that is nothing but a leaf (sections 2, 4 and 5.2)."""
    try:
        extensions = certificate.extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        constraints = _optional(extensions, x509.BasicConstraints)
        usage = extensions.get_extension_for_class(x509.KeyUsage)
        extended = _optional(extensions, x509.ExtendedKeyUsage)
    except (*_FLAWS, ValueError) as flaw:
        raise _bad(f"extensions: {flaw}"[:200]) from flaw
    if len(uris) != 1:
        raise _bad(f"{len(uris)} URI names")
    if constraints is not None and constraints.ca:
        raise _bad("a CA used as a leaf")
    allowed = usage.value
    if not usage.critical or not allowed.digital_signature or allowed.key_cert_sign or allowed.crl_sign:
        raise _bad("key usage")
    if extended is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in list(extended):
        raise _bad("extended key usage is without clientAuth")
    try:
        id = SpiffeId.parse(uris[0])
    except BadField as flaw:
        raise _bad(flaw.message) from flaw
    if not id.path:
        raise _bad("a trust domain, not a workload")
    return id


def _named(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    found = certificate.subject.get_attributes_for_oid(oid)
    return str(found[0].value) if len(found) == 1 else ""


def serial_of(der: bytes) -> str:
    """A certificate's serial number, hex."""
    return f"{_load(der).serial_number:x}"


def _optional(extensions: x509.Extensions, kind: Any) -> Any:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _ca(certificate: x509.Certificate) -> None:
    try:
        constraints = _optional(certificate.extensions, x509.BasicConstraints)
        usage = _optional(certificate.extensions, x509.KeyUsage)
    except (x509.DuplicateExtension, ValueError) as flaw:
        raise _bad(f"extensions: {flaw}"[:200]) from flaw
    if constraints is None or not constraints.ca or usage is None or not usage.key_cert_sign:
        raise _bad("not a CA certificate")
    _jwk(certificate.public_key())


def _load(der: bytes) -> x509.Certificate:
    if len(der) > CERTIFICATE_LIMIT:
        raise _bad("too long")
    try:
        return x509.load_der_x509_certificate(der)
    except (ValueError, TypeError, x509.InvalidVersion) as flaw:
        raise _bad("not a certificate") from flaw


def _jwk(public: Any) -> dict[str, str]:
    members: dict[str, Any]
    if isinstance(public, ec.EllipticCurvePublicKey):
        members = ECKey.import_key(public).as_dict(private=False)
    elif isinstance(public, rsa.RSAPublicKey):
        members = RSAKey.import_key(public).as_dict(private=False)
    elif isinstance(public, ed25519.Ed25519PublicKey):
        members = OKPKey.import_key(public).as_dict(private=False)
    else:
        raise _bad("a kind of key that is not accepted")
    return {name: str(value) for name, value in members.items() if name in ("kty", "crv", "x", "y", "n", "e")}


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """What an authority's key may do, or a leaf's (RFC 5280 section 4.2.1.3)."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _uri(id: SpiffeId) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(str(id))


def _instant(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC)


def _bad(inside: str) -> BadToken:
    return BadToken("The certificate is not acceptable.", inside=inside)
