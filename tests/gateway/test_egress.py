"""`remit egress` between agents and real HTTP origins."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from remit_client import AsyncRemit
from tests.server import furnished, process

from .egresses import READ, REFUND, Origin, arguments, catalogue, egress, http_table
from .gates import agent_dir, free_port


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    port, origin, other = free_port(), Origin(), Origin()
    at = origin.origin
    tools = {
        "refund": REFUND + http_table(at, "POST", "/v1/customers/{customer}/refunds", more='body = "json"\n'),
        "customer": READ + arguments("customer") + http_table(at, "GET", "/v1/customers/{customer}"),
        "me": READ + http_table(at, "GET", "/v1/customers/me"),
        "find": READ + arguments("q") + http_table(at, "GET", "/v1/find", more='query = ["q"]\n'),
        "wipe": 'effect = "irreversible"\n' + arguments("id") + http_table(at, "DELETE", "/v1/things/{id}"),
        "file": READ + arguments("path") + http_table(at, "GET", "/raw/{path...}"),
        "open": READ + http_table(other.origin, "GET", "/open", credential=""),
    }
    with process(tmp_path_factory.mktemp("egress") / "data") as running:
        server = furnished(running, catalogue(f"http://127.0.0.1:{port}", tools))
        server.secret = "sk-canary-7f3a/+" + "x" * 20
        assert server.http("operator").put("/v1/secrets/stripe", json={"value": server.secret}).status_code == 204
        folder = tmp_path_factory.mktemp("gate")
        with egress(server, folder, port, "--wait", "0") as child:
            server.resource, server.egress, server.origin, server.other, server.port = (
                child.resource, child, origin, other, port,
            )  # fmt: skip
            server.folder, server.agent_dir = folder, agent_dir(server, folder / "agent")
            yield server
    origin.close()
    other.close()


def talk(house, conversation):
    async def main():
        remit = AsyncRemit(house.url, agent_dir=house.agent_dir)
        async with remit.task("work", goal="g") as task:
            auth = await task.auth(house.resource)
            async with httpx.AsyncClient(auth=auth, base_url=house.resource, trust_env=False, timeout=40) as http:
                await conversation(http, task)
        await remit.close()

    asyncio.run(main())


def test_a_request_is_decided_sent_with_the_credential_observed_and_given(house):
    async def conversation(http, task):
        body = {"amount": "12.50", "note": "zu spät"}
        answer = await http.post(f"/{house.origin.authority}/v1/customers/acme/refunds", json=body)
        assert answer.status_code == 200 and answer.json() == {"path": "/v1/customers/acme/refunds"}, answer.text
        assert answer.headers["remit-decision"] == "permit"
        line, headers, sent = house.origin.said[-1]
        assert line == "POST /v1/customers/acme/refunds HTTP/1.1" and b'"amount":"12.50"' in sent
        sent_headers = dict(headers)
        assert sent_headers["Authorization"] == f"Bearer {house.secret}" and "DPoP" not in sent_headers
        seen = await task.get(f"/v1/tasks/{task.id}")
        assert seen["calls"] == 1

    talk(house, conversation)
    events = [e for e in house.cli("log", "show", "--json", REMIT_URL=house.url).stdout.splitlines() if "refund" in e]
    assert [("AccessDecided" in e, "ResultObserved" in e) for e in events[-2:]] in (
        [(True, False), (False, True)], [(False, True), (True, False)],
    ), events  # fmt: skip
