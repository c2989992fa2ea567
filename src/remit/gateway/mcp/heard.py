"""What a server says unasked: log messages, and that a resource has changed. It passes only where a task is granted it.

A log message is read by a model like an answer, so it is observed before it is given, and only while a call is being
answered. Of an update, nothing passes but a URI that the agent itself subscribed to.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mcp.server.connection import allowed_log_levels
from mcp_types import LOG_LEVEL_META_KEY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from remit_client import RemitError

LOGGING, SUBSCRIBE = "logging/setLevel", "resources/subscribe"
MESSAGES = 200  # while one call is answered; what comes after them is lost
MESSAGE_BYTES = 16 * 1024
ALL_BYTES = 512 * 1024  # so that all of them can be observed at once
URIS = 64
LISTENERS = 8
SEND_IN = 5.0
Observe = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True)
class Listener:
    """Who is told that a resource has changed; and `lost`, when nobody will be told of it any more."""

    tell: Callable[[], Awaitable[None]]
    lost: Callable[[], None] = lambda: None


class Logs:
    """Of one call. `secret` tells whether a text has a credential of the server's in it; such a message is lost."""

    def __init__(self, front: Any, observe: Observe, secret: Callable[[str], bool]) -> None:
        self.front, self._observe, self._secret = front, observe, secret
        self._levels = allowed_log_levels(front.protocol_version, front.meta)
        self._left, self._room = MESSAGES, ALL_BYTES
        self._waiting: list[types.LoggingMessageNotificationParams] = []
        self._giving: asyncio.Task[None] | None = None

    def narrow(self, level: str) -> None:
        """To this level and those above."""
        self._levels &= allowed_log_levels(MODERN_PROTOCOL_VERSIONS[-1], {LOG_LEVEL_META_KEY: level})

    def add(self, said: types.LoggingMessageNotificationParams) -> None:
        """Give it, when it is one that may be given."""
        if said.level not in self._levels or self._left <= 0:
            return
        self._left -= 1
        if not self._is_fit(said):
            return
        self._waiting.append(said)
        if self._giving is None or self._giving.done():
            self._giving = asyncio.create_task(self._give())

    def _is_fit(self, said: types.LoggingMessageNotificationParams) -> bool:
        try:
            text = json.dumps([said.logger, said.data])
        except (ValueError, TypeError, RecursionError):
            return False
        ours = isinstance(said.data, Mapping) and "remit" in said.data
        if len(text) > min(MESSAGE_BYTES, self._room) or ours or self._secret(text):
            return False
        self._room -= len(text)
        return True

    async def _give(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await self._observe([[said.logger, said.data] if said.logger else said.data for said in batch])
            except RemitError:  # nobody may read them, nor those to come
                self._left, self._waiting = 0, []
                return
            for said in batch:
                plain = types.LoggingMessageNotificationParams(level=said.level, logger=said.logger, data=said.data)
                note = types.LoggingMessageNotification(params=plain)
                with suppress(Exception):  # a client that has left reads nothing
                    await self.front.session.send_notification(note, related_request_id=self.front.request_id)

    async def finish(self) -> None:
        """Wait until all that was said is given, so that none comes after the answer."""
        if self._giving is not None:
            await asyncio.wait([self._giving], timeout=SEND_IN)
            self._giving.cancel()
        self._left, self._waiting = 0, []


class Heard:
    """Of one session with a server. `level` is what a 2025-11-25 client has set."""

    def __init__(self) -> None:
        self.level = ""
        self._calls: list[Logs] = []
        self._listeners: dict[str, dict[str, Listener]] = {}
        self._changed: dict[str, None] = {}
        self._telling: asyncio.Task[None] | None = None

    # --- log messages ---

    async def logged(self, said: types.LoggingMessageNotificationParams) -> None:
        """For the SDK's client. MCP does not say which call it is about, so it is given to the newest."""
        if self._calls:
            self._calls[-1].add(said)

    @asynccontextmanager
    async def during(self, logs: Logs | None, modern: bool) -> AsyncIterator[dict[str, Any] | None]:
        """While a call is answered: the `_meta` it is asked with; on the way out all is given."""
        if logs is None:
            yield None
            return
        front = logs.front
        asked = (front.meta or {}).get(LOG_LEVEL_META_KEY)
        level = asked if front.protocol_version in MODERN_PROTOCOL_VERSIONS else self.level
        if level:
            logs.narrow(level)
        self._calls.append(logs)
        try:
            yield {LOG_LEVEL_META_KEY: level} if modern and level else None
        finally:
            self._calls.remove(logs)
            await logs.finish()

    # --- updates ---

    def listen(self, uri: str, who: str, listener: Listener) -> bool:
        """Whether there is room for one more that is told when this resource changes."""
        found = self._listeners.get(uri, {})
        if (not found and len(self._listeners) >= URIS) or (who not in found and len(found) >= LISTENERS):
            return False
        self._listeners.setdefault(uri, {})[who] = listener
        return True

    def leave(self, uri: str, who: str) -> bool:
        """Whether nobody listens to it any more."""
        found = self._listeners.get(uri, {})
        found.pop(who, None)
        if not found:
            self._listeners.pop(uri, None)
        return not found

    @property
    def uris(self) -> Collection[str]:
        """What anybody waits for updates of."""
        return self._listeners.keys()

    async def noticed(self, message: Any) -> None:
        """For the SDK's client."""
        if isinstance(message, types.ResourceUpdatedNotification):
            self.changed(str(message.params.uri))

    def changed(self, uri: str) -> None:
        """However often a server says it, one that is yet to be told is told once."""
        if uri in self._listeners:
            self._changed[uri] = None
            if self._telling is None or self._telling.done():
                self._telling = asyncio.create_task(self._tell())

    def lose(self, uri: str) -> None:
        """The server will not say any more whether this changes."""
        for listener in self._listeners.pop(uri, {}).values():
            listener.lost()

    async def _tell(self) -> None:
        while self._changed:
            uri = next(iter(self._changed))
            del self._changed[uri]
            for who, listener in list(self._listeners.get(uri, {}).items()):
                try:
                    await asyncio.wait_for(listener.tell(), SEND_IN)
                except Exception:  # a client that has gone, or may not know it any more
                    self.leave(uri, who)
                    listener.lost()
