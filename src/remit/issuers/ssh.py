"""SSH user certificates for one task, and the key revocation list that ends them.

sshd needs three lines: `TrustedUserCAKeys` (what is published as `ca.pub`), `RevokedKeys` (the `list_file`, or what is
published as `krl`), and `AuthorizedPrincipalsFile` or users named as the principals. A list refuses new logins;
a session that is open goes on until it ends: give commands, not shells (`force_command`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, WrongState
from remit.domain.flow import Json
from remit.domain.lease import Lease, Minted
from remit.formats import jwk
from remit.formats.openssh_krl import Krl, encode, parse
from remit.formats.signing_key import HeldKey
from remit.formats.ssh_certificate import EXTENSIONS, UserCertificate, certify, public_blobs, public_line

from . import Tools
from .listed import RevocationList

_PRINCIPAL = re.compile(r"[A-Za-z0-9._@-]{1,64}\Z")
_HOLE = re.compile(r"\{[a-z_][a-z0-9_]*\}\Z")
_KNOWN = ("principals", "force_command", "source_address", "extensions")


class SshIssuer:
    """`grants`: `principals`, and optionally `force_command`, `source_address` (networks), `extensions`.

    Mints `user` (the first principal), `private_key` and `certificate` in OpenSSH's formats.
    """

    def __init__(self, config: IssuerConfig, tools: Tools) -> None:
        self._tools = tools
        self._list = RevocationList(config, tools.reader, tools.clock, 8)
        self._name = config.name

    def checked(self, grants: Mapping[str, Json]) -> None:
        """See `ports.Issuer`."""
        _checked(grants, holes=True)

    async def mint(self, lease: Lease) -> Minted:
        """See `ports.Issuer`."""
        now = self._tools.clock()
        if now >= min(lease.mint_until, lease.expires_at):
            raise WrongState("It is too late to mint this lease.", next_step="Ask for a new one.")
        wanted = _checked(lease.grants, holes=False)
        # sshd lets nobody in by any key while its list is not there.
        await self._list.standing(self._read, self._write, [key["kid"] for key in self._tools.signer.public("ssh")])
        certificate = UserCertificate(
            self._list.serial(lease), lease.handle, now=now, expires_at=lease.expires_at, **wanted
        )
        made = certify(certificate, self._authorities(self._tools.signer.signing("ssh"))[0])
        user = certificate.principals[0]
        return Minted({"user": user, "private_key": made.private_key, "certificate": made.certificate})

    async def kill(self, lease: Lease) -> None:
        """See `ports.Issuer`."""
        await self._list.add(lease, self._read, self._write)

    async def published(self, document: str) -> tuple[str, bytes] | None:
        """`ca.pub` and `krl`."""
        if document == "ca.pub":
            lines = [public_line(key, f"remit {self._name}") for key in self._authorities()]
            return "text/plain", "".join(lines).encode()
        if document == "krl":
            return "application/octet-stream", await self._list.published(self._read, self._write)
        return None

    def _authorities(self, kid: str = "") -> list[HeldKey]:
        """All that may have signed what is good, or the one of this kid."""

        def held(key: jwk.PublicKey) -> HeldKey:
            return HeldKey(key, lambda data: self._tools.signer.sign("ssh", data, key.kid).value)

        return [held(jwk.parse(key)) for key in self._tools.signer.public("ssh") if kid in ("", key["kid"])]

    def _read(self, data: bytes) -> tuple[int, list[int]]:
        krl = parse(data)
        return krl.version, [serial for serials in krl.serials.values() for serial in serials]

    def _write(self, number: int, serials: list[int]) -> bytes:
        # Under every key that may have signed it: which one did is not worth remembering.
        blobs = public_blobs(self._authorities())
        return encode(Krl(number, self._tools.clock() // 1000, dict.fromkeys(blobs, serials)))


def _checked(grants: Mapping[str, Json], *, holes: bool) -> dict[str, Any]:
    """The arguments of `UserCertificate`, or `BadField`. With `holes` a principal may still be `{parameter}`."""
    for key in grants.keys() - set(_KNOWN):
        raise BadField(f"grants.{key}", f"is not known here; known: {', '.join(_KNOWN)}")
    principals, extensions = grants.get("principals"), grants.get("extensions", ())
    if not isinstance(principals, list | tuple) or not 0 < len(principals) <= 20:
        raise BadField("grants.principals", "must be 1 to 20 names")
    for principal in principals:
        named = isinstance(principal, str) and _PRINCIPAL.match(principal)
        if not named and not (holes and isinstance(principal, str) and _HOLE.match(principal)):
            raise BadField("grants.principals", "must be of letters, digits, '.', '_', '@' and '-', at most 64")
    if not isinstance(extensions, list | tuple) or any(one not in EXTENSIONS for one in extensions):
        raise BadField("grants.extensions", f"must be some of {', '.join(EXTENSIONS)}")
    command, addresses = grants.get("force_command", ""), grants.get("source_address", "")
    if not isinstance(command, str) or len(command) > 4096 or not command.isprintable():
        raise BadField("grants.force_command", "must be one printable line of at most 4096 characters")
    try:
        networks = [ip_network(part) for part in str(addresses).split(",")] if addresses else []
    except ValueError as flaw:
        raise BadField("grants.source_address", "must be networks such as 10.0.0.0/8, with commas") from flaw
    return {
        "principals": tuple(str(principal) for principal in principals),
        "force_command": command,
        "source_address": ",".join(str(network) for network in networks),
        "extensions": tuple(str(one) for one in extensions),
    }
