"""Stories in process: floods, enormous ones, what was there before, and letters that are no ASCII."""

from __future__ import annotations

import asyncio
import json
import time
from functools import wraps

import pytest

from remit.domain import events
from remit.domain.change import Change
from remit.domain.decision import Access
from remit.formats.log_words import number, words
from remit.govern.heard import MANY
from remit.govern.incident import EVENTS, NODES, OF_ONE, story
from remit.govern.looking import Looking
from remit.govern.search import search
from remit.govern.things import Things
from remit.govern.usage import last_issue, uses
from remit.verbs.decide import decide
from remit.work.index_log import index_log
from remit.work.sequence import sequence
from tests.world import world


class Everything:
    """Whoever reads the whole log."""

    all, name = True, "anna"

    async def task(self, row):
        return True

    async def approval(self, row):
        return True

    async def entry(self, entry):
        return True


def ran(test):
    """A test that is a coroutine."""

    @wraps(test)
    def run(**given):
        asyncio.run(test(**given))

    return run


async def sequenced(found):
    while await sequence(found.store, found.env.signer, "remit.test/log"):
        pass


async def settled(found):
    await sequenced(found)
    while await index_log(found.store):
        pass


async def told(found, of, **more):
    sight = Everything()
    known = Things(Looking(found.env, found.store, sight, found.clock.now))
    return await story(found.store, known, sight, of, **more)


def decided(task, tool, agent="bot", decision="deny", **more):
    names = {"task": task, "agent": agent, "tool": tool, "decision": decision, "access": "sha256:" + "0" * 64}
    rest = {"approval": "", "catalogue": "", "trust": "trusted", "sensitivity": "public", "origin": "", "carries": ""}
    return events.AccessDecided(**names, **rest, reasons=("tool_unknown",), policies=(), controls=(), **more)


@ran
async def test_a_flood_of_its_name_pushes_nothing_out_of_a_story():
    found = await world()
    _, call = await found.proved()
    victim, thief = await found.task(call), await found.task(call)
    await decide(found.env, call, Access(victim.id, "list", {"customer": "acme"}))
    for _ in range(OF_ONE + 200):
        await found.store.commit(Change(decided(thief.id, victim.id), call))
    await settled(found)
    mine = await told(found, victim.id)
    said = [json.loads(leaf) for _, leaf in mine.events]
    assert {"TaskProposed", "AccessDecided"} <= {one["type"] for one in said}
    assert {one["data"].get("task", victim.id) for one in said} == {victim.id}
    assert [one for one in mine.cut if "events" in one] == []
    assert len(mine.mentioned) == 20


@ran
async def test_an_enormous_story_is_bounded_and_says_so():
    found = await world()
    _, call = await found.proved()
    tasks = [(await found.task(call)).id for _ in range(NODES + 30)]
    for n in range(EVENTS + OF_ONE):
        await found.store.commit(Change(decided(tasks[n % 2], "list"), call))
    await settled(found)
    began = time.process_time()
    one = await told(found, tasks[0])
    assert len(one.events) <= EVENTS and any(f"task {tasks[0]} the newest {OF_ONE:,}" in said for said in one.cut)
    assert any("Of agent bot" in said for said in one.cut)
    for depth in (1, 2, 3):
        wide = await told(found, "agent:bot", depth=depth)
        assert len(wide.things) <= NODES and len(wide.events) <= EVENTS and wide.cut
        assert len(wide.of_kind("task")) <= NODES
    assert time.process_time() - began < 20  # a minute of an attacker's time must not be a minute of ours
    assert MANY < NODES


@ran
async def test_what_was_written_before_is_found_by_what_it_has():
    """The index of a log from before has no word of ours for tasks, and its decisions say no purpose."""
    found = await world()
    _, call = await found.proved()
    task = await found.task(call)
    await found.store.commit(Change(decided(task.id, "list", decision="permit"), call))
    await sequenced(found)
    size, _ = await found.store.head()
    old = [sorted(number(w) for w in words(leaf) if " " not in w) for leaf in await found.store.entries(0, size)]
    await found.store.index(0, old)
    mine = await told(found, task.id)
    assert [json.loads(leaf)["type"] for _, leaf in mine.events if task.id.encode() in leaf][:1] == ["TaskProposed"]
    force = (await found.env.in_force())[1]
    used = {one.tool: one.permitted for one in await uses(found.store, force.catalogue.purposes["pay"])}
    assert used["list"] == 0  # which purpose it was for is not there


@ran
async def test_letters_that_are_no_ascii_are_found():
    found = await world()
    _, call = await found.proved()
    task = await found.task(call)
    for tool in ("überweisen", "支払い", "a\u202eb", 'quo"te', "back\\slash"):
        await found.store.commit(Change(decided(task.id, tool), call))
    await settled(found)
    for tool in ("überweisen", "支払い", "a\u202eb", 'quo"te', "back\\slash"):
        assert len((await search(found.store, [tool])).entries) == 1, tool


@ran
async def test_uses_are_counted_by_agent_purpose_and_tool_and_by_time():
    found = await world()
    _, call = await found.proved()
    task = await found.task(call)
    await decide(found.env, call, Access(task.id, "list", {"customer": "acme"}))
    await decide(found.env, call, Access(task.id, "pay", {"customer": "acme", "invoice": 1, "amount": "1"}))
    await decide(found.env, call, Access(task.id, "list", {"customer": "other"}))
    await settled(found)
    await decide(found.env, call, Access(task.id, "list", {"customer": "acme"}))
    await sequenced(found)  # the index has not reached the last one
    purpose = (await found.env.in_force())[1].catalogue.purposes["pay"]
    by = {one.tool: one for one in await uses(found.store, purpose)}
    assert (by["list"].permitted, by["list"].denied, by["list"].last_permit) == (2, 1, found.clock.now)
    assert (by["pay"].permitted, by["pay"].held, by["pay"].last_permit) == (0, 1, 0)
    later = {one.tool: one for one in await uses(found.store, purpose, since=found.clock.now + 1)}
    assert (later["list"].permitted, later["list"].denied) == (0, 0)
    assert await last_issue(found.store, "bot", "pay", "db") == 0


def test_nothing_that_is_said_is_a_word_of_ours():
    said = b'{"v":1,"type":"%s","at":1,"by":"enforcer:gate","trace":"","data":%s,"writes":[]}'
    posture = said % (b"PostureAssessed", b'{"agent":"bot","facts":["x=used lead","ip=10.0.0.7","y="],"until":1}')
    assert {"10.0.0.7", "ip=10.0.0.7"} <= words(posture) and not {"used lead", ""} & words(posture)


@pytest.mark.parametrize("tool", ["permit pay bot list", "in tsk_1", "used lead", "permitted bot list"])
@ran
async def test_a_tool_called_like_a_word_of_ours_makes_none(tool):
    found = await world()
    _, call = await found.proved()
    task = await found.task(call)
    await decide(found.env, call, Access(task.id, tool, {}))
    await settled(found)
    purpose = (await found.env.in_force())[1].catalogue.purposes["pay"]
    assert not any(one.permitted for one in await uses(found.store, purpose))
    assert not (await search(found.store, [tool])).entries
