"""`remit egress` between agents and real HTTP origins."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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
        files = catalogue(f"http://127.0.0.1:{port}", tools)
        server = furnished(running, files)
        server.files = files
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


def logged(house):
    time.sleep(0.3)  # the sequencer's turn
    done = house.cli("log", "show", "--json", "--limit", "500", REMIT_URL=house.url)
    assert done.returncode == 0, done.stderr
    return [(found["type"], found["data"]) for found in map(json.loads, done.stdout.splitlines())]


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
    about = [kind for kind, data in logged(house) if data.get("tool") == "refund"]
    assert about == ["AccessDecided", "ResultObserved"]


def test_paths_and_queries_are_arguments_and_the_most_specific_template_is_meant(house):
    async def conversation(http, task):
        at = f"/{house.origin.authority}"
        for path, sent in (
            ("/v1/customers/me", "/v1/customers/me"),
            ("/v1/customers/acme", "/v1/customers/acme"),
            ("/v1/customers/a%20b%3Ac", "/v1/customers/a%20b:c"),
            ("/v1/find?q=a%26b+c", "/v1/find?q=a%26b%20c"),
            ("/raw/a/b%20c/d.txt", "/raw/a/b%20c/d.txt"),
        ):
            answer = await http.get(at + path)
            assert answer.status_code == 200, answer.text
            assert house.origin.said[-1][0] == f"GET {sent} HTTP/1.1"
        head = await http.get(f"/{house.other.authority}/open")
        assert head.status_code == 200 and "Authorization" not in dict(house.other.said[-1][1])

    talk(house, conversation)


def decided(house):
    return [data for kind, data in logged(house) if kind == "AccessDecided"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/customers/ME"),  # another tool's, for a server that ignores case
        ("GET", "/V1/customers/acme"),
        ("GET", "/v1/customers/acme/"),
        ("GET", "/v1/customers"),
        ("PUT", "/v1/customers/acme"),
        ("GET", "/v1/secret"),
        ("GET", "/v1/customers/acme?expand=all"),
        ("GET", "/v1/find?q=a&q=b"),
        ("GET", "/v1/find"),
    ],
)
def test_what_is_no_reviewed_call_is_denied_and_recorded(house, method, path):
    sent, before = len(house.origin.said), len(decided(house))

    async def conversation(http, task):
        answer = await http.request(method, f"/{house.origin.authority}{path}")
        assert answer.status_code == 403 and answer.headers["remit-decision"] == "deny", answer.text
        assert answer.json()["reasons"][0] in ("tool_unknown", "bad_arguments") and answer.json()["detail"]

    talk(house, conversation)
    assert len(house.origin.said) == sent
    event = decided(house)[before:]
    assert [e["decision"] for e in event] == ["deny"], event


def test_an_origin_that_no_tool_has_is_denied_and_recorded(house):
    async def conversation(http, task):
        answer = await http.get("/evil.example/v1/x")
        assert answer.status_code == 403 and "evil.example" in answer.json()["detail"]

    talk(house, conversation)
    assert decided(house)[-1]["tool"] == "GET //evil.example"


def test_a_held_request_says_who_must_agree_and_passes_once_when_they_did(house):
    async def conversation(http, task):
        at = f"/{house.origin.authority}/v1/things/7"
        held = await http.delete(at)
        assert held.status_code == 403 and held.headers["remit-decision"] == "hold" and held.headers["retry-after"]
        approval = held.json()["approval"]
        assert "finance" in held.json()["detail"] and approval["url"] in held.json()["detail"]
        assert not house.origin.saw("DELETE /v1/things/7")
        frank = house.http("frank")
        shown = frank.get(f"/v1/approvals/{approval['id']}").json()
        frank.post(f"/v1/approvals/{approval['id']}/answer", json={"digest": shown["digest"], "yes": True})
        other = await http.delete(f"/{house.origin.authority}/v1/things/8")
        assert other.json()["approval"]["id"] != approval["id"]
        assert (await http.delete(at)).status_code == 200
        again = await http.delete(at)
        assert again.headers["remit-decision"] == "hold"

    talk(house, conversation)
    assert [line for line, _, _ in house.origin.said].count("DELETE /v1/things/7 HTTP/1.1") == 1


def test_redirects_are_given_and_never_followed(house):
    other = f"{house.other.origin}/steal"
    house.origin.answers |= {
        "/v1/customers/far": (302, [("Location", other)], b""),
        "/v1/customers/near": (307, [("Location", f"{house.origin.origin}/v1/customers/me")], b""),
        "/v1/customers/path": (307, [("Location", "/v1/customers/me")], b""),
    }

    async def conversation(http, task):
        at = f"/{house.origin.authority}"
        assert (await http.get(f"{at}/v1/customers/far")).headers["location"] == other
        for name in ("near", "path"):
            answer = await http.get(f"{at}/v1/customers/{name}")
            assert answer.headers["location"] == f"{house.resource}{at}/v1/customers/me"

    talk(house, conversation)
    assert not house.other.saw("/steal") and not house.other.saw(house.secret)


def test_what_an_origin_answers_is_scrubbed(house):
    basic = base64.b64encode(house.secret.encode()).decode()
    house.origin.answers |= {
        "/v1/customers/cookie": (
            200,
            [("Set-Cookie", "s=1"), ("Remit-Decision", "hold"), ("X-Echo", house.secret), ("ETag", house.secret),
             ("Content-Type", "text/plain"), ("Connection", "keep-alive, x-odd"), ("X-Odd", "1"), ("X-Request-Id", "7")],
            b"fine",
        ),
        "/v1/customers/echo": (200, [("Content-Type", "text/plain")], f"you sent {house.secret}".encode()),
        "/v1/customers/echo64": (200, [("Content-Type", "text/plain")], f"you sent {basic}".encode()),
        "/v1/customers/zip": (200, [("Content-Encoding", "gzip")], b"\x1f\x8b"),
        "/v1/customers/long": (200, [("Content-Type", "text/plain")], b"x" * 1_100_000),
        "/v1/customers/odd": (199, [], b""),
        "/raw/late": (
            200, [("Content-Type", "image/png")], b"\x89" * 1_500_000 + house.secret.encode() + b"\x89" * 1_500_000,
        ),
        "/raw/picture": (200, [("Content-Type", "image/png")], b"\x89PNG" * 700_000),
    }  # fmt: skip

    async def conversation(http, task):
        at = f"/{house.origin.authority}"
        answer = await http.get(f"{at}/v1/customers/cookie")
        assert answer.text == "fine" and answer.headers["remit-decision"] == "permit"
        assert answer.headers["x-request-id"] == "7" and not {"set-cookie", "x-echo", "etag", "x-odd"} & set(
            answer.headers
        )
        for name in ("echo", "echo64", "zip", "long"):
            answer = await http.get(f"{at}/v1/customers/{name}")
            assert answer.status_code == 502 and answer.headers["remit-decision"] == "withheld", name
            assert house.secret not in answer.text and basic not in answer.text
        assert (await http.get(f"{at}/raw/picture")).content == b"\x89PNG" * 700_000
        with pytest.raises(httpx.RemoteProtocolError):
            async with http.stream("GET", f"{at}/raw/late") as late:
                found = bytearray()
                async for chunk in late.aiter_bytes():
                    found += chunk
        assert house.secret[:8].encode() not in found

    talk(house, conversation)


def test_nothing_is_given_that_was_not_recorded(house):
    """The task ends while the origin thinks: what it says then is for nobody."""
    started, go = threading.Event(), threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self):
            started.set()
            go.wait(20)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"late news")

        def log_message(self, *args):
            pass

    slow = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=slow.serve_forever, daemon=True).start()
    files = dict(house.files)
    files["tools/open.toml"] = READ + http_table(
        f"http://127.0.0.1:{slow.server_address[1]}", "GET", "/open", credential=""
    )
    assert house.http("operator").post("/v1/catalogue", json={"files": files}).status_code == 200
    time.sleep(1.2)

    async def conversation(http, task):
        asking = asyncio.create_task(http.get(f"/127.0.0.1:{slow.server_address[1]}/open"))
        assert await asyncio.to_thread(started.wait, 10)
        await task.end("enough", settled=False)
        go.set()
        answer = await asking
        assert (
            answer.status_code == 502 and b"late news" not in answer.content and "recorded" in answer.json()["detail"]
        )

    try:
        talk(house, conversation)
    finally:
        slow.shutdown()
        house.http("operator").post("/v1/catalogue", json={"files": house.files})
        time.sleep(1.2)


def test_a_route_that_changes_in_between_is_denied_until_it_is_known(house):
    """The egress maps by the old catalogue, Remit decides by the new one: the pin differs."""

    async def conversation(http, task):
        at = f"/{house.other.authority}/open"
        assert (await http.get(at)).status_code == 200
        files = {
            **house.files,
            "tools/open.toml": house.files["tools/open.toml"].replace('path = "/open"', 'path = "/shut"'),
        }
        assert house.http("operator").post("/v1/catalogue", json={"files": files}).status_code == 200
        answer = await http.get(at)
        assert answer.status_code == 403 and answer.json()["reasons"] == ["tool_changed"], answer.text
        assert (await http.get(at)).json()["reasons"] == ["tool_unknown"]
        assert (await http.get(f"/{house.other.authority}/shut")).status_code == 200

    try:
        talk(house, conversation)
    finally:
        house.http("operator").post("/v1/catalogue", json={"files": house.files})
        time.sleep(1.2)


def test_a_retired_secret_is_used_no_more(house):
    async def conversation(http, task):
        at = f"/{house.origin.authority}/v1/customers/acme"
        assert (await http.get(at)).status_code == 200
        assert dict(house.origin.said[-1][1])["Authorization"] == f"Bearer {house.secret}"
        operator = house.http("operator")
        fresh = "sk-fresh-" + "y" * 20
        assert operator.put("/v1/secrets/stripe", json={"value": fresh}).status_code == 204
        old = sorted(v["number"] for v in operator.get("/v1/secrets/stripe").json()["versions"])[-2]
        answer = operator.post("/v1/secrets/stripe/retire", json={"number": old, "reason": "old"})
        assert answer.status_code == 200, answer.text
        for _ in range(50):
            await asyncio.sleep(0.2)
            assert (await http.get(at)).status_code == 200
            if dict(house.origin.said[-1][1])["Authorization"] == f"Bearer {fresh}":
                break
        else:
            raise AssertionError("still the old one")
        house.secret = fresh

    talk(house, conversation)


def test_without_remit_nothing_is_sent(house, tmp_path_factory):
    sent = len(house.origin.said)
    with process(tmp_path_factory.mktemp("gone") / "data") as running:
        port = free_port()
        server = furnished(running, catalogue(f"http://127.0.0.1:{port}", {"me": house.files["tools/me.toml"]}))
        folder = tmp_path_factory.mktemp("gone-gate")

        async def main():
            remit = AsyncRemit(server.url, agent_dir=agent_dir_async)
            async with remit.task("work", goal="g") as task:
                auth = await task.auth(f"http://127.0.0.1:{port}")
                running.child.kill()
                async with httpx.AsyncClient(auth=auth, trust_env=False, timeout=40) as http:
                    answer = await http.get(f"http://127.0.0.1:{port}/{house.origin.authority}/v1/customers/me")
                assert answer.status_code == 503 and answer.headers["remit-decision"] == "unavailable", answer.text
                raise KeyError  # the task cannot be ended

        agent_dir_async = agent_dir(server, folder / "agent")
        with egress(server, folder, port), pytest.raises((KeyError, Exception)):
            asyncio.run(main())
    assert len(house.origin.said) == sent
