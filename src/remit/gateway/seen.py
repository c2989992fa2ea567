"""What an enforcement point saw and nobody may have registered, told to Remit in the background.

Whoever is refused at a gateway, and whatever a server calls its tools, costs one report a second at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from remit_client.errors import RemitError

EVERY = 1.0
TOOLS, CALLERS = 200, 20  # in one report
_LONGEST = 200
_NEWS = 600.0  # s: so long the same is not said again
_REMEMBERED = 4096


class Seen:
    """`tell` says one report. What does not fit is seen again when it is there again."""

    def __init__(self, tell: Callable[[Mapping[str, Any]], Awaitable[Any]]) -> None:
        self._tell = tell
        self._said: dict[tuple[str, str], float] = {}
        self._waiting: dict[str, dict[str, list[str]]] = {}
        self._telling: asyncio.Task[None] | None = None

    def saw(self, source: str, *, tools: Sequence[str] = (), callers: Sequence[str] = ()) -> None:
        """Returns at once."""
        self._add(source, "tools", tools, TOOLS)
        self._add(source, "callers", callers, CALLERS)
        if self._waiting and (self._telling is None or self._telling.done()):
            self._telling = asyncio.create_task(self._tell_all())

    def _add(self, source: str, what: str, names: Sequence[str], most: int) -> None:
        waits = len(self._waiting.get(source, {}).get(what, ()))
        for name in names:
            if waits < most and 0 < len(name) <= _LONGEST and self._is_news((source, name)):
                self._waiting.setdefault(source, {}).setdefault(what, []).append(name)
                waits += 1

    def _is_news(self, seen: tuple[str, str]) -> bool:
        now = time.monotonic()
        if now - self._said.get(seen, -_NEWS) < _NEWS:
            return False
        self._said.pop(seen, None)
        while len(self._said) >= _REMEMBERED:
            self._said.pop(next(iter(self._said)))
        self._said[seen] = now
        return True

    async def _tell_all(self) -> None:
        while self._waiting:
            await asyncio.sleep(EVERY)
            source = next(iter(self._waiting))
            with suppress(RemitError):  # nothing that is stopped or let pass hangs on it
                await self._tell({"source": source, **self._waiting.pop(source)})

    def close(self) -> None:
        """Tell no more."""
        if self._telling is not None:
            self._telling.cancel()
