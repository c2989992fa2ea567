"""Client certificates: asked for, never required, and believed by nobody but the verbs that verify them.

TLS itself only proves that the client has the certificate's key; it accepts what any bundle of ours ever held. Whose
certificate it is, and whether its bundle still holds it, is decided by `formats.x509_svid` on every use.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from remit.domain.errors import Refusal
from remit.ports import Env

LOOK_AGAIN = 5.0
_log = structlog.get_logger("remit.web")


class TlsProtocol(HttpToolsProtocol):
    """HTTP over TLS, with the client's chain in the scope (ASGI TLS extension: `client_cert_chain`, here as DER)."""

    def on_message_begin(self) -> None:
        """A request begins: what the handshake told goes with it."""
        super().on_message_begin()
        session = self.transport.get_extra_info("ssl_object")
        self.scope["extensions"] = {"tls": {"client_cert_chain": _chain(session)}}


def _chain(session: Any) -> tuple[bytes, ...]:
    if session is None or not session.getpeercert(binary_form=True):
        return ()
    if hasattr(session, "get_unverified_chain"):  # Python 3.13
        return tuple(session.get_unverified_chain())
    return tuple(ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in session._sslobj.get_unverified_chain())


async def keep_trusting(env: Env, context: ssl.SSLContext) -> None:
    """Load every authority of our own and of the configured trust domains as it appears, until cancelled."""
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    loaded: set[bytes] = set()
    while True:
        try:
            _, force = await env.in_force()
            found = list((await env.own_bundle()).authorities)
            for domain in force.catalogue.trust_domains.values():
                try:
                    found += (await env.attestor.bundle(domain, env.clock())).authorities
                except Refusal as refusal:
                    _log.warning("a trust domain's bundle cannot be had", inside=refusal.inside)
            for der in set(found) - loaded:
                context.load_verify_locations(cadata=der)
                loaded.add(der)
        except Refusal as refusal:
            _log.warning("authorities cannot be read", inside=refusal.inside or refusal.message)
        await asyncio.sleep(LOOK_AGAIN)
