"""Frames over NATS JetStream: real servers, a real centre and a real edge behind a leaf node; and who publishes lies."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.edge.estate import estate
from tests.edge.nats_servers import hub_and_leaf
from tests.server import eventually


@pytest.fixture(scope="module")
def nats():
    with hub_and_leaf() as both:
        yield both


@pytest.fixture(scope="module")
def world(nats, tmp_path_factory):
    hub, leaf = nats
    at_edge = {"REMIT_EDGE_NATS": leaf.url}
    with estate(tmp_path_factory.mktemp("nats"), stale="20s", at_edge=at_edge, REMIT_NATS=hub.url) as made:
        yield made


@pytest.fixture
def bot(world):
    found = world.agent()
    found.http = httpx.Client(trust_env=False, timeout=20)
    yield found
    found.http.close()
    world.link.heal()


def by(world, way, seconds=10.0):
    eventually(lambda: world.edge.status()["frames_by"], lambda found: found == way, seconds)


def refused(world, bot, *, alone):
    """End a task at the centre; how long until its edge says no, with HTTPS between them swallowed if `alone`."""
    beside = world.at_edge(bot)
    task, token = bot.task()
    assert beside.call(task, token)["decision"] == "permit"
    if alone:
        world.link.blackhole()  # no stream, no beat, no pull
    acknowledged = world.revoke(task)
    said = eventually(lambda: beside.call(task, token), lambda said: said["decision"] == "deny", 5)
    took = time.monotonic() - acknowledged
    assert said["why"][0]["code"] == "task_not_open"
    world.link.heal()
    return took


def test_a_revoke_arrives_over_nats_alone_through_a_leaf_and_by_the_centre_when_nats_is_gone(world, nats, bot):
    hub, _ = nats
    by(world, "nats")
    assert refused(world, bot, alone=True) < 1.0
    hub.stop()  # the leaf is still there
    by(world, "centre")
    assert refused(world, bot, alone=False) < 1.5
    hub.start()
    by(world, "nats")
    assert refused(world, bot, alone=True) < 1.0
    world.edge.fresh()
