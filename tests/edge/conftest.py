"""One centre in this process for a whole module, and an edge of its own for every test."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from remit.domain.caller import Call, Caller, CallerKind
from remit.roots.server import Settings, open_house
from remit.verbs.apply import apply
from tests.edge.estate import catalogue
from tests.edge.pair import URL, pair


class Centre:
    """`run(test)` runs `async def test(both)` with a fresh edge of this centre."""

    def __init__(self, tmp) -> None:
        self._tmp = tmp
        self._runner = asyncio.Runner()
        self._edges = 0
        self._opened = open_house(Settings(data=tmp / "centre", public_url="http://127.0.0.1:2"))
        self.house = self.do(self._opened.__aenter__())
        self.furnish()

    def do(self, what):
        return self._runner.run(what)

    def furnish(self, files=None) -> None:
        """The usual catalogue, or another one."""
        files = files or catalogue(URL, stale="5s")
        self.do(apply(self.house.env, Call(Caller(CallerKind.OPERATOR, "op"), self.house.clock()), files))

    def run(self, test, **more):
        async def go():
            async with self.edge(**more) as both:
                return await test(both)

        return self.do(go())

    @asynccontextmanager
    async def edge(self, **more):
        """An edge with a store of its own, or with the one that is named."""
        self._edges += 1
        name = more.pop("data", f"edge{self._edges}")
        async with pair(self._tmp, at=self.house, data=name, **more) as both:
            yield both

    def close(self) -> None:
        self.do(self._opened.__aexit__(None, None, None))
        self._runner.close()


@pytest.fixture(scope="module")
def centre(tmp_path_factory):
    made = Centre(tmp_path_factory.mktemp("estate"))
    yield made
    made.close()
