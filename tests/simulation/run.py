"""Run one seed, and say what came of it."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from typing import Any

from .edges import drawn
from .house import House
from .loop import Stuck
from .parties import everybody
from .settings import Settings
from .witness import Broken


@dataclass
class Outcome:
    """`problem` is empty when everything held; `digest` is of every step, line and time."""

    seed: int
    settings: Settings
    problem: str = ""
    law: str = ""
    steps: int = 0
    digest: str = ""
    lines: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def simulate(seed: int, overrides: dict[str, int] | None = None, *, keep: int = 60) -> Outcome:
    """One schedule, from its beginning until it has come to rest."""
    with drawn(seed):
        return _simulate(seed, Settings.drawn(seed, overrides), keep)


def _simulate(seed: int, settings: Settings, keep: int) -> Outcome:
    house = House(seed, settings, keep=keep)
    found = Outcome(seed, settings)
    try:
        house.loop.run_until_complete(_all(house))
    except Broken as broken:
        found.problem, found.law = str(broken), broken.law
    except Stuck as stuck:
        found.problem, found.law = str(stuck), "stuck"
    finally:
        found.steps, found.counts = house.loop.steps, dict(house.witness.counts)
        found.digest = f"{house.loop.hash:08x}{house.digest:08x}"
        found.lines = list(house.lines)
        house.loop.close()
    if house.witness.broken and not found.problem:
        found.problem, found.law = str(house.witness.broken), house.witness.broken.law
    if house.loop.failures and not found.problem:
        found.problem, found.law = "; ".join(house.loop.failures[:3]), "crash"
    return found


async def _all(house: House) -> None:
    await everybody(house)
    if house.witness.broken is None:
        await house.come_to_rest()


def smaller(outcome: Outcome, overrides: dict[str, int], tries: int = 400) -> tuple[Outcome, dict[str, int]]:
    """The same law broken with less going on, as far as leaving out one thing at a time gets."""
    best, kept = outcome, dict(overrides)
    moved = True
    while moved and tries:
        moved = False
        for name, value in best.settings.calmer():
            tries -= 1
            found = simulate(outcome.seed, {**kept, name: value})
            if found.law == outcome.law:
                best, kept, moved = found, {**kept, name: value}, True
                break
            if not tries:
                break
    return best, kept


def quiet() -> Any:
    """Collect what runs left behind."""
    return gc.collect()
