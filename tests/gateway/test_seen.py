"""What an enforcement point saw is told in the background, little at a time, whoever makes it up."""

from __future__ import annotations

import asyncio

import pytest

from remit.gateway import seen
from remit_client import Unreachable


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(seen, "EVERY", 0.005)


class Told:
    """Every report, and whether anybody hears it."""

    def __init__(self):
        self.bodies = []
        self.deaf = False

    async def __call__(self, body):
        if self.deaf:
            raise Unreachable("nobody there")
        self.bodies.append(body)


def test_one_report_says_it_all_and_the_same_is_not_said_again():
    async def main():
        told = Told()
        one = seen.Seen(told)
        for _ in range(100):
            one.saw("files", tools=["files.read", "files.write"], callers=["192.0.2.1"])
            one.saw("notes", tools=["files.read", "", "x" * 201])
        await one._telling
        one.saw("files", tools=["files.read"])
        assert one._telling.done() and told.bodies == [
            {"source": "files", "tools": ["files.read", "files.write"], "callers": ["192.0.2.1"]},
            {"source": "notes", "tools": ["files.read"]},
        ]

    asyncio.run(main())


def test_a_flood_is_one_small_report_at_a_time(monkeypatch):
    async def main():
        told = Told()
        one = seen.Seen(told)
        for n in range(20_000):
            one.saw("here", callers=[f"2001:db8::{n:x}"])
        one.saw("big", tools=[f"tool-{n}" for n in range(5_000)])
        await one._telling
        assert [len(body.get("callers", body.get("tools"))) for body in told.bodies] == [seen.CALLERS, seen.TOOLS]
        one.saw("big", tools=[f"tool-{n}" for n in range(5_000)])
        await one._telling
        assert told.bodies[-1]["tools"] == [f"tool-{n}" for n in range(seen.TOOLS, 2 * seen.TOOLS)], "then the rest"
        monkeypatch.setattr(seen, "_REMEMBERED", 50)
        one.saw("more", tools=[f"more-{n}" for n in range(100)])
        await one._telling
        assert len(one._said) == 50

    asyncio.run(main())


def test_that_nobody_hears_it_stops_nothing():
    async def main():
        told = Told()
        told.deaf = True
        one = seen.Seen(told)
        one.saw("files", tools=["a"])
        await one._telling
        told.deaf = False
        one.saw("files", tools=["b"])
        await one._telling
        assert told.bodies == [{"source": "files", "tools": ["b"]}]
        one.saw("files", tools=["c"])
        one.close()
        await asyncio.sleep(0.02)
        assert one._telling.cancelled() and len(told.bodies) == 1
        seen.Seen(told).close()

    asyncio.run(main())
