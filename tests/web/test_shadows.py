"""What was seen and nobody registered: kept within bounds, told to operators alone, and it makes no refusal different."""

from __future__ import annotations

import asyncio
import functools
import time

import httpx
import pytest

from remit.domain.catalogue import Catalogue
from remit.domain.errors import BadToken, StoreUnavailable
from remit.domain.shadow import LONGEST, MOST, Shadow, ShadowKind, Sighting, counted, registered
from remit.formats.catalogue import parse
from remit.store.memory import MemoryStore
from remit.web import shadows
from remit_client import AgentKey
from tests.server import CATALOGUE, eventually, furnished, process


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with process(tmp_path_factory.mktemp("shadows") / "data") as running:
        yield furnished(running)


def runs(test):
    """An event loop of its own."""

    @functools.wraps(test)
    def run(**given):
        asyncio.run(test(**given))

    return run


def names(server, **query) -> dict:
    return {one["name"]: one for one in server.http("operator").get("/v1/shadows", params=query).json()["items"]}


def ghost(server, name: str, known: AgentKey | None = None) -> httpx.Response:
    """A client assertion that is well made, for a name of one's choice."""
    agent = server.agent()
    agent.name, agent.key = name, known or AgentKey.generate()
    return agent.token()


def test_a_refused_name_is_seen_counted_dismissed_and_adopted(server, tmp_path):
    answers = [ghost(server, "ghost") for _ in range(3)]
    one = eventually(lambda: names(server)["ghost"], lambda found: found["count"] == 3)
    assert (one["kind"], one["source"]) == ("client", "/oauth/token") and one["first_at"] <= one["last_at"]
    known = ghost(server, "bot")
    assert {answer.status_code for answer in (*answers, known)} == {401}
    assert len({answer.text for answer in (*answers, known)}) == 1, "whether a name is registered is not told"
    time.sleep(2.2)
    assert "bot" not in names(server), "it is registered"
    done = server.cli("--json", "adopt", one["id"], "--into", str(tmp_path / "cat"), "--owner", "olga")
    assert done.returncode == 0, done.stderr
    files = {p.relative_to(tmp_path / "cat").as_posix(): p.read_text() for p in (tmp_path / "cat").rglob("*.toml")}
    assert parse(files).agents["ghost"].attestations[0].method == "join_token"
    assert server.cli("shadow", "dismiss", one["id"], "--note", "an old script").returncode == 0
    assert "ghost" not in names(server) and names(server, state="all")["ghost"]["note"] == "an old script"
    assert server.cli("shadow", "list").stdout.count("ghost") == 0
    told = eventually(lambda: server.cli("log", "show", "ShadowDismissed").stdout, bool)
    assert one["id"] in told
    assert server.cli("shadow", "dismiss", "shw-0000000000000000", "--note", "x").returncode == 6


def test_the_console_shows_it_as_text_and_to_readers_alone(server):
    name = "<script>alert(1)</script>\u202e\x1b]0;x\x07"
    ghost(server, name)
    one = eventually(lambda: [found for found in names(server).values() if "script" in found["name"]], bool)[0]
    assert one["name"].isprintable()
    page = server.http("operator").get("/console/agents", headers={"Accept": "text/html"}).text
    assert one["id"] in page and "<script>alert(1)" not in page and "&lt;script&gt;alert(1)" in page
    seen = {who: server.http(who).get("/console/agents.json").json()["shadows"] for who in ("operator", "anna", "dana")}
    assert one["id"] in {found["id"] for found in seen["anna"]} and seen["operator"] and not seen["dana"]


def test_a_point_says_what_it_saw_and_nobody_else_may(server):
    body = {"source": "notes", "tools": ["notes.unreviewed", "list"], "callers": ["192.0.2.7"]}
    assert [server.http(who).post("/v1/shadows", json=body).status_code for who in ("dana", "anna", "operator")] == [
        403
    ] * 3
    assert server.http("gate").post("/v1/shadows", json=body).status_code == 204
    found = eventually(lambda: names(server), lambda all_: "notes.unreviewed" in all_)
    assert found["notes.unreviewed"]["kind"] == "tool" and found["192.0.2.7"]["kind"] == "caller"
    assert "list" not in found, "the catalogue has it"
    assert server.http("dana").get("/v1/shadows").status_code == 403
    for bad in (
        {"source": "x", "tools": ["y"] * 201},
        {"source": "x", "tools": ["y" * 201]},
        {"source": "", "tools": []},
    ):
        assert server.http("gate").post("/v1/shadows", json=bad).status_code == 400
    assert 'remit_shadows{kind="tool"}' in server.http("operator").get("/metrics").text


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        b"client_assertion=" + b"A" * 60_000,
        b"client_assertion=a.b.c",
        b"client_id=%1b%5D0%3Bowned%07%0a%e2%80%ae",
        b"client_assertion=e30.W10.AA",
        b"client_assertion=e30.%5B.AA",
        b"client_assertion=e30.eyJpc3MiOjF9.AA",
        b"x=" * 50,
        b"",
    ],
)
def test_whatever_a_stranger_sends_is_bounded_and_plain(body):
    one = shadows._claimed("/oauth/token", body)
    for shadow in counted([one] if one else [], 1).values():
        assert shadow.name.isprintable() and len(shadow.name) <= LONGEST
    assert shadows._claimed("/v1/attest", body) is None


def waiting(store, catalogue=None, lost=None):
    async def in_force():
        return catalogue or Catalogue()

    said = lost if lost is not None else {}
    return shadows.Waiting(store, in_force, lambda: 7, lambda why, n: said.update({why: said.get(why, 0) + n}))


async def settled(one: shadows.Waiting) -> None:
    await one._writing


@runs
async def test_a_flood_costs_one_write_a_second_and_hides_nothing_that_was_proved(monkeypatch):
    monkeypatch.setattr(shadows, "EVERY", 0.01)
    store, lost = MemoryStore(), {}
    written = []
    real = store.shadowed
    store.shadowed = lambda found: written.append(len(found)) or real(found)
    one = waiting(store, lost=lost)
    one.saw(Sighting(ShadowKind.SUBJECT, "sub-1", "github"))
    for n in range(100_000):
        one.refused("/oauth/token", f"client_id=made-up-{n}".encode(), BadToken("no"))
    await settled(one)
    assert written == [shadows.UNPROVED + 1] and lost["waiting"] == 100_000 - shadows.UNPROVED
    assert (await store.shadows())[0].kind is ShadowKind.SUBJECT or len(await store.shadows()) == shadows.UNPROVED + 1
    for n in range(10):
        for m in range(shadows.UNPROVED):
            one.refused("/oauth/token", f"client_id=again-{n}-{m}".encode(), BadToken("no"))
        await settled(one)
    kept = await store.shadows()
    assert len(kept) == MOST[ShadowKind.CLIENT] + 1 and "sub-1" in {shadow.name for shadow in kept}
    assert lost["evicted"] == 11 * shadows.UNPROVED - MOST[ShadowKind.CLIENT]


@runs
async def test_a_store_that_fails_loses_sightings_and_nothing_else(monkeypatch):
    monkeypatch.setattr(shadows, "EVERY", 0.01)
    store, lost = MemoryStore(), {}

    async def broken(found):
        raise StoreUnavailable("gone")

    kept, store.shadowed = store.shadowed, broken
    one = waiting(store, lost=lost)
    one.saw(Sighting(ShadowKind.TOOL, "a", "b"))
    await settled(one)
    assert lost["waiting"] == 1 and not await store.shadows()
    store.shadowed = kept
    one.saw(Sighting(ShadowKind.TOOL, "a", "b"))
    await settled(one)
    assert len(await store.shadows()) == 1


@runs
async def test_a_refusal_does_the_same_whoever_it_is_about(monkeypatch):
    """It asks nothing and looks nothing up: all of that is after it, in the background."""
    monkeypatch.setattr(shadows, "EVERY", 0.01)
    asked = []

    async def in_force():
        asked.append(1)
        return Catalogue()

    one = shadows.Waiting(MemoryStore(), in_force, lambda: 7, lambda *_: None)
    for body in (b"client_id=known", b"client_id=unknown", b"\xff"):
        one.refused("/oauth/token", body, BadToken("no"))
    assert not asked and len(one._bodies) == 3
    await settled(one)


def test_what_is_registered_is_no_shadow():
    catalogue = parse({**CATALOGUE, "remit.toml": CATALOGUE["remit.toml"] + '[trust_domains."other.example"]\nbundle_url = "https://other.example/b"\nprofile = "https_web"\n',
                       "agents/far.toml": 'owner = "olga"\n[[attestations]]\nmethod = "spiffe"\nspiffe_id = "spiffe://other.example/far"\n'})  # fmt: skip
    for kind, name, known in (
        (ShadowKind.CLIENT, "bot", True), (ShadowKind.CLIENT, "list", False), (ShadowKind.TOOL, "list", True),
        (ShadowKind.TOOL, "bot", False), (ShadowKind.WORKLOAD, "spiffe://other.example/far", True),
        (ShadowKind.WORKLOAD, "spiffe://other.example/near", False), (ShadowKind.SUBJECT, "bot", False), (ShadowKind.CALLER, "bot", False),
    ):  # fmt: skip
        assert registered(Shadow("x", kind, name, "", 0, 0, 1), catalogue) is known, (kind, name)
