"""The simulator itself: it replays exactly, it finds what is planted, and every seed that once failed is run again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from random import Random

import pytest

from tests.simulation.loop import Node, SimulatedLoop, Stuck
from tests.simulation.planted import BUGS, RARE, first_red, planted
from tests.simulation.run import simulate, smaller
from tests.simulation.settings import Settings

SOME = range(12)
FAILED_ONCE = {
    13: "a lane whose store failed told nobody",
    169: "a frozen agent was given what it had asked for before",
}


@pytest.mark.parametrize("seed", [*SOME, *FAILED_ONCE])
def test_all_laws_hold(seed):
    found = simulate(seed)
    assert not found.problem, "\n".join([found.problem, *found.lines, f"python -m tests.simulation {seed} --trace"])


BUSY = {"leaks": 8, "edges": 0, "operations": 24, "agents": 3, "workers": 2}


@pytest.mark.parametrize("seed", [*range(300, 306), 456])
def test_what_leaks_is_contained_whatever_else_happens(seed):
    """456: a kill whose answer was slow ended a lease whose mint had landed meanwhile."""
    found = simulate(seed, BUSY)
    assert not found.problem, "\n".join([found.problem, *found.lines])


@pytest.mark.soak
def test_many_schedules_hold_all_laws():
    first, count = int(os.environ.get("REMIT_SOAK_SEED", "1000000")), int(os.environ.get("REMIT_SOAK_SEEDS", "3000"))
    broken = [(seed, found.problem) for seed in range(first, first + count) if (found := simulate(seed)).problem]
    assert not broken


def test_a_seed_is_one_schedule_in_every_process():
    """Names of sets and dicts are hashed otherwise in each; nothing may depend on that, nor on what ran before."""
    seeds = [*[seed for seed in range(40) if Settings.drawn(seed).catalogues][:3], 169]
    here = [simulate(seed).digest for seed in (*seeds, *reversed(seeds))]
    assert here[: len(seeds)] == here[: len(seeds) - 1 : -1]
    code = f"from tests.simulation.run import simulate\nprint(*[simulate(seed).digest for seed in {seeds}])"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == here[: len(seeds)]


def lane(bug):
    return pytest.param(bug, id=bug.name, marks=[pytest.mark.soak] if bug.within == RARE else [])


@pytest.mark.parametrize("bug", map(lane, BUGS))
def test_what_is_planted_is_found(bug):
    found = first_red(bug)
    assert found, f"none of {bug.within} schedules found it"
    assert not simulate(found.seed, bug.settings).problem, "and without it, nothing is"


def test_what_failed_is_made_smaller():
    with planted(BUGS[0]):
        found = simulate(BUGS[0].seed)
        small, kept = smaller(found, {}, tries=60)
        assert small.law == found.law and small.steps < found.steps
        assert simulate(found.seed, kept).digest == small.digest


def on_a_loop(main, seed=0):
    loop = SimulatedLoop(Random(seed))
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.close()


def test_time_passes_only_when_nothing_else_can_happen():
    async def main(loop):
        queue = asyncio.Queue()

        async def put():
            await asyncio.sleep(3600)
            await queue.put("later")

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.sleep(20)
        at = loop.time()
        found, _ = await asyncio.gather(queue.get(), put())
        return found, at, loop.time()

    assert on_a_loop(main) == ("later", 10, 3610)


def test_what_was_killed_clears_nothing_up_and_what_was_stopped_goes_on():
    did = []

    async def works(name):
        try:
            await asyncio.sleep(1)
            did.append(f"{name} worked")
        finally:
            did.append(f"{name} cleared up")

    async def main(loop):
        dead, slow = Node("dead", loop), Node("slow", loop)
        dead.spawn(works("dead"))
        slow.spawn(works("slow"))
        await asyncio.sleep(0.5)
        dead.kill()
        slow.stop()
        await asyncio.sleep(5)
        assert did == []
        slow.go_on()
        await asyncio.sleep(1)
        assert did == ["slow worked", "slow cleared up"]

    on_a_loop(main)


def test_waiting_for_ever_is_found():
    async def main(loop):
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        on_a_loop(main)


def test_the_order_is_the_seeds():
    async def main(loop):
        found = []

        async def says(number):
            found.append(number)

        await asyncio.gather(*(says(number) for number in range(8)))
        return tuple(found)

    orders = [on_a_loop(main, seed) for seed in range(6)]
    assert len(set(orders)) > 3
    assert orders == [on_a_loop(main, seed) for seed in range(6)]
