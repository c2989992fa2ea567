"""What was seen and nobody registered: kept within bounds, told to operators alone, and it makes no refusal different."""

from __future__ import annotations

import asyncio
import functools
import secrets
import threading
import time

import httpx
import pytest

from remit.domain.catalogue import Catalogue
from remit.domain.errors import BadToken, StoreUnavailable
from remit.domain.shadow import LONGEST, MOST, ShadowKind, Sighting, counted
from remit.formats.catalogue import parse
from remit.store.memory import MemoryStore
from remit.web import shadows
from remit_client import AgentKey
from tests.server import CATALOGUE, eventually, furnished, process
from tests.test_oidc_issuer import LocalIssuer
from tests.verbs.test_other_verbs import OIDC_AGENT


@pytest.fixture(scope="module")
def issuer():
    with LocalIssuer() as local:
        yield local


@pytest.fixture(scope="module")
def server(tmp_path_factory, issuer):
    files = {**CATALOGUE, "agents/ci.toml": OIDC_AGENT}
    where = f'issuer = "{issuer.url}"\naudience = "https://remit.test"\nallow_private_network = true\n'
    files["remit.toml"] += f"[federations.ci]\n{where}"
    with process(tmp_path_factory.mktemp("shadows") / "data") as running:
        yield furnished(running, files)


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
    ghost(server, "later")
    assert "bot" not in eventually(lambda: names(server), lambda found: "later" in found), "it is registered"
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


def test_what_a_federation_proves_and_no_agent_is(server, issuer, tmp_path):
    def prove(subject, **claims):
        token = issuer.token(time.time_ns() // 1_000_000, sub=subject, **claims)
        proof = AgentKey.generate().proof("POST", f"{server.url}/v1/attest")
        return server.http().post("/v1/attest", json={"oidc_token": token}, headers={"DPoP": proof})

    assert prove("repo:acme/app:1", ref="refs/heads/main").status_code == 201
    refused = [prove("repo:acme/app:1", ref="refs/heads/branch"), prove("repo:acme/other:1"), prove("x" * 1000)]
    assert len({(answer.status_code, answer.text) for answer in refused}) == 1 and refused[0].status_code == 401
    found = eventually(lambda: names(server), lambda all_: "x" * LONGEST in all_)
    one = found["repo:acme/other:1"]
    assert (one["kind"], one["source"], one["reporter"], one["count"]) == ("subject", "ci", "ci", 1)
    words = ["--into", str(tmp_path / "cat"), "--owner", "olga"]
    done = server.cli("--json", "adopt", one["id"], *words)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "cat/agents/other-1.toml").read_text()
    assert 'federation = "ci"' in text and "# Its sub was: repo:acme/other:1" in text
    cut = server.cli("adopt", found["x" * LONGEST]["id"], *words)
    assert cut.returncode == 1 and "too long" in cut.stderr


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
        b"client_assertion=e30.eyJpc3MiOiJcdWQ4MDB4In0.AA",  # a lone surrogate
        b"client_assertion=e30." + b"W1tb" * 3000 + b".AA",  # nested
        b"client_id=" + b"n" * 15_000,
        b"client_id=%ed%a0%80",
        b"x=" * 50,
        b"",
    ],
)
def test_whatever_a_stranger_sends_is_bounded_and_plain(body):
    one = shadows.claimed(body)
    for shadow in counted([(one, 1)] if one else [], 1):
        assert shadow.name.isprintable() and len(shadow.name) <= LONGEST


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
    one.saw(Sighting(ShadowKind.SUBJECT, "sub-1", "github", "github"))
    for n in range(50_000):
        one.refused("/oauth/token", f"client_id=made-up-{n}".encode(), BadToken("no"))
        one.refused("/v1/attest", b"client_id=elsewhere", BadToken("no"))
    one.refused("/oauth/token", b"client_id=" + b"x" * 60_000, BadToken("no"))
    await settled(one)
    assert written == [shadows.UNPROVED + 1] and lost["waiting"] == 50_000 - shadows.UNPROVED
    for n in range(10):
        for m in range(shadows.UNPROVED):
            one.refused("/oauth/token", f"client_id=again-{n}-{m}".encode(), BadToken("no"))
        await settled(one)
    kept = await store.shadows()
    assert len(kept) == MOST[ShadowKind.CLIENT] + 1 and "sub-1" in {shadow.name for shadow in kept}
    assert lost["evicted"] == 11 * shadows.UNPROVED - MOST[ShadowKind.CLIENT]


@runs
async def test_what_one_reporter_says_too_much_of_takes_no_place_of_another(monkeypatch):
    monkeypatch.setattr(shadows, "EVERY", 0.01)
    store, lost = MemoryStore(), {}
    one = waiting(store, lost=lost)
    for n in range(3 * shadows.REPORTED):
        one.saw(Sighting(ShadowKind.TOOL, f"made-up-{n}", "files", "enforcer:bad"))
    for _ in range(5):
        one.saw(Sighting(ShadowKind.TOOL, "files.read", "files", "enforcer:good"))
        one.saw(Sighting(ShadowKind.TOOL, "made-up-0", "files", "enforcer:bad"))
    one.saw(Sighting(ShadowKind.SUBJECT, "", "ci", "ci"))
    await settled(one)
    found = {shadow.name: shadow for shadow in await store.shadows()}
    assert len(found) == shadows.REPORTED + 1 and lost["waiting"] == 2 * shadows.REPORTED
    assert found["files.read"].count == 5 and found["made-up-0"].count == 6 and "" not in found


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


def test_a_flood_of_strangers_slows_no_agent_and_fills_nothing(server):
    """Ten names at a time, from many connections, while an agent gets tokens."""
    agent, stop = server.agent(), threading.Event()

    def flood(n):
        with httpx.Client(base_url=server.url, trust_env=False) as http:
            while not stop.is_set():
                data = {"grant_type": "client_credentials", "client_id": f"flood-{n}-{secrets.token_hex(8)}"}
                assert http.post("/oauth/token", data=data).status_code == 401
                sent[n] += 1

    sent = [0] * 4
    floods = [threading.Thread(target=flood, args=(n,)) for n in range(4)]
    for one in floods:
        one.start()
    try:
        answers = [agent.token() for _ in range(10)]
        time.sleep(1.5)
    finally:
        stop.set()
        for one in floods:
            one.join()
    assert {answer.status_code for answer in answers} == {200}
    found = eventually(lambda: names(server), lambda all_: any(name.startswith("flood-") for name in all_))
    flooded = [name for name in found if name.startswith("flood-")]
    assert len(flooded) <= MOST[ShadowKind.CLIENT] < sum(sent), "more were made up than are kept"
    assert not server.http("operator").get("/v1/log/search", params={"q": flooded[0]}).json()["items"]
    assert "remit_shadows_lost_total" in server.http("operator").get("/metrics").text


def test_pages_of_it_are_whole_and_in_order(server):
    body = {"source": "paged", "tools": [f"paged.{n}" for n in range(30)]}
    assert server.http("gate").post("/v1/shadows", json=body).status_code == 204
    eventually(lambda: names(server, limit="500"), lambda found: "paged.29" in found)
    http, seen, after = server.http("operator"), [], ""
    while True:
        page = http.get("/v1/shadows", params={"limit": "7", **({"after": after} if after else {})}).json()
        seen += page["items"]
        if not (after := page["next"]):
            break
    assert [one["id"] for one in seen] == [one["id"] for one in http.get("/v1/shadows?limit=500").json()["items"]]
    assert {one["reporter"] for one in seen if one["source"] == "paged"} == {"enforcer:gate"}
    for bad in ("x", "12x a", "-1 a", "9" * 30):
        assert http.get("/v1/shadows", params={"after": bad}).status_code == 400
