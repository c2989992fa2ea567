"""AuthZEN Authorization API 1.0, against its text: decisions are 200, protocol errors are not."""

from __future__ import annotations

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
