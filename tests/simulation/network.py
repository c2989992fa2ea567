"""Links between nodes: messages are late, lost, doubled, out of order, and some nodes cannot reach some others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from .loop import Node, SimulatedLoop


class NoAnswer(Exception):
    """The caller cannot know whether it happened."""


@dataclass
class Weather:
    """How links behave now. Delays in ms: `usual`, and `late` for one message of `late_one_in`; 0 means never."""

    usual: float = 1.0
    late: float = 0.0
    late_one_in: int = 0
    lost_one_in: int = 0
    doubled_one_in: int = 0


class Network:
    """`cut` holds pairs of node names between which nothing passes; `say` records what happened."""

    def __init__(self, loop: SimulatedLoop, rng: Random, weather: Weather, say: Callable[[str], None]) -> None:
        self.loop, self.rng, self.weather, self.say = loop, rng, weather, say
        self.cut: set[tuple[str, str]] = set()

    def delay(self) -> float:
        """Seconds on the way."""
        weather, rng = self.weather, self.rng
        if weather.late_one_in and not rng.randrange(weather.late_one_in):
            return rng.random() * weather.late / 1000
        return rng.random() * 2 * weather.usual / 1000

    def send(self, source: str, to: Node, what: str, deliver: Callable[[], Any], *, reliable: bool = False) -> bool:
        """On its way, unless it was lost; a `reliable` one is a TCP stream's, and is late but not lost or doubled."""
        weather, rng = self.weather, self.rng
        if (source, to.name) in self.cut or (
            not reliable and weather.lost_one_in and not rng.randrange(weather.lost_one_in)
        ):
            self.say(f"lost {source} → {to.name}: {what}")
            return False
        self.loop.call_later(self.delay(), deliver, context=to.context)
        if not reliable and weather.doubled_one_in and not rng.randrange(weather.doubled_one_in):
            self.say(f"doubled {source} → {to.name}: {what}")
            self.loop.call_later(self.delay(), deliver, context=to.context)
        return True

    async def call(
        self,
        source: Node,
        to: Node,
        what: str,
        serve: Callable[[], Awaitable[Any]],
        seconds: float = 10.0,
        *,
        reliable: bool = False,
    ) -> Any:
        """Ask `to`, which serves it as a task of its own; `NoAnswer` when nothing came back in time."""
        answer = self.loop.create_future()

        def arrived() -> None:
            task = to.spawn(serve())
            task.add_done_callback(served, context=to.context)

        def served(task: asyncio.Task[Any]) -> None:
            failure = asyncio.CancelledError() if task.cancelled() else task.exception()
            result = None if failure else task.result()

            def back() -> None:
                if answer.done():
                    return
                if failure:
                    answer.set_exception(failure if isinstance(failure, Exception) else NoAnswer(what))
                else:
                    answer.set_result(result)

            self.send(to.name, source, f"answer to {what}", back, reliable=reliable)

        self.send(source.name, to, what, arrived, reliable=reliable)
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise NoAnswer(what) from None
