"""CONNECT (RFC 9110 section 9.3.6) of the one program we started, its TLS ended here, to see request by request.

Only for origins of the catalogue. Without `ca` a CONNECT is a request like any other, and denied: in a tunnel nothing
could be decided, no credential added, nothing observed.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from remit.domain.errors import Refusal
from remit.formats import http_origin
from remit.formats.interception_ca import InterceptionCa
from remit_client import RemitError

from . import Egress
from . import answers as answers
from .answers import Answer

HEAD_LIMIT = 16 * 1024
HANDSHAKE = 10.0


class Intercepting(H11Protocol):
    """uvicorn's protocol; a connection that begins with CONNECT becomes one of TLS, and then one of HTTP again."""

    egress: Egress
    ca: InterceptionCa

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._early = bytearray()  # what came before `connection_made`, as it can after `start_tls`
        self._head: bytearray | None = bytearray()
        self._made = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._made = True
        if self.scheme == "https":
            self._head = None
        if self._early:
            self.data_received(bytes(self._early))

    def data_received(self, data: bytes) -> None:
        """A first line that begins with CONNECT is ours."""
        if not self._made:
            self._early += data
            if len(self._early) > HEAD_LIMIT:
                raise ConnectionError("too much, too early")
            return
        if self._head is None:
            super().data_received(data)
            return
        self._head += data
        seen = bytes(self._head)
        if not b"CONNECT ".startswith(seen[:8]):
            self._head = None
            super().data_received(seen)
        elif len(seen) > HEAD_LIMIT:
            self.transport.close()
        elif b"\r\n\r\n" in seen:
            self.transport.pause_reading()
            task = self.loop.create_task(self._connect(seen))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _connect(self, head: bytes) -> None:
        connection = h11.Connection(h11.SERVER, HEAD_LIMIT)
        try:
            connection.receive_data(head)
            request = connection.next_event()
            if not isinstance(request, h11.Request) or connection.trailing_data[0]:
                raise h11.RemoteProtocolError("nothing may come before we answer")
            scope = {
                "type": "http",
                "method": "CONNECT",
                "raw_path": request.target,
                "query_string": b"",
                "headers": list(request.headers),
            }
            visit = await self.egress.door.enter(scope, "")
            origin = http_origin.parse(await self.egress.opens(visit))
            context = self.ca.context(origin.host)
        except (Refusal, RemitError) as refused:
            self._refuse(answers.of_error(refused))
            return
        except (h11.RemoteProtocolError, KeyError):
            self._refuse(answers.problem(400, "deny", "Not a request", "A CONNECT for a host and port was meant."))
            return
        await self._ended_here(
            f"{origin.host if ':' not in origin.host else f'[{origin.host}]'}:{origin.port}", context
        )

    async def _ended_here(self, authority: str, context: Any) -> None:
        inside = Intercepting(self.config, self.server_state, self.app_state, self.loop)
        inside.app = partial(self.egress, tunnel=authority)
        self.transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.connections.discard(self)
        try:
            self.transport.resume_reading()
            transport = await self.loop.start_tls(
                self.transport, inside, context, server_side=True, ssl_handshake_timeout=HANDSHAKE
            )
        except (OSError, ConnectionError, asyncio.CancelledError):  # the program does not trust us, or went away
            self.transport.close()
            return
        if transport is not None:
            inside.connection_made(transport)

    def _refuse(self, answer: Answer) -> None:
        lines = [f"HTTP/1.1 {answer.status} Refused", *(f"{name}: {value}" for name, value in answer.headers)]
        head = "\r\n".join([*lines, f"content-length: {len(answer.body)}", "connection: close", "", ""])
        self.transport.write(head.encode("latin-1") + answer.body)
        self.transport.close()


def intercepting(egress: Egress, ca: InterceptionCa) -> type[Intercepting]:
    """The protocol class for one server."""
    return type("Bound", (Intercepting,), {"egress": egress, "ca": ca})
