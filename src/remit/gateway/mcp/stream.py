"""One `subscriptions/listen` stream of an agent's (MCP 2026-07-28): acknowledged first, then what has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any

import mcp_types as types
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY

from .heard import Listener

_NUMBERS = count(1)


class Stream:
    """This task alone writes it, so that the acknowledgment is its first frame. `name` is nobody else's."""

    def __init__(self, front: Any) -> None:
        self.name = f"listen {next(_NUMBERS)}"
        self._front = front
        self._changed: dict[str, None] = {}
        self._over = False
        self._wake = asyncio.Event()

    def listener(self, uri: str) -> Listener:
        """Who wants to know of this resource. A change that is not written yet is written once."""

        async def tell() -> None:
            self._changed[uri] = None
            self._wake.set()

        return Listener(tell, self._end)

    def _end(self) -> None:
        """A client that listens again learns what is still to be had."""
        self._over = True
        self._wake.set()

    async def run(self, uris: Sequence[str]) -> types.SubscriptionsListenResult:
        """Until the client leaves (which cancels this), or one of these is lost; of none, at once."""
        meta: Any = {SUBSCRIPTION_ID_META_KEY: self._front.request_id}
        agreed = types.SubscriptionFilter(resource_subscriptions=list(uris) or None)
        said = types.SubscriptionsAcknowledgedNotificationParams(notifications=agreed, _meta=meta)
        await self._send(types.SubscriptionsAcknowledgedNotification(params=said))
        while uris and not (self._over and not self._changed):
            await self._wake.wait()
            self._wake.clear()
            while self._changed:
                uri = next(iter(self._changed))
                del self._changed[uri]
                told = types.ResourceUpdatedNotificationParams(uri=uri, _meta=meta)
                await self._send(types.ResourceUpdatedNotification(params=told))
        return types.SubscriptionsListenResult(_meta=meta)

    async def _send(self, note: Any) -> None:
        await self._front.session.send_notification(note, related_request_id=self._front.request_id)
