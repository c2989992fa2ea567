"""One agent's task at an enforcement point: whom it asks, which servers it has, and what their tools are called."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Protocol

from ..asks import Asks
from .relay import Face
from .upstream import Upstream

GRANTS_FOR = 2.0


class Sessions(Protocol):
    """Where a task's own sessions with servers come from."""

    async def session(self, server: str, face: Face) -> Upstream:
        """A live one, to which the agent's side is as `face`; raises `RemitError` when there is none to be had."""
        ...


class Seat:
    """`who` names caller and task, and nobody else; `servers` are all the servers this front speaks for."""

    def __init__(self, who: str, asks: Asks, servers: tuple[str, ...], sessions: Sessions) -> None:
        self.who = who
        self.asks = asks
        self.servers = servers
        self.sessions = sessions
        self._grants: dict[str, str] = {}
        self._asked_at = -GRANTS_FOR

    async def grants(self, *, now: bool = False) -> dict[str, str]:
        """The tools the task's scope names, with their pins, as Remit said a moment ago. The decision is asked anew."""
        if now or time.monotonic() - self._asked_at > GRANTS_FOR:
            self._grants = await self.asks.tools()
            self._asked_at = time.monotonic()
        return self._grants

    @property
    def granted(self) -> Collection[str]:
        """The names of what Remit last said; for what no harm comes of, such as what is announced."""
        return self._grants.keys()

    def exposed(self, server: str, name: str) -> str:
        """What agents call it: its own name, or `server__name` when the front speaks for several servers."""
        return name if len(self.servers) == 1 else f"{server}__{name}"

    def named(self, exposed: str) -> tuple[str, str]:
        """(server, its own name) of what agents call so; the server is empty when there is none of that name."""
        if len(self.servers) == 1:
            return self.servers[0], exposed
        server, sep, name = exposed.partition("__")
        return (server, name) if sep and server in self.servers else ("", exposed)


def catalogue_name(server: str, name: str) -> str:
    """`server.tool`. Catalogue names are lower-case; the pin tells apart two tools that differ only in that."""
    return f"{server}.{name}".lower() if server else name.lower()
