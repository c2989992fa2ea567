"""The centre's side of edges, at a real server."""

from __future__ import annotations

import asyncio

import pytest

from remit.domain.decision import Permit
from tests.edge_by_hand import EdgeClient, EdgeWorld
from tests.server import CATALOGUE, furnished, process
from tests.world import world

FILES = {
    **CATALOGUE,
    "remit.toml": CATALOGUE["remit.toml"]
    + '[edges.part-only]\nurl = "https://other.example"\nowner = "olga"\npurposes = ["part"]\n',
}


@pytest.fixture(scope="module")
def centre(tmp_path_factory):
    with process(tmp_path_factory.mktemp("centre") / "data") as running:
        yield furnished(running, FILES)


def test_an_edge_takes_a_task_decides_reports_and_gives_it_back(centre):
    edge = EdgeClient(centre)
    began = edge.snapshot()
    assert began.body["issuer"] == centre.url and began.size > 0
    files = edge.http.get(f"/v1/estate/catalogues/{began.body['catalogue']['digest']}").json()["files"]
    assert files == FILES
    bot = centre.agent()
    task, token = bot.task()
    given, memory = edge.entrust(task)
    assert given.task.home == "west" and len(memory) == 32

    async def decides():
        inner = await world(files=FILES, now=given.task.opened_at + 1)
        there = await EdgeWorld.beside(inner.env, FILES, seat=edge.seat)
        await there.take(given, memory)
        from remit.domain.caller import Call, Caller, CallerKind

        agent = Call(Caller(CallerKind.AGENT, "bot", jkt=given.task.jkt), given.task.opened_at + 1)
        assert isinstance(await there.decide(agent, task), Permit)
        await there.observe(agent, task, {"iban": "DE89370400440532013000"})
        return await there.log()

    log = asyncio.run(decides())
    answer = edge.report(log)
    assert answer.json() == {"received": len(log)}, answer.text
    shown = centre.http("operator").get(f"/v1/tasks/{task}").json()
    assert shown["calls"] == 1
    edge.ask(f"/v1/estate/tasks/{task}/return", seat=edge.seat, through=len(log))
    edge.ask(f"/v1/estate/tasks/{task}/return", seat=edge.seat, through=len(log))
    assert bot.call(task, token)["decision"] == "permit"


def test_a_beat_covers_what_was_committed_before_it_and_says_what_happened(centre):
    edge = EdgeClient(centre)
    size = edge.snapshot().size
    bot = centre.agent()
    task, _ = bot.task()
    edge.entrust(task)
    centre.http("operator").post(f"/v1/tasks/{task}/end", json={"reason": "enough"})
    beat, received = edge.beat(size)
    assert received == 0 and (beat.since, beat.body) == (size, {"ended": [[task, "revoked"]]})
    told = [frame for frame in edge.frames(size) if frame.body]
    assert told[0].body["ended"] == [[task, "revoked"]]
    assert not any(frame.body for frame in edge.frames(beat.size))
