"""The transmitter of Shared Signals at a real server: streams, pushes that fail, polls, and who is told what."""

from __future__ import annotations

import threading
import time

import httpx
import jwt
import pytest

from remit.domain.signal import CAEP, SSF
from tests.receiver import Inbox, verified
from tests.server import CATALOGUE, eventually, furnished, process
from tests.web.test_flow import ACCESS, EXCHANGE

REVOKED, CHANGED = CAEP + "session-revoked", CAEP + "credential-change"
RS = "https://rs.example"
PUSH, POLL = "urn:ietf:rfc:8935", "urn:ietf:rfc:8936"
RECEIVERS = """
[receivers.rs]
audience = "https://rs.example"
audiences = ["https://rs.example"]
allow_private_network = true
[receivers.other]
audience = "https://other.example"
audiences = ["https://other.example"]
[receivers.siem]
audience = "siem"
everything = true
allow_private_network = true
[receivers.bots]
audience = "bots"
agents = ["bot"]
"""
FILES = {**CATALOGUE, "remit.toml": CATALOGUE["remit.toml"] + RECEIVERS}
NAMES = ("rs", "other", "siem", "bots")


def set_up(running):
    server = furnished(running, FILES)
    for name in NAMES:
        made = server.http("operator").post("/v1/keys", json={"kind": "receiver", "name": name})
        server.keys[name] = made.json()["key"]
    return server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with process(tmp_path_factory.mktemp("ssf") / "data") as running:
        yield set_up(running)


@pytest.fixture
def inbox():
    with Inbox() as running:
        yield running


def delivery(inbox, header="Bearer canary-receiver-key"):
    return {"method": PUSH, "endpoint_url": f"{inbox.url}/events", "authorization_header": header}


@pytest.fixture
def stream(server):
    """Makes streams, and deletes them afterwards."""
    made = []

    def make(name, **said):
        asked = {"events_requested": [REVOKED, CHANGED, "https://example.com/unknown"], **said}
        answer = server.http(name).post("/ssf/streams", json=asked)
        assert answer.status_code == 201, answer.text
        made.append((name, answer.json()["stream_id"]))
        return answer.json()

    yield make
    for name, stream_id in made:
        server.http(name).delete("/ssf/streams", params={"stream_id": stream_id})


def held(server, agent=None):
    """A bot's task and a token of it for the resource server: (agent, task, its token, the other)."""
    agent = agent or server.agent()
    task, token = agent.task()
    form = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": ACCESS, "audience": RS}
    return agent, task, token, agent.token(**form).json()["access_token"]


def end(held, reason="done"):
    agent, task, token, _ = held
    assert agent.send("POST", f"/v1/tasks/{task}/end", token, {"reason": reason}).status_code == 200


def polled(server, name, made, **asked):
    answer = server.http(name).post(f"/ssf/poll/{made['stream_id']}", json={"returnImmediately": True, **asked})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_receiver_is_told_what_ended_and_which_tokens(server, inbox, stream):
    made = stream("rs", delivery=delivery(inbox))
    assert made["events_delivered"] == [REVOKED, CHANGED] and made["aud"] == RS and made["iss"] == server.url
    assert "canary" not in str(made) and made["delivery"] == {"method": PUSH, "endpoint_url": f"{inbox.url}/events"}
    one = held(server)
    ended = time.time()
    end(one, "canary-reason: found out about somebody")
    eventually(lambda: len(inbox.taken), lambda count: count == 2)
    first, second = (verified(server.url, text, RS) for text in inbox.taken)
    assert first["sub_id"] == {
        "format": "complex",
        "session": {"format": "opaque", "id": one[1]},
        "user": {"format": "iss_sub", "iss": server.url, "sub": "agent:bot"},
        "application": {"format": "opaque", "id": "bot"},
    }
    said = first["events"][REVOKED]
    assert said["initiating_entity"] == "user" and abs(said["event_timestamp"] - ended) < 5
    assert said["reason_admin"] == {"en": "The task was closed."}
    jti = jwt.decode(one[3], options={"verify_signature": False})["jti"]
    assert second["sub_id"] == {"format": "jwt_id", "iss": server.url, "jti": jti} and REVOKED in second["events"]
    assert "canary-reason" not in str((first, second))
    assert first["jti"] != second["jti"] and first["txn"] != second["txn"]
    assert {h["authorization"] for h in inbox.headers} == {"Bearer canary-receiver-key"}
    assert {h["content-type"] for h in inbox.headers} == {"application/secevent+jwt"}
    eventually(
        lambda: server.http("operator").get("/v1/streams/rs").json(),
        lambda row: row["position"] and not row["attempts"],
    )
    entries = server.http("operator").get("/v1/log/entries?limit=1000").text
    assert "canary-receiver-key" not in entries
    assert "canary-receiver-key" not in server.data.joinpath("remit.db").read_bytes().decode("latin-1")


def test_nobody_is_told_what_is_not_theirs(server, inbox, stream):
    streams = {name: stream(name) for name in NAMES}
    end(held(server), "because")
    other = server.agent("lead")
    task, token = other.task(type="whole", max_calls=2)
    other.send("POST", f"/v1/tasks/{task}/end", token, {"reason": "canary"})

    def told(name):
        sets = polled(server, name, streams[name])["sets"].values()
        return [jwt.decode(text, options={"verify_signature": False}) for text in sets]

    siem = eventually(lambda: told("siem"), lambda found: len(found) >= 3)
    assert {c["sub_id"].get("application", {}).get("id", "") for c in siem} == {"bot", "lead", ""}
    assert [c["events"][REVOKED]["reason_admin"]["en"] for c in siem if "lead" in str(c["sub_id"])] == [
        "closed: canary"
    ]
    assert told("other") == []  # nothing of it was for them, and they are not told that there is anything
    assert {str(c["sub_id"].get("application")) for c in told("bots")} == {"None", "{'format': 'opaque', 'id': 'bot'}"}
    assert len(told("rs")) == 2 and "lead" not in str(told("rs"))
    assert {c["aud"] for c in told("rs")} == {RS} and {c["aud"] for c in siem} == {"siem"}
    mine, theirs = streams["rs"]["stream_id"], streams["siem"]["stream_id"]
    for who, what in (("rs", theirs), ("rs", "nothing"), ("siem", mine)):
        http = server.http(who)
        absent = http.get("/ssf/status", params={"stream_id": "x"})
        for answer in (
            http.get("/ssf/streams", params={"stream_id": what}),
            http.get("/ssf/status", params={"stream_id": what}),
            http.delete("/ssf/streams", params={"stream_id": what}),
            http.patch("/ssf/streams", json={"stream_id": what, "description": "x"}),
            http.post("/ssf/verify", json={"stream_id": what}),
            http.post(f"/ssf/poll/{what}", json={}),
        ):
            assert answer.status_code == 404 and answer.content == absent.content
    assert server.http("dana").get("/ssf/streams").status_code == 403
    assert server.http("rs").get("/v1/tasks").status_code == 403
    assert server.http().get("/ssf/streams").status_code == 401


def test_what_was_not_taken_is_sent_again_in_order(server, inbox, stream):
    inbox.answers = [500, (400, {"err": "authentication_failed"}), 302]
    stream("rs", delivery=delivery(inbox))
    two = [held(server), held(server)]
    for one in two:
        end(one)
    failing = eventually(lambda: server.http("operator").get("/v1/streams/rs").json(), lambda row: row["attempts"])
    assert failing["state"] == "enabled" and "status" in failing["error"] and failing["behind"] > 0
    eventually(lambda: len(inbox.taken), lambda count: count == 4, seconds=20)
    ids = [verified(server.url, text, RS)["jti"] for text in inbox.taken]
    assert len({*ids}) == 4
    sessions = [verified(server.url, text, RS)["sub_id"].get("session", {}).get("id") for text in inbox.taken]
    assert [one for one in sessions if one] == [one[1] for one in two]
    assert len({jti_of(text) for text in inbox.came[:4]}) == 1
    assert len(inbox.came) == 7 and not inbox.answers  # the redirect was not followed
    done = eventually(lambda: server.http("anna").get("/v1/streams/rs").json(), lambda row: not row["attempts"])
    assert done["error"] == "" and done["failing"] == 0


def jti_of(text):
    return jwt.decode(text, options={"verify_signature": False})["jti"]


def test_an_event_that_a_receiver_cannot_use_stops_nothing(server, inbox, stream):
    inbox.answers = [(400, {"err": "invalid_request", "description": "what is this"})]
    stream("rs", delivery=delivery(inbox))
    end(held(server))
    eventually(lambda: len(inbox.came), lambda count: count == 2)
    assert len(inbox.taken) == 1
    eventually(lambda: server.http("anna").get("/v1/log/search?q=SignalReturned").json()["items"], bool)


def test_polled_events_stay_until_they_are_acknowledged(server, stream):
    made = stream("siem")
    for _ in range(3):
        end(held(server))
    everything = eventually(lambda: polled(server, "siem", made), lambda found: len(found["sets"]) == 6)
    assert not everything["moreAvailable"]
    assert polled(server, "siem", made)["sets"].keys() == everything["sets"].keys()
    ids = [*everything["sets"]]
    assert {*ids}.isdisjoint(str(n) for n in range(1000))  # nothing tells how much else there is
    assert [verified(server.url, text, "siem")["jti"] for text in everything["sets"].values()] == ids
    some = polled(server, "siem", made, maxEvents=2)
    assert [*some["sets"]] == ids[:2] and some["moreAvailable"]
    assert polled(server, "siem", made, maxEvents=0, ack=[ids[1]])["sets"] == {}
    assert [*polled(server, "siem", made)["sets"]] == [ids[0], *ids[2:]]
    foreign = ["0" * 32, made["stream_id"], "-1", "x", ids[1]]
    assert [*polled(server, "siem", made, ack=foreign)["sets"]] == [ids[0], *ids[2:]]
    wrong = {ids[2]: {"err": "invalid_request", "description": "odd"}}
    assert [*polled(server, "siem", made, ack=[ids[0]], setErrs=wrong)["sets"]] == ids[3:]
    assert polled(server, "siem", made, ack=ids)["sets"] == {}
    began = time.monotonic()
    one = held(server)
    threading.Timer(0.5, end, [one]).start()
    waited = server.http("siem").post(f"/ssf/poll/{made['stream_id']}", json={"maxEvents": 1})
    assert len(waited.json()["sets"]) == 1 and 0.4 < time.monotonic() - began < 10


def different(inbox):
    """How many events it has; whoever is slow may be given one twice."""
    return len({jwt.decode(text, options={"verify_signature": False})["jti"] for text in inbox.taken})


def test_a_stream_is_changed_replaced_paused_and_deleted(server, inbox, stream):
    http = server.http("rs")
    made = stream("rs", description="first")
    assert http.post("/ssf/streams", json={}).status_code == 409
    assert http.get("/ssf/streams").json() == [made] and made["delivery"]["method"] == POLL
    stream_id = made["stream_id"]
    changed = http.patch("/ssf/streams", json={"stream_id": stream_id, "description": "second", "aud": RS}).json()
    assert changed == {**made, "description": "second"}
    assert http.patch("/ssf/streams", json=changed).json() == changed  # all of it said as it is
    for wrong in ({"aud": "x"}, {"iss": "x"}, {"events_delivered": []}, {"inactivity_timeout": 1}, {"colour": 1}):
        assert http.patch("/ssf/streams", json={"stream_id": stream_id, **wrong}).status_code == 400
    put = http.put(
        "/ssf/streams", json={"stream_id": stream_id, "delivery": delivery(inbox), "events_requested": [REVOKED]}
    )
    assert put.status_code == 200 and put.json()["description"] == "" and put.json()["events_delivered"] == [REVOKED]
    assert http.post(f"/ssf/poll/{stream_id}", json={}).status_code == 409
    status = {"stream_id": stream_id, "status": "paused", "reason": "repairs"}
    assert http.post("/ssf/status", json=status).json() == status == http.get("/ssf/status", params=status).json()
    end(held(server))
    time.sleep(0.5)
    assert not inbox.came
    assert http.post("/ssf/status", json={"stream_id": stream_id, "status": "enabled"}).json()["status"] == "enabled"
    eventually(lambda: different(inbox), lambda count: count == 2)  # what happened meanwhile was kept
    http.post("/ssf/status", json={"stream_id": stream_id, "status": "disabled"})
    end(held(server))
    time.sleep(0.5)
    http.post("/ssf/status", json={"stream_id": stream_id, "status": "enabled"})
    end(held(server))
    eventually(lambda: different(inbox), lambda count: count == 4)  # and what happened while it was disabled was not
    assert http.post("/ssf/status", json={"stream_id": stream_id, "status": "gone"}).status_code == 400
    deleted = http.delete("/ssf/streams", params={"stream_id": stream_id})
    assert deleted.status_code == 204 and http.get("/ssf/status", params=status).status_code == 404
    assert http.get("/ssf/streams").json() == [] and stream("rs")["stream_id"] != stream_id


def test_verification_and_subjects(server, inbox, stream):
    http = server.http("rs")
    stream_id = stream("rs", delivery=delivery(inbox))["stream_id"]
    assert http.post("/ssf/verify", json={"stream_id": stream_id, "state": "VGhpcw"}).status_code == 204
    assert http.post("/ssf/verify", json={"stream_id": stream_id}).status_code == 429
    eventually(lambda: len(inbox.taken), lambda count: count == 1)
    said = verified(server.url, inbox.taken[0], RS)
    assert said["events"] == {SSF + "verification": {"state": "VGhpcw"}}
    assert said["sub_id"] == {"format": "opaque", "id": stream_id}
    one, two = held(server), held(server)
    task = {"format": "complex", "session": {"format": "opaque", "id": one[1]}}
    asked = {"stream_id": stream_id, "subject": task}
    assert http.post("/ssf/subjects:remove", json=asked).status_code == 204
    end(one)
    end(two)
    eventually(lambda: len(inbox.taken), lambda count: count == 4)  # two tokens, one task
    assert one[1] not in str([verified(server.url, text, RS)["sub_id"].get("session") for text in inbox.taken])
    added = http.post("/ssf/subjects:add", json=asked)
    assert added.status_code == 200 and added.content == b""
    assert server.http("anna").get("/v1/streams/rs").json()["unwanted"] == 0
    for subject in ({}, {"format": 7}, {"format": "x", "id": "y" * 3000}):
        assert http.post("/ssf/subjects:add", json={"stream_id": stream_id, "subject": subject}).status_code == 400


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/x",
        "file:///etc/passwd",
        "https://user@rs.example/x",
        "gopher://x/y",
        "https://rs.example/x#y",
        "javascript:alert(1)",
        "",
    ],
)
def test_where_events_are_never_pushed_to(server, url):
    said = {"delivery": {"method": PUSH, "endpoint_url": url}}
    assert server.http("rs").post("/ssf/streams", json=said).status_code == 400


def test_an_address_inside_is_never_connected_to(server, inbox, stream):
    """A name may lead anywhere when it is looked up: `other` may not reach private networks."""
    said = {"delivery": {"method": PUSH, "endpoint_url": inbox.url}}
    assert server.http("other").post("/ssf/streams", json=said).status_code == 400
    port = inbox.url.rpartition(":")[2]
    made = stream("other", delivery={"method": PUSH, "endpoint_url": f"https://localhost:{port}/x"})
    server.http("other").post("/ssf/verify", json={"stream_id": made["stream_id"]})
    row = eventually(lambda: server.http("anna").get("/v1/streams/other").json(), lambda found: found["attempts"])
    assert row["error"] == "a private or special address" and not inbox.came
    bad = {"method": PUSH, "endpoint_url": "https://rs.example/x", "authorization_header": "a\r\nb: c"}
    assert server.http("siem").post("/ssf/streams", json={"delivery": bad}).status_code == 400


@pytest.mark.soak
def test_nothing_is_lost_in_a_crash(tmp_path):
    with Inbox() as inbox:
        inbox.answers = [503] * 100
        with process(tmp_path / "data") as running:
            server = set_up(running)
            server.http("rs").post("/ssf/streams", json={"delivery": delivery(inbox), "events_requested": [REVOKED]})
            end(held(server))
            eventually(lambda: len(inbox.came), bool)
            running.child.kill()
            running.child.wait()
        inbox.answers = []
        with process(tmp_path / "data"):
            eventually(lambda: len(inbox.taken), lambda count: count == 2, seconds=30)
            assert len({jti_of(text) for text in inbox.taken}) == 2


def test_who_is_no_receiver_gets_no_key(server):
    answer = server.http("operator").post("/v1/keys", json={"kind": "receiver", "name": "nobody"})
    assert answer.status_code == 404
    assert httpx.get(f"{server.url}/.well-known/ssf-jwks.json").json()["keys"][0]["alg"] == "RS256"
