"""What an identity provider says over real HTTP, pushed and polled: acknowledged means done, also after kill -9."""

from __future__ import annotations

import time

import httpx
import jwt
import pytest
from token_status_list import BitArray

from remit.verbs.heed import AHEAD
from tests.receiver import Inbox
from tests.server import CATALOGUE, eventually, furnished, process
from tests.transmitter import BEARER, REVOKED, Transmitter
from tests.web.test_flow import ACCESS, EXCHANGE
from tests.web.test_key_rotation import replicas
from tests.web.test_ssf import RS

MEDIA = {"Content-Type": "application/secevent+jwt"}
AUD, POLLED_AUD = "https://remit.example/signals/idp", "remit"


def files(idp, polled):
    entry = f"""
[signals.idp]
issuer = "{idp.url}"
audience = "{AUD}"
people = {{ dana = "00u1", frank = "00u2" }}
secret = "idp-header"
allow_private_network = true
[signals.polled]
issuer = "{polled.url}"
audience = "{POLLED_AUD}"
poll_url = "{polled.url}/poll"
people = {{ dana = "00u1" }}
secret = "idp-header"
allow_private_network = true
[signals.gone]
issuer = "http://127.0.0.1:9"
audience = "remit"
people = {{ dana = "00u1" }}
allow_private_network = true
"""
    return {**CATALOGUE, "remit.toml": CATALOGUE["remit.toml"] + entry}


@pytest.fixture(scope="module")
def idp():
    with Transmitter() as running:
        yield running


@pytest.fixture(scope="module")
def polled():
    with Transmitter() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory, idp, polled):
    with process(tmp_path_factory.mktemp("signals") / "data") as running:
        yield set_up(running, idp, polled)


def set_up(running, idp, polled):
    found = furnished(running, files(idp, polled))
    assert found.http("operator").put("/v1/secrets/idp-header", json={"value": BEARER}).status_code == 204
    return found


def begun(server, who="dana"):
    """A task of a bot that this person began: its id."""
    return working(server, who)[1]


def working(server, who="dana"):
    """The bot, the task and its token, as soon as this person may begin one after they were signed out."""
    agent = server.agent()
    details = {"type": "pay", "goal": "pay it", "parameters": {"customer": "acme"}}

    def asked():
        answer = server.http(who).post("/v1/subject-tokens", json={"agent": "bot"})
        return agent.token(details, subject_token=answer.json()["subject_token"])

    told = eventually(asked, lambda answer: answer.status_code == 200, AHEAD / 1000 + 5)
    return agent, told.json()["authorization_details"][0]["task"], told.json()["access_token"]


def state(server, task):
    return server.http("operator").get(f"/v1/tasks/{task}").json()["state"]


def push(server, text, name="idp", headers=None):
    sent = {**MEDIA, "Authorization": BEARER, **(headers or {})}
    sent = {key: value for key, value in sent.items() if value}
    return httpx.post(f"{server.url}/signals/{name}", content=text, headers=sent, timeout=30)


def test_a_pushed_event_has_had_its_effect_when_it_is_acknowledged(server, idp):
    (bot, task, token), franks = working(server), begun(server, "frank")
    assert bot.call(task, token)["decision"] == "permit"
    text = idp.event("00u1", AUD)
    answer = push(server, text)
    assert bot.call(task, token)["decision"] == "deny"
    assert (answer.status_code, answer.content) == (202, b"")
    eventually(lambda: state(server, task), lambda found: found == "revoked")
    assert state(server, franks) == "open"
    again = begun(server)
    assert push(server, text).status_code == 202 and state(server, again) == "open"  # the same event, again
    assert push(server, idp.event("nobody", AUD)).status_code == 202
    assert push(server, idp.event("00u1", AUD, kind="https://example.com/unknown")).status_code == 202
    assert state(server, again) == "open"
    told = eventually(
        lambda: server.http("operator").get("/v1/log/search?q=SignalHeeded").json()["items"],
        lambda found: len(found) > 2,
    )
    assert [(e["data"]["jti"], e["data"]["person"], e["data"]["tasks"]) for e in told][-1] == ("j1", "dana", 1)


def test_what_is_refused_and_in_which_words(server, idp, polled):
    task = begun(server)
    good = idp.event("00u1", AUD)
    refused = {
        "invalid_request": [
            push(server, "x"),
            push(server, b"\xff\xfe"),
            push(server, idp.event("00u1", AUD, exp=int(time.time()) + 60)),
            push(server, idp.event("00u1", AUD, typ="JWT")),
            push(server, good, headers={"Content-Type": "application/json"}),
        ],
        "invalid_key": [push(server, idp.event("00u1", AUD, key=polled.key))],
        "invalid_issuer": [push(server, idp.event("00u1", AUD, iss=polled.url))],
        "invalid_audience": [push(server, idp.event("00u1", POLLED_AUD))],
        "access_denied": [
            push(server, good, headers={"Authorization": ""}),
            push(server, good, headers={"Authorization": "Bearer x"}),
        ],
    }
    for err, answers in refused.items():
        assert [answer.json()["err"] for answer in answers] == [err] * len(answers), [a.text for a in answers]
        assert {answer.status_code for answer in answers} == {401 if err == "access_denied" else 400}
        assert {answer.headers["content-type"] for answer in answers} == {"application/json"}
    assert push(server, "x" * 30_000).status_code == 413
    there, absent = push(server, good, "polled"), push(server, good, "nobody")
    assert there.status_code == absent.status_code == 404 and there.content == absent.content
    assert push(server, good, "gone").status_code == 503  # its keys cannot be had: it is sent again
    assert state(server, task) == "open"
    assert push(server, good).status_code == 202
    eventually(lambda: state(server, task), lambda found: found == "revoked")


@pytest.mark.soak
def test_an_acknowledged_event_survives_kill_9(tmp_path, idp, polled):
    with process(tmp_path / "data") as running:
        server = set_up(running, idp, polled)
        task = begun(server)
        text = idp.event("00u1", AUD, kind="https://schemas.openid.net/secevent/risc/event-type/account-disabled")
        assert push(server, text).status_code == 202
        running.child.kill()
        running.child.wait()
        keys = server.keys
    with process(tmp_path / "data") as again:
        again.keys = keys
        eventually(lambda: state(again, task), lambda found: found == "revoked")
        told = eventually(lambda: again.http("operator").get("/v1/log/search?q=SignalHeeded").json()["items"], bool)
        assert told[0]["data"]["person"] == "dana" and "left" in told[0]["data"]["effects"]
        assert again.http("dana").get("/v1/whoami").status_code == 401


def test_polled_events_are_acknowledged_when_they_have_had_their_effect(server, idp, polled):
    task = begun(server)
    polled.waiting |= {
        "p1": polled.event("nobody", POLLED_AUD, jti="p1"),
        "p2": idp.event("00u1", POLLED_AUD, jti="p2", iss=polled.url),
        "p3": polled.event("00u1", POLLED_AUD, jti="other"),
        "p4": "nonsense",
        "p5": polled.event("00u1", POLLED_AUD, jti="p5"),
        **{f"q{n}": polled.event("nobody", POLLED_AUD, jti=f"q{n}") for n in range(20)},
    }
    eventually(lambda: len(polled.acked), lambda count: count >= 22, seconds=20)
    eventually(lambda: state(server, task), lambda found: found == "revoked")
    assert polled.wrong == {"p2": "invalid_key", "p3": "invalid_request", "p4": "invalid_request"}
    assert not polled.waiting and {"p1", "p5"} <= {*polled.acked}
    assert all(len(body["ack"]) <= 10 and body["maxEvents"] == 10 for body in polled.asked)


@pytest.mark.soak
def test_two_replicas_are_one(postgres, tmp_path, idp, polled):
    """What ends at one is over at the other, in lists and for providers, and everybody is told of it once."""
    with Inbox() as inbox, replicas(postgres, tmp_path) as (one, two):
        http = one.http("operator")
        more = """
[receivers.rs]
audience = "rs"
audiences = ["https://rs.example"]
allow_private_network = true
"""
        catalogue = files(idp, polled)
        catalogue["remit.toml"] += more
        assert http.post("/v1/catalogue", json={"files": catalogue}).status_code == 200
        assert http.put("/v1/secrets/idp-header", json={"value": BEARER}).status_code == 204
        key = http.post("/v1/keys", json={"kind": "receiver", "name": "rs"}).json()["key"]
        one.keys["rs"] = two.keys["rs"] = key
        said = {"delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": inbox.url}, "events_requested": [REVOKED]}
        assert two.http("rs").post("/ssf/streams", json=said).status_code == 201
        agent, agents = one.agent(), []
        for _ in range(6):
            task, token = agent.task()
            form = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": ACCESS, "audience": RS}
            text = agent.token(**form).json()["access_token"]
            agents.append((task, token, jwt.decode(text, options={"verify_signature": False})["status"]["status_list"]))
        assert len({place["idx"] for *_, place in agents}) == 6
        for task, token, place in agents:
            number = place["uri"].rpartition("/")[2]
            agent.send("POST", f"/v1/tasks/{task}/end", token, {"reason": "done"})
            listed = httpx.get(f"{two.url}/status/{number}").text
            told = jwt.decode(listed, options={"verify_signature": False})
            assert BitArray.load(told["status_list"])[place["idx"]] == 1
        eventually(lambda: len(inbox.taken), lambda count: count == 12, seconds=20)
        time.sleep(2)
        ids = [jwt.decode(text, options={"verify_signature": False})["jti"] for text in inbox.taken]
        assert len(ids) == len({*ids}) == 12
        mine = begun(one)
        assert push(two, idp.event("00u1", AUD)).status_code == 202
        eventually(lambda: state(one, mine), lambda found: found == "revoked")
