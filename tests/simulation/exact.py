"""How long a freeze takes to reach edges, in the simulator and in the model of docs/scale.md, over the same links.

The simulator runs the code and takes no time for it; so the model's costs are nothing here, and what is compared is what the
protocol makes of links: the sequencer, the wakes, the streams, the edge's own writing down.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import msgspec

from remit.domain.caller import CallerKind
from remit.domain.freeze import Reach
from remit.verbs.apply import apply
from remit.verbs.freeze import freeze, unfreeze
from tests.delegating import CATALOGUE

from . import house as houses
from .edges import drawn
from .network import Weather
from .settings import Settings

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks/estate"))
import model  # type: ignore[import-not-found]

LINK = 100  # ms, one way: anything from nothing to twice that


class Even(model.Link):  # type: ignore[misc,name-defined]
    """As `Network` draws delays."""

    def delay(self, rng: Random) -> float:
        return rng.random() * 2 * self.median * 1_000


def simulated(edges: int, seed: int, freezes: int = 4) -> list[float]:
    """Ms from each acknowledgement until each edge has it on its disk."""
    stale = {f"edge-{number}": 5_000 for number in range(edges)}
    entries = "".join(f'[edges.{name}]\nurl = "https://{name}.example"\nowner = "olga"\n' for name in stale)
    files = {**CATALOGUE, "remit.toml": CATALOGUE["remit.toml"] + entries}
    found: list[float] = []

    async def main(house: houses.House) -> None:
        replica = house.replicas["r0"]
        call = lambda: replica.call(CallerKind.OPERATOR, "op")  # noqa: E731
        await replica.node.spawn(apply(replica.env, call(), files))
        while not all(edge.freshness.age() < 2_000 for edge in house.edges):
            await asyncio.sleep(0.5)
        for number in range(freezes):
            done = freeze if not number % 2 else unfreeze
            before = set(house.database.visible)
            await replica.node.spawn(done(replica.env, call(), Reach.AGENT, "third", "why"))
            acknowledged = house.loop.time()
            (event,) = (
                n for n in house.database.visible if n not in before and b"roze" in house.database.visible[n][0]
            )
            waiting = {edge.name: edge for edge in house.edges}
            while waiting:
                await asyncio.sleep(0.001)
                if event not in house.database.placed:
                    continue
                place = house.database._sequenced.index(event)
                for name, edge in list(waiting.items()):
                    if edge.work._follow.size > place:
                        found.append((house.loop.time() - acknowledged) * 1_000)
                        del waiting[name]
            await asyncio.sleep(1)

    with drawn(seed), patch.object(houses, "STALE", stale):
        house = houses.House(seed, Settings(replicas=3, edges=edges, latency=LINK))
        house.wires.weather = Weather(0.2)
        try:
            house.loop.run_until_complete(main(house))
        finally:
            house.loop.close()
    return found


def modelled(edges: int, seed: int) -> list[float]:
    """The same by the model."""
    nothing: dict[str, float] = dict.fromkeys(model.COSTS, 0.0)
    with patch.object(model, "COSTS", nothing):
        estate = model.Estate(edges=edges, replicas=3, link=Even(float(LINK)), apply=5.0, sequence=5.0, other=0.0)
        told: list[float] = model.propagation(estate, seed, revocations=8)
    return told


def quantiles(values: Sequence[float]) -> list[float]:
    """p50, p90, max."""
    return [round(model.quantile(values, q), 1) for q in (0.5, 0.9, 1.0)]


def main() -> None:
    for edges in (10, 30):
        line: dict[str, Any] = {
            "edges": edges,
            "simulated": quantiles(simulated(edges, 1)),
            "modelled": quantiles(modelled(edges, 1)),
        }
        print(msgspec.json.encode(line).decode(), flush=True)


if __name__ == "__main__":
    main()
