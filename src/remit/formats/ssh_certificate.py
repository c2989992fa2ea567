"""OpenSSH user certificates (PROTOCOL.certkeys) and the keys they certify."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    SSHCertificateBuilder,
    SSHCertificateType,
)

from .signing_key import HeldKey

EXTENSIONS = (
    "permit-pty",
    "permit-port-forwarding",
    "permit-agent-forwarding",
    "permit-X11-forwarding",
    "permit-user-rc",
)
_BEFORE_S = 60


@dataclass(frozen=True, slots=True)
class UserCertificate:
    """What one may do; `extensions` are permissions, all that is not there is forbidden. Instants in ms."""

    serial: int
    key_id: str
    principals: tuple[str, ...]
    now: int
    expires_at: int
    force_command: str = ""
    source_address: str = ""
    extensions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Certified:
    """A fresh key in OpenSSH's own format, and its certificate, one line as in `id_ed25519-cert.pub`."""

    private_key: str = field(repr=False)
    certificate: str


def certify(wanted: UserCertificate, authority: HeldKey) -> Certified:
    """Make a key and sign for it."""
    key = Ed25519PrivateKey.generate()
    builder = (
        SSHCertificateBuilder()
        .public_key(key.public_key())
        .serial(wanted.serial)
        .type(SSHCertificateType.USER)
        .key_id(wanted.key_id.encode())
        .valid_principals([principal.encode() for principal in wanted.principals])
        .valid_after(wanted.now // 1000 - _BEFORE_S)
        .valid_before(-(-wanted.expires_at // 1000))
    )
    if wanted.force_command:
        builder = builder.add_critical_option(b"force-command", wanted.force_command.encode())
    if wanted.source_address:
        builder = builder.add_critical_option(b"source-address", wanted.source_address.encode())
    for extension in sorted(wanted.extensions):
        builder = builder.add_extension(extension.encode(), b"")
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return Certified(private, builder.sign(authority).public_bytes().decode() + f" {wanted.key_id}\n")


def public_line(authority: HeldKey, comment: str) -> str:
    """The authority's key, as `TrustedUserCAKeys` wants it."""
    return authority.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + f" {comment}\n"


def public_blobs(authorities: Sequence[HeldKey]) -> list[bytes]:
    """The authorities' keys in SSH's wire encoding."""
    from base64 import b64decode

    lines = [key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) for key in authorities]
    return [b64decode(line.split()[1]) for line in lines]
