"""X.509 client certificates of tasks, the authority they hang from, and its revocation list (RFC 5280)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from remit.domain.errors import BadToken

from .signing_key import HeldKey
from .x509_svid import key_usage

_BEFORE_MS = 60_000
_END = b"-----END X509 CRL-----"
_YEAR_MS = 366 * 86_400_000


@dataclass(frozen=True, slots=True)
class Certified:
    """PEM, all of it."""

    private_key: str = field(repr=False)
    certificate: str
    authority: str


def authority(name: str, key: HeldKey, created_at: int) -> x509.Certificate:
    """A self-signed authority for clients; the same name, key and instant (ms) always give the same bytes."""
    subject = _name(name)
    public = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(created_at)
        .not_valid_before(_instant(created_at - _BEFORE_MS))
        .not_valid_after(_instant(created_at + _YEAR_MS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    return builder.sign(key, SHA256())


def certify(
    of: x509.Certificate,
    key: HeldKey,
    *,
    serial: int,
    common_name: str,
    dns: Sequence[str],
    uris: Sequence[str],
    now: int,
    expires_at: int,
) -> Certified:
    """A fresh P-256 key and a certificate for TLS clients, and for nothing else."""
    own = ec.generate_private_key(ec.SECP256R1())
    names = [*(x509.DNSName(name) for name in dns), *(x509.UniformResourceIdentifier(uri) for uri in uris)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .issuer_name(of.subject)
        .public_key(own.public_key())
        .serial_number(serial)
        .not_valid_before(_instant(now - _BEFORE_MS))
        .not_valid_after(min(_instant(expires_at), of.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    made = builder.sign(key, SHA256())
    private = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return Certified(private, pem(made), pem(of))


def revocation_list(
    of: x509.Certificate, key: HeldKey, serials: Iterable[int], *, number: int, now: int, lasts: int
) -> bytes:
    """A CRL, PEM; good for `lasts` ms. What was revoked is said to have been revoked now: only that it is matters."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(of.subject)
        .last_update(_instant(now - _BEFORE_MS))
        .next_update(_instant(now + lasts))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    at = _instant(now - _BEFORE_MS)
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at).build()
        builder = builder.add_revoked_certificate(revoked)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def listed(data: bytes) -> tuple[int, list[int]]:
    """The highest number, and every serial, of CRLs that `revocation_list` made; anything else is `BadToken`."""
    try:
        crls = [x509.load_pem_x509_crl(part + _END) for part in data.strip().split(_END)[:-1]]
        numbers = [crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for crl in crls]
        return max(numbers), sorted({one.serial_number for crl in crls for one in crl})
    except (ValueError, x509.ExtensionNotFound) as flaw:
        raise BadToken("The revocation list is not one of ours.") from flaw


def pem(certificate: x509.Certificate) -> str:
    """A certificate as text."""
    return certificate.public_bytes(Encoding.PEM).decode()


def _name(common_name: str) -> x509.Name:
    parts = [(NameOID.ORGANIZATION_NAME, "Remit"), (NameOID.COMMON_NAME, common_name)]
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])


def _instant(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC)
