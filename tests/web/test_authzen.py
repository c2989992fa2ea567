"""AuthZEN Authorization API 1.0, against its text: decisions are 200, protocol errors are not."""

from __future__ import annotations

import time

import pytest


@pytest.fixture
def asking(server):
    bot = server.agent()
    task, token = bot.task()
    subject, action, resource = {"type": "task", "id": task}, {"name": "call"}, {"type": "tool", "id": "list"}
    body = {"subject": subject, "action": action, "resource": resource, "context": {"arguments": {"customer": "acme"}}}
    return server.http("gate"), body, bot, token


def test_one_evaluation(asking):
    http, body, *_ = asking
    answer = http.post("/access/v1/evaluation", json={**body, "unknown": 1}, headers={"X-Request-ID": "abc"})
    assert answer.json()["decision"] is True and answer.headers["x-request-id"] == "abc"
    denied = http.post("/access/v1/evaluation", json={**body, "context": {"arguments": {"customer": "globex"}}})
    assert (denied.status_code, denied.json()["decision"]) == (200, False)
    assert denied.json()["context"]["reasons"][0]["code"] == "out_of_scope"
    held = http.post(
        "/access/v1/evaluation",
        json={
            **body,
            "resource": {"type": "tool", "id": "pay"},
            "context": {"arguments": {"customer": "acme", "invoice": 1, "amount": "1"}},
        },
    )
    assert held.json()["decision"] is False and held.json()["context"]["approval"]["id"].startswith("apv_")


def test_an_agent_asks_about_its_own_task_only(asking, server):
    _, body, bot, token = asking
    assert bot.send("POST", "/access/v1/evaluation", token, body).json()["decision"] is True
    stranger = server.agent()
    _, other = stranger.task()
    answer = stranger.send("POST", "/access/v1/evaluation", other, body)
    assert (answer.status_code, answer.json()["decision"]) == (200, False)


@pytest.mark.parametrize("name", ["subject", "action", "resource"])
@pytest.mark.parametrize("value", [None, 5, {}, {"type": "task"}, {"id": "x"}, {"type": 5, "id": "x"}, {"name": 5}])
def test_what_is_not_a_request_is_400(asking, name, value):
    http, body, *_ = asking
    answer = http.post("/access/v1/evaluation", json={**body, name: value})
    assert answer.status_code == 400 and answer.json()["field"].startswith(name)


def test_other_protocol_errors(asking):
    http, body, *_ = asking
    assert http.post("/access/v1/evaluation", content=b"{}").status_code == 400
    assert (
        http.post("/access/v1/evaluation", content=b"[]", headers={"Content-Type": "application/json"}).status_code
        == 400
    )
    assert http.post("/access/v1/evaluation", json={**body, "context": 5}).status_code == 400
    assert http.post("/access/v1/evaluation", json={**body, "context": {"pin": 5}}).status_code == 400
    for unknown in (
        {"subject": {"type": "user", "id": "x"}},
        {"resource": {"type": "file", "id": "x"}},
        {"action": {"name": "fly"}},
        {"subject": {"type": "task", "id": "tsk_none"}},
    ):
        answer = http.post("/access/v1/evaluation", json={**body, **unknown})
        assert (answer.status_code, answer.json()["decision"]) == (200, False)


def test_evaluations_merge_defaults_and_stop_as_asked(asking):
    http, body, *_ = asking
    good, bad = {}, {"context": {"arguments": {"customer": "globex"}}}

    def ask(items, **options):
        answer = http.post(
            "/access/v1/evaluations", json={**body, "evaluations": items, **({"options": options} if options else {})}
        )
        assert answer.status_code == 200, answer.text
        return [item["decision"] for item in answer.json()["evaluations"]]

    assert ask([good, bad, good]) == [True, False, True]
    assert ask([good, bad, good], evaluations_semantic="deny_on_first_deny") == [True, False]
    assert ask([bad, good, bad], evaluations_semantic="permit_on_first_permit") == [False, True]
    assert ask([{"resource": {"type": "tool"}}, 5, good]) == [False, False, True]
    assert http.post("/access/v1/evaluations", json={**body, "evaluations": []}).json()["decision"] is True
    assert http.post("/access/v1/evaluations", json=body).json()["decision"] is True
    for wrong in (
        {"evaluations": 5},
        {"evaluations": [good] * 101},
        {"evaluations": [good], "options": {"evaluations_semantic": "x"}},
    ):
        assert http.post("/access/v1/evaluations", json={**body, **wrong}).status_code == 400


def test_metadata_names_this_decision_point(asking):
    http, *_ = asking
    found = http.get("/.well-known/authzen-configuration").json()
    assert found["policy_decision_point"] == str(http.base_url).rstrip("/")
    oauth = http.get("/.well-known/oauth-authorization-server").json()
    assert oauth["issuer"] == found["policy_decision_point"]
    assert oauth["authorization_details_types_supported"] == ["part", "pay", "whole"]


# --- access requests (draft profile) ---


@pytest.fixture
def denied(asking):
    """(client, the held evaluation, its denial's context, the submission for it)."""
    http, body, *_ = asking
    arguments = {"customer": "acme", "invoice": 7, "amount": "1.00"}
    held = {**body, "resource": {"type": "tool", "id": "pay"}, "context": {"arguments": arguments}}
    context = http.post("/access/v1/evaluation", json=held).json()["context"]
    denial = {"evaluation_id": context["evaluation_id"], "expires_at": context["access_request"]["expires_at"]}
    return http, held, context, {**held, "denial": denial}


def test_a_requestable_denial_is_requested_answered_and_evaluated_again(denied, server):
    http, held, context, submission = denied
    endpoint = context["access_request"]["endpoint"]
    about = http.get("/.well-known/authzen-configuration").json()
    assert about["access_request_endpoint"] == endpoint and about["capabilities"]
    assert context["reason"] == "approval_required"
    first = http.post(endpoint, json=submission, headers={"Idempotency-Key": "one"})
    again = http.post(endpoint, json={**submission, "context": {**held["context"], "justification": "please"}})
    assert first.status_code == 201 and first.json() == again.json()
    handle = first.json()["task"]
    assert (handle["status"], first.headers["location"]) == ("pending", handle["status_endpoint"])
    waiting = http.get(handle["status_endpoint"])
    assert waiting.json()["task"]["status"] == "pending" and waiting.headers["retry-after"]
    assert "result" not in waiting.json()
    found = server.http("frank").get(f"/v1/approvals/{handle['id']}").json()
    answer = server.http("frank").post(
        f"/v1/approvals/{handle['id']}/answer", json={"digest": found["digest"], "yes": True}
    )
    assert answer.status_code == 200
    done = http.get(handle["status_endpoint"]).json()
    assert done["task"]["status"] == "approved"
    assert done["result"]["mode"] == "reevaluate" and done["result"]["approval"]["approved_until"]
    permit = {**held, "context": {**held["context"], "approval": done["result"]["approval"]}}
    assert http.post("/access/v1/evaluation", json=permit).json()["decision"] is True
    assert http.post("/access/v1/evaluation", json=permit).json()["decision"] is False  # it was for once
    assert http.get(handle["status_endpoint"]).json()["task"]["status"] == "approved"


def test_a_refused_request_is_denied(denied, server):
    http, _, _, submission = denied
    handle = http.post("/access/v1/requests", json=submission).json()["task"]
    found = server.http("frank").get(f"/v1/approvals/{handle['id']}").json()
    server.http("frank").post(f"/v1/approvals/{handle['id']}/answer", json={"digest": found["digest"], "yes": False})
    done = http.get(handle["status_endpoint"]).json()
    assert done["task"]["status"] == "denied" and "result" not in done


@pytest.mark.parametrize(
    "wrong",
    [
        {"denial": {}},
        {"denial": {"evaluation_id": "apv_nothing", "expires_at": "2026-01-01T00:00:00.000Z"}},
        {"denial": "text"},
        {"subject": {"type": "task", "id": "tsk_other"}},
        {"resource": {"type": "tool", "id": "list"}},
        {"action": {"name": "read"}},
        {"context": {"arguments": {"customer": "acme", "invoice": 7, "amount": "1.01"}}},
        {"context": {}},
        {"context": 5},
    ],
)
def test_a_submission_that_is_not_of_the_denial(denied, wrong):
    http, _, _, submission = denied
    answer = http.post("/access/v1/requests", json={**submission, **wrong})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.json()["type"] == "urn:openid:authzen:access-request:error:invalid_denial_binding"


def test_other_submissions_that_are_refused(denied, server):
    http, _, _, submission = denied
    late = {**submission["denial"], "expires_at": "2099-01-01T00:00:00.000Z"}
    assert http.post("/access/v1/requests", json={**submission, "denial": late}).status_code == 400
    assert http.post("/access/v1/requests", json={**submission, "items": []}).status_code == 400
    assert http.post("/access/v1/requests", content=b"[]").status_code == 400
    assert http.get("/access/v1/requests/apv_nothing").status_code == 404
    handle = http.post("/access/v1/requests", json=submission).json()["task"]["id"]
    stranger = server.agent()
    _, token = stranger.task()
    assert stranger.send("POST", "/access/v1/requests", token, submission).status_code == 400
    assert stranger.send("GET", f"/access/v1/requests/{handle}", token).status_code == 404
    assert server.http("frank").get(f"/access/v1/requests/{handle}").status_code == 403


def test_a_denial_has_its_time(server):
    bot = server.agent()
    task, token = bot.task(duration_ms=1500)
    held = {
        "subject": {"type": "task", "id": task},
        "action": {"name": "call"},
        "resource": {"type": "tool", "id": "pay"},
        "context": {"arguments": {"customer": "acme", "invoice": 8, "amount": "1.00"}},
    }
    context = bot.send("POST", "/access/v1/evaluation", token, held).json()["context"]
    denial = {"evaluation_id": context["evaluation_id"], "expires_at": context["access_request"]["expires_at"]}
    time.sleep(1.6)
    answer = server.http("gate").post("/access/v1/requests", json={**held, "denial": denial})
    assert answer.status_code == 410 and answer.json()["type"].endswith("expired_denial")
    done = server.http("gate").get(f"/access/v1/requests/{denial['evaluation_id']}")
    assert done.json()["task"]["status"] in ("pending", "expired")
