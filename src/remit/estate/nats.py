"""Frames over NATS JetStream: the centre's stream, and an edge's ordered consumer of it.

The stream and its subject are named for the trust domain. Who may publish there can make edges look at what they drop,
and who may delete can make them ask: nobody can make them believe anything. A connection that is lost is given up, and
made again by whoever runs this, which meanwhile has another way.
"""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from remit.domain.errors import BadField, BadToken, Conflict, TooLarge, Unavailable
from remit.formats.estate import BODY_LIMIT
from remit.formats.nats_jwt import parse_creds

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

T = TypeVar("T")
CONNECT = 2  # seconds
ANSWER = 2.0
SILENCE = 1.0  # seconds between signs of life of a consumer; two that are missing are looked into
MAX_AGE = 3600.0  # seconds that a frame is kept
MAX_BYTES = 64 * 1024 * 1024
TWICE = 120.0  # seconds in which the same frame is put once
WAITING = 64
MOST_EDGES = 100_000  # that hear one stream; servers since 2.15 would let in a thousand
WRONG_PLACE = (10070, 10071, 10164)  # codes of JetStream: not the last message that was expected
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def servers(text: str) -> tuple[str, ...]:
    """URLs, with commas in between; `BadField` for what is none, or would tell a password to the network."""
    if find_spec("nats") is None:
        raise BadField("nats", "needs nats-py", next_step="pip install 'remit[nats]'")
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    for one in found:
        try:
            url = urlsplit(one)
            good = url.scheme in ("nats", "tls") and url.hostname and url.port != 0
        except ValueError:
            good = False
        if not good:
            raise BadField("nats", "must be nats://host:port or tls://host:port; several with commas in between")
        if url.scheme == "nats" and (url.password or url.username) and url.hostname not in LOOPBACK:
            raise BadField(
                "nats", "has a password, and is not tls://", next_step="Use tls://, or a file: --nats-creds."
            )
    if not found:
        raise BadField("nats", "names no server")
    return found


def stream_of(trust_domain: str) -> tuple[str, str]:
    """The name of the stream, and its subject."""
    return f"REMIT_ESTATE_{trust_domain.replace('.', '_')}", f"remit.estate.{trust_domain}.frames"


class Nats:
    """How to reach NATS. `creds` is a file (JWT and seed, as `nsc` writes it), read at every connection, or empty.

    `domain` is that of the JetStream that has the stream, where it is not the one of the server itself, or empty.
    """

    def __init__(self, text: str, creds: str = "", domain: str = "") -> None:
        self._servers = servers(text)
        self._creds = creds
        self._domain = domain
        if domain and not domain.replace("-", "").replace("_", "").isalnum():
            raise BadField("nats_domain", "must be letters, digits, - and _")
        if creds and not Path(creds).is_file():
            raise BadField("nats_creds", f"{creds} is not a file")

    def _shown(self) -> dict[str, Any]:
        """By which the client signs, with our own nkeys."""
        if not self._creds:
            return {}
        try:
            jwt, seed = parse_creds(Path(self._creds).read_text())
        except (OSError, UnicodeDecodeError, BadToken) as flaw:
            raise Unavailable("The credentials for NATS cannot be read.", inside=type(flaw).__name__) from None
        return {
            "user_jwt_cb": lambda: bytearray(jwt.encode()),
            "signature_cb": lambda nonce: base64.b64encode(seed.sign(nonce.encode())),
        }

    async def connect(self, lost: asyncio.Event) -> Client:
        """A connection that does not come back by itself: `lost` is set with the first thing that goes wrong."""
        from nats.aio.client import Client
        from nats.errors import Error

        async def gone(*_: object) -> None:
            lost.set()

        why = ""
        for server in random.sample(self._servers, len(self._servers)):
            client = Client()
            try:
                async with asyncio.timeout(CONNECT):
                    await _apart(
                        client.connect(
                            [server],
                            name="remit",
                            **self._shown(),
                            allow_reconnect=False,
                            max_reconnect_attempts=1,
                            reconnect_time_wait=0,
                            connect_timeout=CONNECT,
                            ping_interval=5,
                            max_outstanding_pings=1,
                            error_cb=gone,
                            closed_cb=gone,
                            disconnected_cb=gone,
                        )
                    )
                return client
            except (OSError, TimeoutError, ValueError, Error) as failure:
                why = type(failure).__name__
                await _close(client)
            except BaseException:
                await _close(client)
                raise
        raise Unavailable("NATS is not reached.", next_step="Is it there, and are the credentials its own?", inside=why)

    def jetstream(self, client: Client) -> JetStreamContext:
        """JetStream, over this connection."""
        return client.jetstream(timeout=ANSWER, **({"domain": self._domain} if self._domain else {}))


class NatsBus:
    """See `ports.estate.Bus`; over an ordered consumer."""

    def __init__(self, nats: Nats) -> None:
        self._nats = nats

    @asynccontextmanager
    async def subscribed(self, trust_domain: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """See `ports.estate.Bus`."""
        from nats.errors import Error
        from nats.js.api import DeliverPolicy

        lost, queue = asyncio.Event(), asyncio.Queue[bytes](4)

        async def heard(message: Msg) -> None:
            await queue.put(message.data if len(message.data) <= BODY_LIMIT else b"")

        name, subject = stream_of(trust_domain)
        client = await self._nats.connect(lost)
        try:
            try:
                await _apart(
                    self._nats.jetstream(client).subscribe(
                        subject,
                        stream=name,
                        cb=heard,
                        ordered_consumer=True,
                        idle_heartbeat=SILENCE,
                        deliver_policy=DeliverPolicy.LAST,
                        pending_msgs_limit=WAITING,
                        pending_bytes_limit=2 * BODY_LIMIT,
                    )
                )
            except (OSError, TimeoutError, ValueError, Error) as failure:
                inside = f"{name}: {type(failure).__name__}"
                raise Unavailable(
                    "There are no frames in NATS.", next_step="Does the centre publish?", inside=inside
                ) from failure
            yield _until(lost, queue)
        finally:
            await _close(client)


class NatsStream:
    """See `ports.estate.Stream`. The stream is made if it is not there; one that somebody made is left as it is."""

    def __init__(self, nats: Nats, trust_domain: str) -> None:
        self._nats = nats
        self._name, self._subject = stream_of(trust_domain)
        self._client: Client | None = None
        self._lost = asyncio.Event()

    async def last(self) -> tuple[int, bytes]:
        """See `ports.estate.Stream`."""
        from nats.js.api import DiscardPolicy, StreamConfig
        from nats.js.errors import NotFoundError

        async with self._reached() as client:
            js = self._nats.jetstream(client)
            try:
                found = await _apart(js.stream_info(self._name))
            except NotFoundError:
                wanted = StreamConfig(
                    name=self._name,
                    subjects=[self._subject],
                    max_age=MAX_AGE,
                    max_bytes=MAX_BYTES,
                    duplicate_window=TWICE,
                    discard=DiscardPolicy.OLD,
                    max_consumers=MOST_EDGES,
                )
                found = await _apart(js.add_stream(wanted))
            try:
                there = found.state.messages > 0
                message = await _apart(js.get_msg(self._name, seq=found.state.last_seq)) if there else None
            except NotFoundError:  # it was too old just now
                message = None
            wire = (message.data or b"") if message else b""
            return found.state.last_seq, wire if len(wire) <= BODY_LIMIT else b""

    async def put(self, wire: bytes, name: str, after: int) -> int:
        """See `ports.estate.Stream`. A name that somebody took before us is not used: then this has none."""
        from nats.js.errors import APIError

        async with self._reached() as client:
            if len(wire) > client.max_payload - 1024:  # for what is beside it
                raise TooLarge("This is more than NATS carries.", inside=f"{name}: {len(wire)} bytes")
            js = self._nats.jetstream(client)
            for headers in ({"Nats-Msg-Id": name}, {}):
                headers["Nats-Expected-Last-Sequence"] = str(after)
                try:
                    ack = await _apart(js.publish(self._subject, wire, stream=self._name, headers=headers))
                except APIError as refused:
                    if refused.err_code in WRONG_PLACE:
                        raise Conflict("Somebody else has put something there.", inside=name) from refused
                    raise
                if not ack.duplicate:
                    return int(ack.seq)
            raise Conflict("It is there, and was not before.", inside=name)

    async def close(self) -> None:
        """Leave."""
        client, self._client = self._client, None
        if client is not None:
            await _close(client)

    @asynccontextmanager
    async def _reached(self) -> AsyncIterator[Client]:
        from nats.errors import Error

        try:
            if self._client is None or self._lost.is_set():
                await self.close()
                self._lost = asyncio.Event()
                self._client = await self._nats.connect(self._lost)
            yield self._client
        except (OSError, TimeoutError, ValueError, Error) as failure:
            await self.close()
            inside = f"{type(failure).__name__}: {failure}"[:200]
            raise Unavailable("NATS did not take it.", next_step="See the log of NATS.", inside=inside) from failure


async def _until(lost: asyncio.Event, queue: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
    gone = asyncio.ensure_future(lost.wait())
    try:
        while True:
            message = asyncio.ensure_future(queue.get())
            await asyncio.wait({gone, message}, return_when=asyncio.FIRST_COMPLETED)
            if not message.done():
                message.cancel()
                return
            yield message.result()
    finally:
        gone.cancel()


async def _close(client: Client) -> None:
    with suppress(Exception):  # of one that was never connected it is an AssertionError
        async with asyncio.timeout(1):
            await _apart(client.close())


async def _apart(step: Coroutine[Any, Any, T]) -> T:
    """One step of the client, in a task of its own: within, it swallows that it is cancelled, or out of time."""
    task = asyncio.ensure_future(step)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()
        raise
