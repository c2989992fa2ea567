"""Syslog (RFC 5424): over TLS (RFC 5425), or on this host over TCP (RFC 6587 section 3.4.1) or UDP (RFC 5426).

Syslog acknowledges nothing, and what was written to a connection is lost when its other end dies before it has read it.
So a batch is a connection: everything is written, our side is closed (with TLS by `close_notify`), and only when the
server has read to that end and closed its own side is the batch acknowledged (RFC 5425 section 4.4). UDP acknowledges
nothing at all, and what does not fit a datagram goes without its event.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from functools import lru_cache
from urllib.parse import urlsplit

from remit.domain.errors import Refusal
from remit.domain.out import Sink
from remit.formats import rfc5424
from remit.formats.out_record import known
from remit.ports import Batch, NotTaken

from . import Tools

TIME_LIMIT = 5.0  # s for each step
CLOSING_LIMIT = 16  # reads of what a server says before it closes: it has nothing to say


class SyslogSender:
    """Implements `ports.Sender`."""

    def __init__(self, sink: Sink, tools: Tools) -> None:
        self._sink, self._tools = sink, tools
        parts = urlsplit(sink.url)
        self._scheme, self._host, self._port = parts.scheme, parts.hostname or "", parts.port or 0

    async def send(self, batch: Batch) -> None:
        """In a thread: what TLS does at the end of a connection has to be waited for."""
        try:
            private = self._sink.allow_private_network
            address = await self._tools.resolve(self._host, self._port, allow_private=private)
            await asyncio.to_thread(self._sent, address, self._messages(batch))
        except Refusal as refused:
            raise NotTaken(refused.inside or refused.message) from refused
        except (OSError, ValueError) as failure:
            raise NotTaken(_why(failure)) from failure

    def _messages(self, batch: Batch) -> list[bytes]:
        found = []
        for place, (leaf, record) in enumerate(zip(batch.leaves, batch.records, strict=True), batch.first):
            said = known(leaf)
            text = rfc5424.message(said, place, self._tools.host, record)
            if self._scheme == "udp" and len(text) > rfc5424.DATAGRAM_LIMIT:
                text = rfc5424.message(said, place, self._tools.host, b'{"place":%d,"too_large":true}' % place)
            found.append(text)
        return found

    def _sent(self, address: str, messages: list[bytes]) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        if self._scheme == "udp":
            with socket.socket(family, socket.SOCK_DGRAM) as sending:
                for one in messages:
                    sending.sendto(one, (address, self._port))
            return
        with socket.create_connection((address, self._port), TIME_LIMIT) as plain:
            if self._scheme == "tcp":
                plain.sendall(b"".join(map(rfc5424.framed, messages)))
                plain.shutdown(socket.SHUT_WR)
                _read_to_its_end(plain)
                return
            context = trusting(self._sink.authority)
            with context.wrap_socket(plain, server_hostname=self._host, suppress_ragged_eofs=False) as secure:
                secure.sendall(b"".join(map(rfc5424.framed, messages)))
                _closed(secure)


def _read_to_its_end(connection: socket.socket) -> None:
    for _ in range(CLOSING_LIMIT):
        if not connection.recv(4096):
            return
    raise ValueError("it answered, which a syslog server does not")


def _closed(secure: ssl.SSLSocket) -> None:
    """Say that this was all, and wait until the other side has closed: by `close_notify`, or just so, as many do."""
    try:
        secure.unwrap()
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        return
    except ssl.SSLError as failure:
        if "EOF" not in str(failure):
            raise


@lru_cache(maxsize=16)
def trusting(authority: str) -> ssl.SSLContext:
    """TLS 1.2 and above, with names checked, by this authority (PEM), or by the public ones where it is empty."""
    context = ssl.create_default_context(cadata=authority or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _why(failure: Exception) -> str:
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"its certificate is not good: {failure.verify_message}"
    return type(failure).__name__ if not isinstance(failure, TimeoutError) else f"no end in {TIME_LIMIT:.0f} s"
