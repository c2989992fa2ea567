"""What an edge believes: what the centre signed, for it, in order, and only as long as it asked lately."""

from __future__ import annotations

import asyncio

import pytest

from tests.edge.pair import pair


@pytest.mark.parametrize("x", [1])
def test_smoke(tmp_path, x):
    async def go():
        async with pair(tmp_path) as both:
            task = await both.task()
            assert (await both.decide(task))["decision"] == "permit"
            assert both.work.status()["age_ms"] == 0
            both.boot.now += 6_000
            assert (await both.decide(task))["why"][0]["code"] == "edge_stale"
            await both.told()
            assert (await both.decide(task))["decision"] == "permit"
            await both.work.report()
            assert (await both.there(task)).calls == 2

    asyncio.run(go())
