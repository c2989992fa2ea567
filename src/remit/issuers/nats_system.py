"""A connection to the system account of NATS servers, and what may be asked there of all of them at once.

Remit's user there needs to publish `$SYS.REQ.ACCOUNT.<account>.CLAIMS.LOOKUP` and `….CLAIMS.UPDATE`, and
`$SYS.REQ.SERVER.PING.` with `STATSZ`, `VARZ` and `CONNZ`; to subscribe to `_INBOX_remit.>`,
`$SYS.REQ.ACCOUNT.<account>.CLAIMS.UPDATE` and `$SYS.REQ.CLAIMS.UPDATE`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error

from remit.domain.errors import BadToken, IssuerUnavailable, Refusal
from remit.formats import json_input, nkey
from remit.formats.nats_jwt import ACCOUNT_LIMIT, parse_creds

INBOX = "_INBOX_remit"
TIMEOUT = 10.0
_ANSWER = 2.0
_PING = "$SYS.REQ.SERVER.PING."


@dataclass(frozen=True)
class System:
    """How to reach the system account, and with what to sign: texts are read again whenever they are needed."""

    servers: tuple[str, ...]
    account: str
    operators: frozenset[str]
    creds: Callable[[], str] = field(repr=False)
    operator_seed: Callable[[], str] = field(repr=False)
    tls: Callable[[], ssl.SSLContext | None]
    clock: Callable[[], int]

    def shown(self) -> tuple[str, nkey.Seed]:
        """JWT and seed of our user there."""
        try:
            return parse_creds(self.creds())
        except BadToken as flaw:
            message = "The system account's credentials cannot be read."
            raise IssuerUnavailable(message, inside=flaw.inside) from None

    def signer(self) -> nkey.Seed:
        """The operator's signing key."""
        try:
            seed = nkey.Seed.parse(self.operator_seed())
        except BadToken as flaw:
            raise IssuerUnavailable("The operator's signing key cannot be read.", inside=flaw.inside) from None
        if seed.kind != nkey.OPERATOR or seed.public not in self.operators:
            raise IssuerUnavailable("The operator's signing key is none of `operator_keys`.", inside=seed.public)
        return seed


class SystemAccount:
    """One connection, made when it is needed. `pushed` is told of every account JWT that anybody pushes.

    After a time without a connection, in which nothing was heard, it is told "".
    """

    def __init__(self, system: System, pushed: Callable[[str], None]) -> None:
        self._system, self._pushed = system, pushed
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        claims = f"$SYS.REQ.ACCOUNT.{system.account}.CLAIMS."
        self._lookup, self._update = claims + "LOOKUP", claims + "UPDATE"

    @asynccontextmanager
    async def reached(self) -> AsyncIterator[None]:
        """Connected; anything that goes wrong within is `IssuerUnavailable`, without the server's words."""
        try:
            async with asyncio.timeout(TIMEOUT):
                async with self._connecting:
                    if self._client is None or not self._client.is_connected:
                        await self.close()
                        self._client = await self._connect()
                yield
        except (OSError, TimeoutError, ValueError, Error) as failure:
            step = "It is tried again; `remit doctor` checks the issuer."
            raise IssuerUnavailable("NATS did not do it.", next_step=step, inside=type(failure).__name__) from None

    async def close(self) -> None:
        """Leave."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(Error, OSError, TimeoutError):
                await client.close()

    async def servers(self) -> int:
        """How many there are, by what one of them knows."""
        answer = _json((await self._asked(_PING + "STATSZ", b"", 1))[0])
        count = (answer.get("statsz") or {}).get("active_servers")
        if type(count) is not int or not 0 < count <= 10_000:
            raise IssuerUnavailable("A server does not say how many there are.")
        return count

    async def trusted(self, servers: int) -> set[str]:
        """The operator's keys that every server believes. One stores what another key signed, and goes by the old."""
        told: list[Any] = [
            _data(answer).get("trusted_operators_claim") for answer in await self._asked(_PING + "VARZ", b"", servers)
        ]
        try:
            return set.intersection(
                *({k for o in one for k in (o["sub"], *o["nats"].get("signing_keys", ()))} for one in told)
            )
        except (TypeError, KeyError, AttributeError):
            raise IssuerUnavailable("A server does not say which operator it believes.") from None

    async def connections(self, servers: int, user: str) -> int:
        """How many sessions this user has."""
        wanted = json.dumps({"auth": True, "user": user, "acc": self._system.account, "limit": 1}).encode()
        found = 0
        for answer in await self._asked(_PING + "CONNZ", wanted, servers):
            count = _data(answer).get("num_connections")
            if type(count) is not int:
                raise IssuerUnavailable("A server does not say who is connected.")
            found += count
        return found

    async def stored(self, servers: int) -> list[str]:
        """The account's JWT as each server has it."""
        return [answer.decode("utf-8", "replace") for answer in await self._asked(self._lookup, b"", servers)]

    async def push(self, servers: int, text: str) -> None:
        """Every server stores this JWT of the account, and goes by it from now on."""
        data = text.encode()
        if self._client is None or len(data) > self._client.max_payload:
            step = "Give credentials shorter lives, or servers a larger max_payload."
            raise IssuerUnavailable("The account's list of revocations is too long.", next_step=step)
        for answer in await self._asked(self._update, data, servers):
            if _data(answer).get("code") != 200:
                raise IssuerUnavailable("A server refused the account's JWT.", next_step="See the log of the server.")

    async def _asked(self, subject: str, data: bytes, count: int) -> list[bytes]:
        """The first `count` answers, all of them or `IssuerUnavailable`."""
        client = self._client
        if client is None:
            raise IssuerUnavailable("The connection was closed.")
        inbox, found = client.new_inbox(), list[bytes]()
        waiting = await client.subscribe(inbox)
        try:
            await client.publish(subject, data, reply=inbox)
            async with asyncio.timeout(_ANSWER):
                while len(found) < count:
                    message = await waiting.next_msg(None)
                    if message.headers and message.headers.get("Status") == "503":
                        raise IssuerUnavailable("Nobody answers there: are those the system account's credentials?")
                    if len(message.data) > ACCOUNT_LIMIT:
                        raise IssuerUnavailable("An answer is too long.")
                    found.append(message.data)
            return found
        except TimeoutError:
            step, inside = "Every server must be up and have a resolver of type `full`.", f"{len(found)} of {count}"
            raise IssuerUnavailable("Not every NATS server answered.", next_step=step, inside=inside) from None
        finally:
            with suppress(Error):
                await waiting.unsubscribe()

    async def _connect(self) -> Client:
        """A connection that comes back by itself, for what is heard on it."""
        self._system.shown()  # what cannot be read is said here, not by the client
        client = Client()
        try:
            async with asyncio.timeout(TIMEOUT / 2):
                await client.connect(
                    list(self._system.servers),
                    name="remit",
                    user_jwt_cb=lambda: bytearray(_or_os_error(self._system.shown)[0].encode()),
                    signature_cb=lambda nonce: base64.b64encode(
                        _or_os_error(self._system.shown)[1].sign(nonce.encode())
                    ),
                    inbox_prefix=INBOX,
                    error_cb=_unsaid,
                    reconnected_cb=self._came_back,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=1,
                    connect_timeout=2,
                    tls=self._system.tls(),
                )
                for subject in (self._update, "$SYS.REQ.CLAIMS.UPDATE"):
                    await client.subscribe(subject, cb=self._heard)
        except BaseException:
            with suppress(Exception):
                await client.close()
            raise
        return client

    async def _heard(self, message: Msg) -> None:
        with suppress(UnicodeDecodeError):
            self._pushed(message.data.decode())

    async def _came_back(self) -> None:
        self._pushed("")


def _or_os_error(read: Callable[[], tuple[str, nkey.Seed]]) -> tuple[str, nkey.Seed]:
    """The client goes on trying after this kind of error only."""
    try:
        return read()
    except Refusal as refusal:
        raise OSError(refusal.code) from None


async def _unsaid(failure: Exception) -> None:
    """The client would write it to the log, and the server's words with it."""


def _json(data: bytes) -> Mapping[str, Any]:
    try:
        value = json_input.parse(data, limit=ACCOUNT_LIMIT)
    except Refusal as flaw:
        raise IssuerUnavailable("A server's answer is not JSON.", inside=flaw.code) from None
    return value if isinstance(value, Mapping) else {}


def _data(data: bytes) -> Mapping[str, Any]:
    value = _json(data).get("data")
    return value if isinstance(value, Mapping) else {}
