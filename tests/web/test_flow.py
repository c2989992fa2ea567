"""The loop over real HTTP, and every attack on its tokens and proofs that we know of."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from remit_client import AgentKey
from tests.server import Agent, furnished, process

PAY = {"customer": "acme", "invoice": 17, "amount": "120.00"}


def test_from_proof_to_end(server):
    bot = server.agent()
    task, token = bot.task()
    assert bot.call(task, token)["decision"] == "permit"
    held = bot.call(task, token, "pay", PAY)
    assert held["decision"] == "hold" and held["approval"]["approvers"] == ["finance"]
    path = f"/v1/approvals/{held['approval']['id']}"
    seen = server.http("frank").get(path).json()
    assert json.loads(seen["shown"]["arguments"]) == PAY
    answer = server.http("frank").post(f"{path}/answer", json={"digest": seen["digest"], "yes": True})
    assert answer.json()["state"] == "granted"
    assert bot.call(task, token, "pay", PAY)["decision"] == "permit"
    assert bot.call(task, token, "pay", PAY)["decision"] == "hold"
    issued = bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "shown"})
    assert issued.status_code == 201 and issued.json()["parts"]["value"].startswith("canary-")
    ended = bot.send("POST", f"/v1/tasks/{task}/end?wait=settled", token, {"reason": "done"}).json()
    assert ended["state"] == "closed" and ended["settled_at"]
    assert bot.call(task, token)["why"][0]["code"] == "task_not_open"
    leases = server.http("operator").get(f"/v1/tasks/{task}/leases").json()["items"]
    assert [lease["state"] for lease in leases] == ["ended"]
    for who in ("operator", "anna", "olga"):
        assert server.http(who).get(f"/v1/tasks/{task}").status_code == 200
    assert server.http("frank").get(f"/v1/tasks/{task}").status_code == 404


def test_a_person_begins_a_task_through_an_agent_once(server):
    bot = server.agent()
    spoken = server.http("dana").post("/v1/subject-tokens", json={"agent": "bot"}).json()["subject_token"]
    details = {"type": "pay", "goal": "g", "parameters": {"customer": "acme"}}
    first = bot.token(details, subject_token=spoken)
    task = first.json()["authorization_details"][0]["task"]
    assert server.http("dana").get(f"/v1/tasks/{task}").json()["initiator"] == "person:dana"
    assert bot.token(details, subject_token=spoken).json()["error"] == "invalid_client"
    other = server.http("dana").post("/v1/subject-tokens", json={"agent": "other"}).json()["subject_token"]
    assert bot.token(details, subject_token=other).status_code == 401
    revoked = server.http("dana").post(f"/v1/tasks/{task}/end", json={"reason": "changed my mind"})
    assert revoked.json()["state"] == "revoked"


def test_a_stolen_token_is_useless(server):
    bot = server.agent()
    task, token = bot.task()
    path, body = f"/v1/tasks/{task}/calls", {"tool": "list", "arguments": {"customer": "acme"}}
    thief = AgentKey.generate()
    url = server.url + path
    attempts = [
        bot.send("POST", path, token, body, key=thief),
        httpx.post(url, json=body, headers={"Authorization": f"Bearer {token}"}),
        httpx.post(url, json=body, headers={"Authorization": f"DPoP {token}"}),
        httpx.post(
            url, json=body, headers={"Authorization": f"DPoP {token}", "DPoP": bot.key.proof("GET", url, token)}
        ),
        httpx.post(
            url, json=body, headers={"Authorization": f"DPoP {token}", "DPoP": bot.key.proof("POST", url + "x", token)}
        ),
        httpx.post(url, json=body, headers={"Authorization": f"DPoP {token}", "DPoP": bot.key.proof("POST", url)}),
        httpx.post(
            url, json=body, headers={"Authorization": f"DPoP {token}", "DPoP": bot.key.proof("POST", url, "other")}
        ),
        httpx.post(url, json=body, headers={"Authorization": "Basic x"}),
        httpx.post(url, json=body, headers={"Authorization": "Bearer key_operator_" + "0" * 32}),
        httpx.post(url, json=body),
    ]
    two = httpx.Headers(
        [("Authorization", f"DPoP {token}"), ("DPoP", bot.key.proof("POST", url, token)), ("DPoP", "x")]
    )
    attempts.append(httpx.post(url, json=body, headers=two))
    for answer in attempts:
        assert answer.status_code == 401, answer.text
        assert "WWW-Authenticate" in answer.headers
    stranger = server.agent("other")
    answer = stranger.send("POST", path, stranger.token().json()["access_token"], body)
    assert answer.status_code in (401, 404)


def test_a_proof_replayed_fifty_times_is_accepted_once(server):
    bot = server.agent()
    task, token = bot.task()
    url = f"{server.url}/v1/tasks/{task}/calls"
    headers = {"Authorization": f"DPoP {token}", "DPoP": bot.key.proof("POST", url, token)}
    barrier = threading.Barrier(10)

    def attack(_):
        with httpx.Client() as http:
            barrier.wait()
            body = {"tool": "list", "arguments": {"customer": "acme"}}
            return [http.post(url, json=body, headers=headers).status_code for _ in range(5)]

    with ThreadPoolExecutor(10) as pool:
        codes = [code for batch in pool.map(attack, range(10)) for code in batch]
    assert sorted(codes) == [200] + [401] * 49


def test_a_proof_stays_spent_after_kill_9(tmp_path):
    data = tmp_path / "data"
    with process(data) as first:
        furnished(first)
        bot = first.agent()
        task, token = bot.task()
        path = f"/v1/tasks/{task}/end"
        proof = bot.key.proof("POST", first.url + path, token)
        assertion = bot.key.assertion("bot", first.url)
        headers = {"Authorization": f"DPoP {token}", "DPoP": proof}
        assert httpx.post(first.url + path, json={"reason": "x"}, headers=headers).status_code == 200
        port = first.url.rsplit(":", 1)[1]
        first.child.kill()
    with process(data, "--port", port) as second:
        assert second.url == first.url
        assert httpx.post(first.url + path, json={"reason": "x"}, headers=headers).json()["code"] == "RMT-2004"
        # What was acknowledged before the kill still stands.
        assert second.http("operator").get(f"/v1/tasks/{task}").json()["state"] == "closed"
        assert bot.token(client_assertion=assertion).status_code == 200
        assert bot.token(client_assertion=assertion).json()["error"] == "invalid_client"


@pytest.mark.parametrize(
    ("fields", "error", "status"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type", 400),
        ({"grant_type": ""}, "unsupported_grant_type", 400),
        ({"client_assertion_type": "x"}, "invalid_request", 400),
        ({"client_assertion": "x"}, "invalid_client", 401),
        ({"client_assertion": "a.b.c"}, "invalid_client", 401),
        ({"authorization_details": "nonsense"}, "invalid_request", 400),
        ({"authorization_details": "[]"}, "invalid_authorization_details", 400),
        ({"authorization_details": '[{"type":"nothing","goal":"g"}]'}, "invalid_authorization_details", 400),
        ({"authorization_details": '[{"type":"pay","goal":"g"}]'}, "invalid_authorization_details", 400),
        ({"authorization_details": '[{"type":"pay","task":"tsk_x"}]'}, "invalid_authorization_details", 400),
        (
            {"authorization_details": '[{"type":"pay","goal":"g","parameters":{"customer":"ACME"}}]'},
            "invalid_authorization_details",
            400,
        ),
    ],
    ids=str,
)
def test_the_token_endpoint_says_what_is_wrong(server, fields, error, status):
    answer = server.agent().token(**fields)
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert answer.headers["cache-control"] == "no-store"


def test_a_client_assertion_of_another_agent_or_key_is_refused(server):
    bot, other = server.agent(), server.agent("other")
    assert bot.token(client_assertion=other.key.assertion("other", server.url)).status_code == 401
    assert bot.token(client_assertion=bot.key.assertion("other", server.url)).status_code == 401
    assert bot.token(client_assertion=bot.key.assertion("bot", server.url + "/oauth/token")).status_code == 401
    assert bot.token(key=AgentKey.generate()).status_code == 401
    assert Agent(server.url, "bot", AgentKey.generate()).token().status_code == 401
    assert httpx.post(f"{server.url}/oauth/token", data={"grant_type": "client_credentials"}).status_code == 401


def test_a_task_token_is_renewed_while_the_task_is_open(server):
    bot = server.agent()
    task, token = bot.task()
    renewed = bot.token({"type": "pay", "task": task})
    assert renewed.status_code == 200 and renewed.json()["authorization_details"][0]["task"] == task
    stranger = server.agent("bot")
    assert stranger.token({"type": "pay", "task": task}).status_code == 400
    bot.send("POST", f"/v1/tasks/{task}/end", token, {"reason": ""})
    assert bot.token({"type": "pay", "task": task}).status_code == 400


EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS = "urn:ietf:params:oauth:token-type:access_token"


def exchange(bot, token, **fields):
    given = {
        "grant_type": EXCHANGE,
        "subject_token": token,
        "subject_token_type": ACCESS,
        "audience": "https://rs.example",
        **fields,
    }
    headers = {"DPoP": fields.pop("proof", None) or bot.key.proof("POST", f"{bot.url}/oauth/token")}
    return httpx.post(f"{bot.url}/oauth/token", data=given, headers=headers)


def introspect(server, token):
    return server.http("gate").post("/oauth/introspect", data={"token": token}).json()


def test_token_exchange_gives_a_token_for_one_audience_and_its_lease_ends_it(server):
    bot = server.agent()
    task, token = bot.task()
    answer = exchange(bot, token).json()
    assert (answer["issued_token_type"], answer["token_type"]) == (ACCESS, "DPoP")
    seen = introspect(server, answer["access_token"])
    assert (seen["active"], seen["aud"], seen["txn"], seen["cnf"]["jkt"]) == (
        True,
        "https://rs.example",
        task,
        bot.key.jkt,
    )
    keys = httpx.get(f"{server.url}/.well-known/jwks.json").json()["keys"]
    assert all("d" not in key for key in keys) and keys[0]["alg"] == "ES256"
    path = f"/v1/tasks/{task}/calls"
    used_here = bot.send("POST", path, answer["access_token"], {"tool": "list", "arguments": {}})
    assert used_here.status_code == 401  # no passthrough: a token for another audience is nothing here
    bot.send("POST", f"/v1/tasks/{task}/end", token, {"reason": ""})
    assert introspect(server, answer["access_token"]) == {"active": False}
    assert exchange(bot, token).status_code in (400, 403)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"audience": "https://other.example"}, "invalid_target"),
        ({"audience": ["https://rs.example", "https://rs.example"]}, "invalid_target"),
        ({"subject_token_type": "x"}, "invalid_request"),
        ({"requested_token_type": "x"}, "invalid_request"),
        ({"subject_token": "x"}, "invalid_client"),
        ({"actor_token": "x"}, "invalid_request"),
    ],
    ids=str,
)
def test_an_exchange_that_is_refused(server, fields, error):
    bot = server.agent()
    _, token = bot.task()
    answer = exchange(bot, token, **fields)
    assert answer.json()["error"] == error, answer.text


def test_an_exchange_needs_the_subject_tokens_own_key_and_a_task(server):
    bot, thief = server.agent(), server.agent("other")
    _, token = bot.task()
    assert exchange(thief, token).status_code == 401
    assert exchange(bot, bot.token().json()["access_token"]).status_code == 401


def test_introspection_says_active_or_nothing(server):
    bot = server.agent()
    task, token = bot.task()
    assert introspect(server, token)["active"] is True
    for bad in ("", "x", "a.b.c", token[:-2] + "AA", token + "x"):
        assert introspect(server, bad).get("active", False) is False
    assert "txn" not in introspect(server, bot.token().json()["access_token"])
    server.http("operator").post("/v1/freezes", json={"reach": "agent", "name": "bot", "reason": "test"})
    try:
        assert introspect(server, token) == {"active": False}
        assert bot.call(task, token)["why"][0]["code"] == "agent_frozen"
        assert bot.token().status_code == 401
    finally:
        server.http("operator").post("/v1/freezes/end", json={"reach": "agent", "name": "bot", "reason": "over"})
    answer = bot.send("POST", "/oauth/revoke", token, headers={}, data=None)
    assert answer.status_code == 400
    url = f"{server.url}/oauth/revoke"
    for text in ("unknown", token):
        headers = {"Authorization": f"DPoP {token}", "DPoP": bot.key.proof("POST", url, token)}
        assert httpx.post(url, data={"token": text}, headers=headers).status_code == 200
    assert introspect(server, token) == {"active": False}


def test_revoking_an_exchanged_token_ends_its_lease_and_nobody_elses(server):
    bot, stranger = server.agent(), server.agent()
    task, token = bot.task()
    _, other = stranger.task()
    exchanged = exchange(bot, token).json()["access_token"]
    url = f"{server.url}/oauth/revoke"

    def revoke(who, held):
        headers = {"Authorization": f"DPoP {held}", "DPoP": who.key.proof("POST", url, held)}
        return httpx.post(url, data={"token": exchanged}, headers=headers).status_code

    assert revoke(stranger, other) == 200 and introspect(server, exchanged)["active"] is True
    assert revoke(bot, token) == 200 and introspect(server, exchanged) == {"active": False}
    assert revoke(bot, token) == 200
    assert introspect(server, token)["active"] is True
    assert server.http("operator").get(f"/v1/tasks/{task}").json()["state"] == "open"


def test_absent_and_hidden_look_the_same(server):
    bot, stranger = server.agent(), server.agent()
    task, token = bot.task()
    _, other = stranger.task()
    hidden = stranger.send("GET", f"/v1/tasks/{task}", other)
    absent = stranger.send("GET", "/v1/tasks/tsk_" + "0" * 32, other)
    assert (hidden.status_code, hidden.content) == (absent.status_code, absent.content) == (404, hidden.content)
    person = server.http("frank")
    for path in (f"/v1/tasks/{task}", "/v1/tasks/nothing", "/v1/approvals/nothing", "/v1/agents/nothing", "/nothing"):
        assert person.get(path).content == absent.content
    assert bot.send("GET", f"/v1/tasks/{task}", token).status_code == 200
    assert stranger.send("POST", f"/v1/tasks/{task}/calls", other, {"tool": "list"}).content == absent.content


def test_an_approval_is_waited_for(server):
    bot = server.agent()
    task, token = bot.task()
    held = bot.call(task, token, "pay", {**PAY, "invoice": 5})["approval"]["id"]
    seen = server.http("frank").get(f"/v1/approvals/{held}").json()

    def later():
        time.sleep(0.3)
        server.http("frank").post(
            f"/v1/approvals/{held}/answer", json={"digest": seen["digest"], "yes": False, "note": "no"}
        )

    thread = threading.Thread(target=later)
    thread.start()
    started = time.monotonic()
    found = bot.send("GET", f"/v1/approvals/{held}?wait=20", token).json()
    thread.join()
    assert found["state"] == "refused" and time.monotonic() - started < 5
    assert bot.call(task, token, "pay", {**PAY, "invoice": 5})["why"][0]["code"] == "approval_refused"
    assert server.http("dana").get(f"/v1/approvals/{held}").status_code == 404
    for who in ("frank", "operator", "gate", "olga"):
        assert server.http(who).get(f"/v1/approvals/{held}").status_code == 200
    pending = server.http("frank").get("/v1/approvals", params={"state": "refused"}).json()["items"]
    assert held in [item["id"] for item in pending]


def test_lists_page(server):
    bot = server.agent()
    for _ in range(5):
        bot.task()
    seen, after = [], ""
    while True:
        page = server.http("operator").get("/v1/tasks", params={"limit": 2, "after": after}).json()
        seen += [item["id"] for item in page["items"]]
        after = page["next"]
        if not after:
            break
    assert len(seen) == len(set(seen)) >= 5 and seen == sorted(seen)
    assert server.http("operator").get("/v1/tasks", params={"limit": "x"}).json()["field"] == "limit"
    assert server.http("operator").get("/v1/tasks", params={"state": "x"}).json()["field"] == "state"


def test_the_log_can_be_read_and_proved(server):
    from remit.formats.tlog import NoteKey, parse_proof
    from remit.log.merkle import leaf_hash, verify_inclusion

    bot = server.agent()
    bot.task()
    time.sleep(0.3)
    http = server.http("anna")
    key = NoteKey.parse(http.get("/log/key").text)
    size = http.get("/v1/log").json()["size"]
    entries = http.get("/v1/log/entries", params={"start": 0, "limit": 1000}).content.split(b"\n")[:-1]
    for index in (0, size - 1):
        claim = parse_proof(http.get(f"/v1/log/proof/{index}").text, [key])
        if index < len(entries):
            verify_inclusion(
                leaf_hash(entries[index]), claim.index, claim.checkpoint.size, claim.path, claim.checkpoint.root
            )
    width = min(size, 256)
    tile = "tile/0/000" + (f".p/{width}" if width < 256 else "")
    assert http.get(f"/log/{tile}").content[:32] == leaf_hash(entries[0])
    assert http.get("/log/tile/entries/000.p/1").content == len(entries[0]).to_bytes(2, "big") + entries[0]
    for absent in ("tile/0/999", "tile/9/000", "tile/0/0", "tile/entries/x001/000", "tile/0/..%2f..%2fetc"):
        assert http.get(f"/log/{absent}").status_code == 404
    assert http.get(f"/v1/log/proof/{10**9}").status_code == 404
    assert http.get("/v1/log/proof/x").status_code == 400
