"""X.509 client certificates for one task, and the CRL that ends them (RFC 5280).

Whoever checks them trusts `ca.pem` and looks at the `list_file`, or at what is published as `crl.pem`. Both hold more
than one authority while a signing key is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, IssuerUnavailable, WrongState
from remit.domain.flow import Json
from remit.domain.keys import SigningKey
from remit.domain.lease import Lease, Minted
from remit.formats import jwk
from remit.formats.client_certificate import authority, certify, listed, pem, revocation_list
from remit.formats.signing_key import HeldKey

from . import Tools
from .listed import RevocationList, Write

_DNS = re.compile(r"(?=.{1,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\Z")
_HOLE = re.compile(r"\{[a-z_][a-z0-9_]*\}\Z")
_CRL_LASTS = 7 * 86_400_000


class X509Issuer:
    """`grants`: `common_name` (the agent's name by default), `dns`, `uris`.

    Mints `certificate`, `private_key` and `ca`, all PEM.
    """

    def __init__(self, config: IssuerConfig, tools: Tools) -> None:
        self._tools = tools
        self._list = RevocationList(config, tools.reader, tools.clock, 16)
        self._name = config.name

    def checked(self, grants: Mapping[str, Json]) -> None:
        """See `ports.Issuer`."""
        _checked(grants, holes=True)

    async def mint(self, lease: Lease) -> Minted:
        """See `ports.Issuer`."""
        now = self._tools.clock()
        if now >= min(lease.mint_until, lease.expires_at):
            raise WrongState("It is too late to mint this lease.", next_step="Ask for a new one.")
        wanted = _checked({"common_name": lease.agent, **lease.grants}, holes=False)
        authorities = await self._authorities()
        # Written anew at every half of its life: readers refuse everybody once their list is over.
        standing = [*(pem(of) for of, _ in authorities), str(now // (_CRL_LASTS // 2))]
        await self._list.standing(listed, self._write(authorities), standing)
        of, key = authorities[0]
        made = certify(of, key, serial=self._list.serial(lease), now=now, expires_at=lease.expires_at, **wanted)
        return Minted({"certificate": made.certificate, "private_key": made.private_key, "ca": made.authority})

    async def kill(self, lease: Lease) -> None:
        """See `ports.Issuer`."""
        await self._list.add(lease, listed, self._write(await self._authorities()))

    async def published(self, document: str) -> tuple[str, bytes] | None:
        """`ca.pem` and `crl.pem`."""
        authorities = await self._authorities()
        if document == "ca.pem":
            return "application/x-pem-file", "".join(pem(of) for of, _ in authorities).encode()
        if document == "crl.pem":
            return "application/x-pem-file", await self._list.published(listed, self._write(authorities))
        return None

    def _write(self, authorities: Sequence[tuple[Any, HeldKey]]) -> Write:
        """A list by each authority: readers want one by whoever signed the certificate. A serial is on all of them."""

        def write(number: int, serials: list[int]) -> bytes:
            at = {"number": number, "now": self._tools.clock(), "lasts": _CRL_LASTS}
            return b"".join(revocation_list(of, key, serials, **at) for of, key in authorities)

        return write

    async def _authorities(self) -> list[tuple[Any, HeldKey]]:
        """Everyone that readers are to believe, the one that signs now first."""
        signer = self._tools.signer
        kids = [key["kid"] for key in signer.public("x509")]
        return [await self._authority(kid) for kid in sorted(kids, key=lambda kid: kid != signer.signing("x509"))]

    async def _authority(self, kid: str) -> tuple[Any, HeldKey]:
        public = next(jwk.parse(key) for key in self._tools.signer.public("x509") if key["kid"] == kid)
        row = await self._tools.reader.get(SigningKey, kid)
        if row is None:
            raise IssuerUnavailable("The authority's key is not there.")
        key = HeldKey(public, lambda data: self._tools.signer.sign("x509", data, kid).value)
        return authority(f"Remit {self._name[:48]} {kid[:8]}", key, row.created_at), key


def _checked(grants: Mapping[str, Json], *, holes: bool) -> dict[str, Any]:
    for key in grants.keys() - {"common_name", "dns", "uris"}:
        raise BadField(f"grants.{key}", "is not known here; known: common_name, dns, uris")
    name, dns, uris = grants.get("common_name", "agent"), grants.get("dns", ()), grants.get("uris", ())

    def is_hole(text: Json) -> bool:
        return holes and isinstance(text, str) and bool(_HOLE.match(text))

    if (
        not isinstance(name, str)
        or not 0 < len(name) <= 64
        or not name.isprintable()
        or ("{" in name and not is_hole(name))
    ):
        raise BadField("grants.common_name", "must be 1 to 64 printable characters")
    if not isinstance(dns, list | tuple) or not all(
        is_hole(one) or (isinstance(one, str) and _DNS.match(one)) for one in dns
    ):
        raise BadField("grants.dns", "must be host names in lower case")
    if not isinstance(uris, list | tuple) or not all(is_hole(one) or _is_uri(one) for one in uris):
        raise BadField("grants.uris", "must be absolute URIs")
    return {"common_name": name, "dns": list(dns), "uris": list(uris)}


def _is_uri(text: Json) -> bool:
    if not isinstance(text, str) or len(text) > 1024 or not text.isascii() or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    # An SVID's name in a certificate that is none would pass for one.
    return bool(parts.scheme and (parts.netloc or parts.path)) and parts.scheme.lower() != "spiffe"
