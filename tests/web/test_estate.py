"""The centre's side of edges, at a real server."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from hashlib import sha256

import pytest

from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.decision import Permit
from remit.web.frames import told
from tests.edge_by_hand import EdgeClient, EdgeWorld
from tests.server import CATALOGUE, eventually, furnished, process
from tests.web.test_key_rotation import replicas
from tests.world import world

PART_ONLY = '[edges.part-only]\nurl = "https://other.example"\nowner = "olga"\npurposes = ["part"]\n'
FILES = {**CATALOGUE, "remit.toml": CATALOGUE["remit.toml"] + PART_ONLY}
LIST = {"tool": "list", "arguments": {"customer": "acme"}}


@pytest.fixture(scope="module")
def centre(tmp_path_factory):
    with process(tmp_path_factory.mktemp("centre") / "data") as running:
        yield furnished(running, FILES)


def decided(edge, given, memory, *, read=False):
    """What an edge's own log has after one call, and one result."""

    async def main():
        inner = await world(files=FILES, now=given.task.opened_at + 1)
        there = await EdgeWorld.beside(inner.env, FILES, seat=edge.seat)
        await there.take(given, memory)
        agent = Call(Caller(CallerKind.AGENT, "bot", jkt=given.task.jkt), given.task.opened_at + 1)
        assert isinstance(await there.decide(agent, given.task.id), Permit)
        if read:
            await there.observe(agent, given.task.id, {"iban": "DE89370400440532013000"})
        return await there.log()

    return asyncio.run(main())


def test_an_edge_takes_a_task_decides_reports_and_gives_it_back(centre):
    edge = EdgeClient(centre)
    began = edge.snapshot()
    assert began.body["issuer"] == centre.url and began.size > 0
    files = edge.http.get(f"/v1/estate/catalogues/{began.body['catalogue']['digest']}").json()["files"]
    assert files == FILES
    assert edge.http.get("/v1/estate/catalogues/sha256:0").status_code == 404
    bot = centre.agent()
    task, token = bot.task()
    given, memory = edge.entrust(task)
    assert given.task.home == "west" and len(memory) == 32
    log = decided(edge, given, memory, read=True)
    answer = edge.report(log)
    assert answer.json() == {"received": len(log)}, answer.text
    assert edge.beat(began.size)[1] == len(log)
    assert centre.http("operator").get(f"/v1/tasks/{task}").json()["calls"] == 1
    for _ in range(2):
        edge.ask(f"/v1/estate/tasks/{task}/return", seat=edge.seat, through=len(log))
    assert bot.call(task, token)["decision"] == "permit"
    passed_on = edge.http.post(f"/v1/tasks/{task}/calls", json=LIST)
    assert passed_on.json()["decision"] == "permit"
    assert edge.http.post(f"/v1/tasks/{task}/observations", json={"tool": "list", "content": "x"}).status_code == 200


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


def test_the_stream_tells_of_an_end_as_it_happens(centre):
    edge = EdgeClient(centre)
    edge.snapshot()
    bot = centre.agent()
    task, _ = bot.task()
    edge.entrust(task)
    size = edge.beat()[0].size
    heard: list[tuple[float, str]] = []
    began = threading.Event()

    def listen():
        asks = {"params": {"since": size}, "headers": {"Accept": "text/event-stream"}, "timeout": 5}
        with edge.server.http("west").stream("GET", "/v1/estate/frames", **asks) as answer:
            for line in answer.iter_lines():
                began.set()
                heard.append((time.monotonic(), line))
                if task in line:
                    return

    thread = threading.Thread(target=listen)
    thread.start()
    assert began.wait(5)
    centre.http("operator").post(f"/v1/tasks/{task}/end", json={"reason": "enough"})
    ended = time.monotonic()
    thread.join(5)
    told = json.loads(heard[-1][1].removeprefix("data: "))
    assert json.loads(told["body"])["ended"] == [[task, "revoked"]] and heard[-1][0] - ended < 2
    assert any(line.startswith("id: ") for _, line in heard)
    for bad in ("-1", "x", str(2**60)):
        asked = {"params": {"since": "0"}, "headers": {"Accept": "text/event-stream", "Last-Event-ID": bad}}
        assert edge.http.get("/v1/estate/frames", **asked).status_code == 400


def test_frames_are_whole_from_any_place_on(centre):
    edge = EdgeClient(centre)
    size = edge.beat_size()
    at = 0
    for frame in edge.frames(0):
        assert frame.since == at and frame.size > at
        at = frame.size
    assert at >= size and edge.frames(2**50) == []


def test_a_call_at_the_centre_brings_the_task_home(centre):
    edge = EdgeClient(centre)
    edge.snapshot()
    bot = centre.agent()
    task, token = bot.task()
    log = decided(edge, *edge.entrust(task))
    done: list[object] = []

    def gives_back():
        size = 0
        while True:
            beat, _ = edge.beat(size)
            size = beat.size
            if [task, "west"] in beat.body.get("recalled", []):
                break
        edge.report(log)
        done.append(edge.ask(f"/v1/estate/tasks/{task}/return", seat=edge.seat, through=len(log)))

    thread = threading.Thread(target=gives_back)
    thread.start()
    assert bot.call(task, token)["decision"] == "permit"
    thread.join(5)
    assert done and centre.http("operator").get(f"/v1/tasks/{task}").json()["calls"] == 2


def test_a_task_that_does_not_come_home_is_not_decided(centre):
    edge = EdgeClient(centre)
    edge.snapshot()
    bot = centre.agent()
    task, token = bot.task()
    edge.entrust(task)
    began = time.monotonic()
    answer = bot.send("POST", f"/v1/tasks/{task}/calls", token, LIST)
    assert (answer.status_code, answer.json()["home"]) == (409, "west") and 2.5 < time.monotonic() - began < 8
    assert "try again" in answer.json()["next_step"]
    EdgeClient(centre).snapshot()  # another incarnation: nobody will give this back
    began = time.monotonic()
    for path, body in (
        ("calls", LIST),
        ("observations", {"tool": "list", "content": "x"}),
        ("credentials", {"credential": "rs"}),
        ("delegations", {"agent": "other", "purpose": "part", "goal": "x"}),
    ):
        lost = bot.send("POST", f"/v1/tasks/{task}/{path}", token, body)
        assert lost.status_code == 409 and "propose it again" in lost.json()["next_step"], lost.text
    assert time.monotonic() - began < 2.5


def test_who_is_no_edge_of_the_catalogue_is_nobody(centre):
    operator = centre.http("operator")
    edge = EdgeClient(centre, "part-only")
    edge.snapshot()
    bot = centre.agent()
    task, _ = bot.task()
    asked = {"seat": edge.seat, "nonce": secrets.token_hex(16)}
    assert edge.http.post(f"/v1/estate/tasks/{task}/entrust", json=asked).status_code == 404  # not its purpose
    for path, body in (("calls", LIST), ("observations", {"tool": "list", "content": "x"})):
        assert edge.http.post(f"/v1/tasks/{task}/{path}", json=body).status_code == 404
    for path in ("/v1/tasks", f"/v1/tasks/{task}", "/v1/log", "/v1/estate", "/metrics"):
        assert edge.http.get(path).status_code == 403
    left = threading.Event()

    def listen():
        asks = {"params": {"since": edge.beat()[0].size}, "headers": {"Accept": "text/event-stream"}, "timeout": 5}
        with centre.http("part-only").stream("GET", "/v1/estate/frames", **asks) as answer:
            for line in answer.iter_lines():
                began.set()
                heard.append(line)
            left.set()

    heard: list[str] = []
    began = threading.Event()
    threading.Thread(target=listen, daemon=True).start()
    assert began.wait(5)
    assert operator.post("/v1/catalogue", json={"files": CATALOGUE}).status_code == 200
    try:
        assert left.wait(5) and any("catalogue" in line for line in heard)
        assert edge.http.get("/v1/estate/frames").status_code == 401
    finally:
        assert operator.post("/v1/catalogue", json={"files": FILES}).status_code == 200


def test_only_the_key_of_an_enforcement_point_is_told(centre):
    edge = EdgeClient(centre)
    digest = sha256(centre.keys["gate"].encode()).hexdigest()
    row = edge.http.get(f"/v1/estate/keys/{digest}").json()
    assert (row["kind"], row["name"], row["digest"]) == ("enforcer", "gate", digest)
    for other in ("operator", "olga", "west", "anna"):
        digest = sha256(centre.keys[other].encode()).hexdigest()
        assert edge.http.get(f"/v1/estate/keys/{digest}").status_code == 404


def test_what_is_asked_wrongly_is_refused(centre):
    edge = EdgeClient(centre)
    edge.snapshot()
    seen = {"seat": edge.seat, "size": 0, "catalogue": "", "held": 0, "backlog": 0, "release": "test"}
    fresh = {"nonce": secrets.token_hex(16)}
    for nonce in ("", "short", "x" * 129, "é" * 20):
        assert edge.http.post("/v1/estate/beats", json={"nonce": nonce, "seen": seen}).status_code == 400
    for wrong in ({"size": -1}, {"held": 2**60}, {"release": "x" * 65}, {"size": "1"}, {"more": 1}):
        assert edge.http.post("/v1/estate/beats", json={**fresh, "seen": {**seen, **wrong}}).status_code == 400
    lost = edge.http.post("/v1/estate/beats", json={**fresh, "seen": {**seen, "seat": "another-incarnation"}})
    assert (lost.status_code, lost.json()["code"]) == (409, "RMT-5005")
    one = {"index": 0, "leaf": "{}", "bodies": []}
    many = {"seat": edge.seat, "events": [{**one, "index": n} for n in range(257)]}
    assert edge.http.post("/v1/estate/reports", json=many).status_code == 400
    huge = {"seat": edge.seat, "events": [{**one, "leaf": "x" * 2_000_000}]}
    assert edge.http.post("/v1/estate/reports", json=huge).status_code == 413
    surrogate = json.dumps({"seat": edge.seat, "events": [{**one, "leaf": "\ud800"}]})
    asked = edge.http.post("/v1/estate/reports", content=surrogate, headers={"Content-Type": "application/json"})
    assert asked.status_code == 400


def test_the_operator_sees_what_is_wrong_and_forgets_an_edge(centre):
    edge = EdgeClient(centre)
    edge.snapshot()
    bot = centre.agent()
    task, _ = bot.task()
    edge.entrust(task)
    edge.beat(1)
    refused = edge.report([])
    assert refused.json() == {"received": 0}
    refused = edge.http.post(
        "/v1/estate/reports", json={"seat": edge.seat, "events": [{"index": 0, "leaf": "{}", "bodies": []}]}
    )
    assert (refused.status_code, refused.json()["code"]) == (409, "RMT-5006")

    def shown():
        return json.loads(centre.cli("--json", "estate", "show", "west").stdout)

    found = eventually(shown, lambda one: one["seen_at"] and one["seat"] == edge.seat)
    assert found["tasks"] == [task] and found["lag_events"] > 0 and found["lag_ms"] > 0
    assert any("no further than 0" in one for one in found["warnings"])
    listed = centre.cli("estate", "list")
    assert "west" in listed.stdout and "! west: its log is taken in no further" in listed.stderr
    metrics = centre.http("operator").get("/metrics").text
    assert (
        'remit_edge_reports_refused_total{edge="west"} 1.0' in metrics
        and 'remit_edge_tasks{edge="west"} 1.0' in metrics
    )
    gone = centre.cli("estate", "forget", "west", "--reason", "stolen")
    assert gone.returncode == 0 and "tasks ended" in gone.stdout
    assert centre.http("operator").get(f"/v1/tasks/{task}").json()["state"] == "revoked"
    assert edge.http.post("/v1/estate/snapshot", json={"nonce": "n" * 16, "seat": edge.seat}).status_code == 409
    assert centre.cli("estate", "show", "nowhere").returncode == 6
    EdgeClient(centre).snapshot()


def test_a_revision_is_rolled_out_from_a_folder_widened_and_taken_back(centre, tmp_path):
    more = '@id("no-list") forbid (principal, action == Remit::Action::"list", resource);\n'
    for path, text in {**FILES, "policies/default.cedar": FILES["policies/default.cedar"] + more}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    bot = centre.agent()
    assert bot.call(*bot.task())["decision"] == "permit"
    edge = EdgeClient(centre)
    edge.snapshot()
    began = edge.beat()[0]
    first = centre.cli("apply", str(tmp_path), "--edges", "1%")
    assert first.returncode == 0 and "decisions of the last day" in first.stderr, first.stderr
    changes = int(first.stderr.split("It would change ")[1].split()[0])
    assert changes >= 1
    widened = json.loads(centre.cli("--json", "rollout", "widen", "100").stdout)
    assert widened["edges"] == ["part-only", "west"] and widened["of"] == 2
    assert centre.cli("apply", str(tmp_path)).returncode == 1  # one at a time
    beat, _ = edge.beat(began.size)
    head = beat.body["catalogue"]
    assert (head["rollout"], head["share"], head["digest"]) == (widened["rollout"], 100, widened["digest"])
    files = edge.http.get(f"/v1/estate/catalogues/{head['rollout']}").json()["files"]
    assert more in files["policies/default.cedar"]
    assert bot.call(*bot.task())["decision"] == "permit"
    assert "100 % of the edges, 2 of 2" in centre.cli("rollout", "show").stdout
    assert centre.cli("rollout", "back", "--reason", "it denies too much").returncode == 0
    after = edge.beat(beat.size)[0].body["catalogue"]
    assert (after["digest"], after["share"]) == (widened["digest"], 0) and after["number"] > head["number"]
    for wrong in ("0", "101%", "x", "-1", ""):
        assert centre.cli("apply", str(tmp_path), "--edges", wrong).returncode == 2
    assert centre.cli("rollout", "finish").returncode == 1


def test_a_beat_at_one_replica_covers_what_was_acknowledged_at_another(postgres, tmp_path):
    """Whoever sequences: what was committed anywhere before the question is below the length that is answered."""
    with replicas(postgres, tmp_path) as (one, two):
        edge, operator = EdgeClient(two, issuer=one.url), one.http("operator")
        edge.snapshot()
        bot = one.agent()
        applied = edge.beat()[0].size
        for _ in range(12):
            task, _ = bot.task()
            EdgeClient(one, seat=edge.seat).entrust(task)
            operator.post(f"/v1/tasks/{task}/end", json={"reason": "enough"})
            beat, _ = edge.beat(applied)
            assert beat.since == applied and [task, "revoked"] in beat.body["ended"]
            applied = beat.size
        seen = json.loads(one.cli("--json", "estate", "list").stdout.splitlines()[-1])
        assert seen["name"] == "west" and seen["seat"] == edge.seat


def test_of_an_event_edges_are_told_what_they_need_and_no_more():
    def of(kind, *writes, **data):
        leaf = {"v": 1, "type": kind, "data": data, "writes": [[name, "k", n, "0"] for name, n in writes]}
        return [(one.name, one.value) for one in told(7, json.dumps(leaf).encode())]

    assert of("TaskEnded", ("Task", 3), task="tsk_1", how="closed", home="west") == [("ended", ["tsk_1", "closed"])]
    assert of("TaskEnded", ("Task", 3), task="tsk_1", how="closed", home="") == []
    assert of("TaskRecalled", ("Task", 3), task="tsk_1", edge="west") == [("recalled", ["tsk_1", "west"])]
    assert of("Froze", ("Frozen", 2)) == [("frozen", None)]
    assert of("RolloutSet", ("CatalogueHead", 2), ("CatalogueFiles", 1)) == [("catalogue", None)]
    assert of("SigningKeyPromoted", ("KeyTurn", 2), ("SigningKey", 2), ("SigningKey", 3)) == [("keys", None)] * 2
    assert of("AgentProved", ("Identity", 2)) == of("IdentitySuperseded", ("Identity", 4)) == [("identities", "k")]
    assert of("AgentProved", ("Identity", 1)) == of("AccessDecided", ("Task", 2)) == []
