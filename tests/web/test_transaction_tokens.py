"""A call graph over real HTTP: an agent calls a server, the server another, and each can tell for whom and through whom."""

from __future__ import annotations

import asyncio
import json
import time

import httpx
import pytest

import remit_client as remit
from remit_client.asgi import RemitASGI, TransactionASGI
from remit_client.verify import Key, transaction
from tests.server import CATALOGUE, furnished, process
from tests.web.test_delegation import accept, hand, opened, whole
from tests.web.test_flow import ACCESS, EXCHANGE, introspect

TXN = "urn:ietf:params:oauth:token-type:txn_token"
RS, DOMAIN = "https://rs.example", "remit.local"
RULE = ', transaction = { endpoint = "billing", workloads = ["ledger", "archive"], max_hops = 3 } }'
AGENT = CATALOGUE["agents/bot.toml"]
FILES = {
    name: text.replace('scope = ["read"] }', 'scope = ["read", "write"]' + RULE) for name, text in CATALOGUE.items()
} | {f"agents/{name}.toml": AGENT for name in ("billing", "ledger", "archive")}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with process(tmp_path_factory.mktemp("graph") / "data") as running:
        yield furnished(running, FILES)


@pytest.fixture(scope="module")
def graph(server):
    return {name: server.agent(name) for name in ("billing", "ledger", "archive")}


@pytest.fixture
def handed(server):
    """A hand-off: (the giver, its task and token, the receiver, its task and token, what the receiver sends a server)."""
    lead, other = server.agent("lead"), server.agent("other")
    task, token = whole(lead)
    child, below = opened(accept(other, hand(lead, task, token).json()["delegation_token"]))
    sent = other.send("POST", f"/v1/tasks/{child}/credentials", below, {"credential": "rs"}).json()
    return lead, task, token, other, child, below, sent["parts"]["access_token"]


def carry(workload, subject, scope="read", kind=ACCESS, **more):
    form = {"grant_type": EXCHANGE, "requested_token_type": TXN, "audience": DOMAIN, "scope": scope}
    form |= {"subject_token": subject, "subject_token_type": kind, **more}
    return workload.token(**{name: value for name, value in form.items() if value})


def carried(answer):
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["token_type"], body["issued_token_type"]) == ("N_A", TXN) and "refresh_token" not in body
    assert answer.headers["cache-control"] == "no-store" and 0 < body["expires_in"] <= 120
    return body["access_token"]


def offline(server, text):
    keys = {one["kid"]: Key(one) for one in httpx.get(f"{server.url}/.well-known/jwks.json").json()["keys"]}
    return transaction(text, keys=keys, issuer=server.url, domain=DOMAIN, now=time.time())


def test_a_call_goes_through_three_servers_and_dies_with_the_task_above(server, graph, handed):
    lead, task, token, _, child, _, sent = handed
    first = carried(carry(graph["billing"], sent, "read write", request_details='{"invoice": 17}'))
    second = carried(carry(graph["ledger"], first, kind=TXN))
    third = carried(carry(graph["archive"], second, kind=TXN))
    seen = [offline(server, text) for text in (first, second, third)]
    assert [one.path for one in seen] == [("billing",), ("billing", "ledger"), ("billing", "ledger", "archive")]
    assert {one.txn for one in seen} == {seen[0].txn} and {one.actors for one in seen} == {("other", "lead")}
    assert [sorted(one.scope) for one in seen] == [["read", "write"], ["read"], ["read"]]
    assert {(one.task, one.purpose, one.subject) for one in seen} == {(child, "part", "agent:lead")}
    assert seen[2].details == {"invoice": 17} and seen[2].parameters == {"customer": "acme"}
    assert seen[0].expires_at >= seen[1].expires_at >= seen[2].expires_at
    told = introspect(server, third)
    assert told["active"] and told["req_wl"] == "archive" and told["txn"] == seen[0].txn
    assert told["act"] == {"sub": "other", "act": {"sub": "lead"}} and told["token_type"] == "N_A"

    lead.send("POST", f"/v1/tasks/{task}/end?wait=settled", token, {"reason": "done"})
    assert introspect(server, first) == introspect(server, third) == {"active": False}
    late = carry(graph["archive"], second, kind=TXN)
    assert (late.status_code, late.json()["error"]) == (403, "access_denied")
    events = [json.loads(line) for line in server.http("operator").get("/v1/log/entries").text.splitlines()]
    issued = [e["data"] for e in events if e["type"] == "TransactionTokenIssued" and e["data"]["txn"] == seen[0].txn]
    assert [e["path"] for e in issued] == [list(one.path) for one in seen] and issued[0]["chain"] == [task]
    assert not [text for text in (first, second, third, sent) if text in json.dumps(events)]


def test_what_is_no_request_for_one(server, graph, handed):
    *_, below, sent = handed
    billing = graph["billing"]
    first = carried(carry(billing, sent))
    flaws = {
        "invalid_target": [
            carry(billing, sent, audience="elsewhere"),
            carry(billing, sent, audience=""),
            carry(billing, sent, resource=RS),
        ],
        "invalid_scope": [carry(billing, sent, "read  write"), carry(billing, sent, 'a"b'), carry(billing, sent, "")],
        "invalid_request": [
            carry(billing, sent, kind="urn:ietf:params:oauth:token-type:refresh_token"),
            carry(billing, "{}", kind="urn:ietf:params:oauth:token-type:unsigned_json"),
            carry(billing, sent, kind="urn:ietf:params:oauth:token-type:self_signed"),
            carry(billing, below),  # its scope is not known, which is not unlimited
            carry(billing, billing.token().json()["access_token"]),
            carry(billing, sent, kind=TXN),
            carry(billing, first, kind=ACCESS),
            carry(billing, sent[:-6] + "AAAAAA"),
            carry(billing, "x.y.z"),
            carry(billing, sent, actor_token=below),
            carry(billing, sent, request_details="[]"),
            carry(billing, sent, request_details="{"),
            carry(billing, sent, request_context='{"a": "' + "x" * 2048 + '"}'),
            carry(billing, sent, request_details=json.dumps({"token": sent})),
            carry(graph["ledger"], first, kind=TXN, request_details='{"invoice": 18}'),
        ],
        "access_denied": [
            carry(graph["ledger"], sent),
            carry(billing, sent, "read admin"),
            carry(billing, first, kind=TXN),
            carry(graph["ledger"], first, "write", kind=TXN),
        ],
    }
    for error, answers in flaws.items():
        assert [a.json()["error"] for a in answers] == [error] * len(answers), [a.text for a in answers]


def test_it_is_an_access_token_nowhere(server, graph, handed):
    *_, other, child, _, sent = handed
    billing = graph["billing"]
    text = carried(carry(billing, sent))
    form = {"grant_type": EXCHANGE, "subject_token": text, "subject_token_type": ACCESS, "audience": RS}
    call = {"tool": "list", "arguments": {"customer": "acme"}}
    refused = [
        other.send("POST", f"/v1/tasks/{child}/calls", text, call),
        billing.send("GET", "/v1/whoami", text),
        httpx.get(f"{server.url}/v1/whoami", headers={"Authorization": f"Bearer {text}"}),
        httpx.post(f"{server.url}/v1/hooks/claude-code", json={}, headers={"Authorization": f"Bearer {text}"}),
        other.token(**form),
        accept(other, text),
        other.token(client_assertion=text),
        other.send(
            "POST",
            "/v1/tasks",
            other.token().json()["access_token"],
            {"purpose": "part", "goal": "x", "subject_token": text},
        ),
    ]
    assert all(answer.status_code in (400, 401) for answer in refused), [a.text for a in refused]

    async def app(scope, receive, send):
        raise AssertionError("let in")

    guarded = RemitASGI(app, issuer=server.url, audience=RS, tools={"GET /": "read"})
    proof = other.key.proof("GET", RS + "/", text)
    headers = {"Authorization": f"DPoP {text}", "DPoP": proof}
    assert within(guarded, "/", headers).status_code == 401


def within(app, path, headers):
    async def go():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=RS) as http:
            return await http.get(path, headers=headers)

    return asyncio.run(go())


def test_a_server_inside_lets_in_what_is_part_of_a_task(server, graph, handed):
    *_, sent = handed
    text = carried(carry(graph["billing"], sent))

    async def app(scope, receive, send):
        found = scope["remit_txn"]
        body = " ".join((found.subject, *found.path, *found.actors)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    guarded = TransactionASGI(
        app, issuer=server.url, domain=DOMAIN, tools={"GET /invoices/{id}": "read", "GET /books": "write"}
    )
    assert within(guarded, "/invoices/17", {"Txn-Token": text}).text == "agent:lead billing other lead"
    assert within(guarded, "/books", {"Txn-Token": text}).status_code == 403
    assert within(guarded, "/elsewhere", {"Txn-Token": text}).status_code == 403
    nothing = [{}, {"Txn-Token": text[:-4]}, {"Txn-Token": sent}, {"Authorization": f"Bearer {text}"}]
    nothing.append([("Txn-Token", text), ("Txn-Token", text)])
    assert [within(guarded, "/invoices/17", headers).status_code for headers in nothing] == [401] * 5
    other_domain = TransactionASGI(app, issuer=server.url, domain="elsewhere", tools={"GET /invoices/{id}": "read"})
    assert within(other_domain, "/invoices/17", {"Txn-Token": text}).status_code == 401

    async def others():
        sent = []

        async def send(message):
            sent.append(message)

        async def lifespan(scope, receive, send):
            sent.append("lifespan")

        await guarded({"type": "websocket"}, None, send)
        await TransactionASGI(lifespan, issuer=server.url, domain=DOMAIN, tools={})({"type": "lifespan"}, None, send)
        return sent

    assert asyncio.run(others()) == [{"type": "websocket.close", "code": 1008}, "lifespan"]


def test_the_client_asks_for_its_own_hop(server, handed, tmp_path):
    *_, sent = handed

    def joined(name):
        token = server.http("operator").post(f"/v1/agents/{name}/join-tokens", json={}).json()["join_token"]
        return {"url": server.url, "agent_dir": tmp_path / name, "join_token": token}

    first = remit.Remit(**joined("billing")).transaction(sent, domain=DOMAIN, scope="read", details={"invoice": 17})

    async def main():
        return await remit.AsyncRemit(**joined("ledger")).transaction(first, domain=DOMAIN, scope="read")

    second = offline(server, asyncio.run(main()))
    assert second.path == ("billing", "ledger") and second.details == {"invoice": 17}
    with pytest.raises(remit.Denied):
        remit.Remit(**joined("billing")).transaction(first, domain=DOMAIN, scope="read")
