"""A hand-off over real HTTP: one agent gives, another proves itself and acts, the giver ends, and nothing below lives."""

from __future__ import annotations

import httpx
import pytest

from remit_client import AgentKey
from tests.web.test_flow import ACCESS, EXCHANGE, introspect

JWT = "urn:ietf:params:oauth:token-type:jwt"


def whole(lead, customer="acme"):
    answer = lead.token({"type": "whole", "goal": f"look after {customer}", "parameters": {"customer": customer}})
    assert answer.status_code == 200, answer.text
    return answer.json()["authorization_details"][0]["task"], answer.json()["access_token"]


def hand(lead, task, token, **more):
    body = {"agent": "other", "purpose": "part", "goal": "look", "parameters": {"customer": "acme"}, **more}
    return lead.send("POST", f"/v1/tasks/{task}/delegations", token, body)


def accept(agent, delegation, key=None, **more):
    form = {"grant_type": EXCHANGE, "subject_token": delegation, "subject_token_type": JWT, **more}
    return agent.token(key=key, **form)


def opened(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["authorization_details"][0]["task"], answer.json()["access_token"]


def test_a_child_acts_within_its_parent_and_ends_with_it(server):
    lead, other = server.agent("lead"), server.agent("other")
    task, token = whole(lead)
    handed = hand(lead, task, token, max_calls=5)
    assert handed.status_code == 201, handed.text
    accepted = accept(other, handed.json()["delegation_token"])
    child, below = opened(accepted)
    assert child == handed.json()["task"] and accepted.json()["issued_token_type"] == ACCESS
    assert other.call(child, below)["decision"] == "permit"
    assert other.call(child, below, "list", {"customer": "globex"})["why"][0]["code"] == "out_of_scope"
    # Its purpose may pay; its parent's may not, so it may not.
    paid = other.call(child, below, "pay", {"customer": "acme", "invoice": 17, "amount": "1.00"})
    assert paid["why"][0]["code"] == "out_of_scope"
    rs = other.send("POST", f"/v1/tasks/{child}/credentials", below, {"credential": "rs"})
    assert rs.status_code == 201, rs.text
    elsewhere = rs.json()["parts"]["access_token"]
    assert introspect(server, below)["active"] and introspect(server, elsewhere)["active"]
    seen = server.http("operator").get(f"/v1/tasks/{task}").json()
    assert seen["credentials"]["alive"] == 1  # its child's
    assert seen["handed_on"] == {"times": 1, "calls": 5}
    shown = server.http("operator").get(f"/v1/tasks/{child}").json()
    assert (shown["parent"], shown["max_calls"]) == (task, 5) and shown["deadline"] <= seen["deadline"]
    assert [hop["agent"] for hop in shown["chain"]] == ["lead", "other"]

    ended = lead.send("POST", f"/v1/tasks/{task}/end?wait=settled", token, {"reason": "done"}).json()
    assert ended["settled_at"], ended
    assert other.call(child, below)["decision"] == "deny"
    assert introspect(server, below) == {"active": False} == introspect(server, elsewhere)
    assert other.token({"type": "part", "task": child}).status_code == 400
    assert other.send("POST", f"/v1/tasks/{child}/credentials", below, {"credential": "rs"}).status_code == 403
    shown = server.http("operator").get(f"/v1/tasks/{child}").json()
    assert (shown["state"], shown["end_reason"]) == ("revoked", f"{task} ended") and shown["settled_at"]
    assert server.http("operator").get(f"/v1/tasks/{child}/leases").json()["items"][0]["state"] == "ended"


def test_a_delegation_token_is_good_once_for_one_agent_with_a_key_of_its_own(server):
    lead, other = server.agent("lead"), server.agent("other")
    task, token = whole(lead)
    text = hand(lead, task, token).json()["delegation_token"]
    body = {"purpose": "part", "goal": "look", "subject_token": text}
    stolen = [
        accept(lead, text),  # another agent
        accept(other, text, key=AgentKey.generate()),  # another key
        accept(other, text[:-6] + "AAAAAA"),
        httpx.post(f"{server.url}/v1/tasks", json=body, headers={"Authorization": f"Bearer {text}"}),
        httpx.post(f"{server.url}/v1/tasks", json=body, headers={"Authorization": f"DPoP {text}"}),
        other.send("POST", f"/v1/tasks/{task}/calls", text, {"tool": "list", "arguments": {"customer": "acme"}}),
        lead.send("POST", "/v1/tasks", lead.token().json()["access_token"], body),
    ]
    assert all(answer.status_code in (400, 401, 404) for answer in stolen), [a.text for a in stolen]
    own = other.token().json()["access_token"]
    wider = other.send("POST", "/v1/tasks", own, {**body, "parameters": {"customer": "globex"}})
    assert wider.status_code == 400, wider.text
    assert other.send("POST", "/v1/tasks", own, body).status_code == 201
    again = [accept(other, text), other.send("POST", "/v1/tasks", own, body)]
    assert [answer.json()["code"] for answer in again] == ["RMT-2004"] * 2


def test_what_may_not_be_handed_on(server):
    lead, other = server.agent("lead"), server.agent("other")
    task, token = whole(lead)
    refusals = {
        "not_delegable": [{"agent": "lead"}, {"purpose": "pay"}, {"purpose": "nothing"}, {"agent": "nobody"}],
        "out_of_scope": [{"parameters": {"customer": "globex"}}],
        "budget_spent": [{"max_calls": 21}],
    }
    for reason, bodies in refusals.items():
        for body in bodies:
            answer = hand(lead, task, token, **body)
            assert (answer.status_code, answer.json()["reasons"]) == (403, [reason]), answer.text
    stranger = server.agent("other").token().json()["access_token"]
    assert hand(other, task, stranger).status_code in (401, 404)
    bot = server.agent()
    plain, its = bot.task()
    assert hand(bot, plain, its).json()["reasons"] == ["not_delegable"]
    child, below = opened(accept(other, hand(lead, task, token).json()["delegation_token"]))
    assert hand(other, child, below, agent="lead", purpose="whole").json()["reasons"] == ["not_delegable"]


def test_the_client_hands_on_and_accepts(server, tmp_path):
    import asyncio

    import remit_client as remit

    def joined(name):
        token = server.http("operator").post(f"/v1/agents/{name}/join-tokens", json={}).json()["join_token"]
        return {"url": server.url, "agent_dir": tmp_path / name, "join_token": token}

    giver, receiver = joined("lead"), joined("other")
    with remit.Remit(**giver).task("whole", goal="look after acme", customer="acme") as task:
        text = task.delegate("other", "part", goal="look", max_calls=3, duration_s=60, customer="acme")
        with remit.Remit(**receiver).accept(text) as child:
            assert child.call("list", customer="acme").why is not None
            with pytest.raises(remit.Denied):
                child.call("list", customer="globex")
            assert text not in repr(child) + repr(child._work)
        with pytest.raises(remit.NotAuthenticated), remit.Remit(**receiver).accept(text):
            pass

    async def main():
        async with remit.AsyncRemit(**giver).task("whole", goal="look after acme", customer="acme") as task:
            text = await task.delegate("other", "part", goal="look", customer="acme")
            async with remit.AsyncRemit(**receiver).accept(text) as child:
                await task.end("done", settled=False)
                with pytest.raises(remit.Denied) as denied:
                    await child.call("list", customer="acme")
                assert denied.value.reasons[0] in ("ancestor_ended", "task_not_open")

    asyncio.run(main())
