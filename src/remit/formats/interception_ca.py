"""A certificate authority of one process, in memory, for the catalogue's names alone: to end a program's TLS here.

Its key is never written anywhere. Name constraints (RFC 5280 section 4.2.1.10, critical) let it speak for the given
hosts and for no other name or address, whoever should get hold of it.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BEHIND = timedelta(minutes=5)


class InterceptionCa:
    """`hosts` are names and addresses; `lasts` bounds the authority and every leaf."""

    def __init__(self, hosts: Iterable[str], now: datetime | None = None, lasts: timedelta = timedelta(days=1)) -> None:
        now = now or datetime.now(UTC)
        self._hosts = frozenset(hosts)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._until = now + lasts
        self._since = now - BEHIND
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Remit egress, this process only")])
        self._contexts: dict[str, ssl.SSLContext] = {}
        self.certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .add_extension(_constraints(self._hosts), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, SHA256())
        )
        self.pem = self.certificate.public_bytes(Encoding.PEM)

    def context(self, host: str) -> ssl.SSLContext:
        """To be this host to the program; `KeyError` for a host that the authority is not for."""
        if host not in self._hosts:
            raise KeyError(host)
        if host not in self._contexts:
            self._contexts[host] = self._made(host)
        return self._contexts[host]

    def _made(self, host: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        name: x509.GeneralName
        try:
            name = x509.IPAddress(ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        leaf = (
            self._builder(x509.Name([]), key.public_key())
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, SHA256())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        pem = leaf.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _load(context, pem)
        return context

    def _builder(self, subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._since)
            .not_valid_after(self._until)
        )


def _usage(*, ca: bool) -> x509.KeyUsage:
    none = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **none)


def _constraints(hosts: Iterable[str]) -> x509.NameConstraints:
    """A kind of name that is not permitted at all would be free: where there is no address, all are excluded."""
    names: list[x509.GeneralName] = []
    addresses: list[x509.GeneralName] = []
    for host in sorted(hosts):
        try:
            addresses.append(x509.IPAddress(ip_network(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    excluded: list[x509.GeneralName] = []
    if not addresses:
        excluded += [x509.IPAddress(IPv4Network("0.0.0.0/0")), x509.IPAddress(IPv6Network("::/0"))]
    if not names:
        names = [x509.DNSName("invalid")]
    return x509.NameConstraints([*names, *addresses], excluded or None)


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """OpenSSL reads files only: one in memory where there are such, or one that is gone before anybody could look."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("leaf", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, pem)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "leaf.pem"
        path.touch(0o600)
        path.write_bytes(pem)
        context.load_cert_chain(path)
