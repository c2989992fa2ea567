"""Traces from agent to gateway to server to store and issuer, as a real OTLP receiver gets them from real processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from tests.gateway.gates import NOTES, agent_dir, at_work, catalogue, described, free_port, gateway, tool
from tests.otlp import attributes, receiver
from tests.server import eventually, furnished, process

OURS = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{OURS}-{PARENT}-01"}
CANARY = "canary-value"


def on(url):
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "50"}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    with receiver() as found, process(tmp_path_factory.mktemp("t") / "data", **on(found.url)) as running:
        server = furnished(running)
        server.receiver = found
        yield server


def parent(span):
    return span.parent_span_id.hex()


def test_a_decision_is_one_trace_from_the_callers_span_to_the_commit(told):
    bot = told.agent()
    task, token = bot.task(goal=CANARY)
    body = {"tool": "pay", "arguments": {"customer": "acme", "invoice": 7, "amount": "5"}}
    answer = bot.send("POST", f"/v1/tasks/{task}/calls", token, body, headers=HEADERS)
    assert answer.json()["decision"] == "hold"
    (request,) = told.receiver.wait("POST /v1/tasks/{task}/calls")
    verb = told.receiver.wait("remit.call_tool")[-1]
    commit, *_ = told.receiver.wait("remit.commit", below=verb)
    assert {one.trace_id.hex() for one in (request, verb, commit)} == {OURS}
    assert parent(request) == PARENT and parent(verb) == request.span_id.hex()
    assert attributes(request) == {
        "http.request.method": "POST", "http.route": "/v1/tasks/{task}/calls", "http.response.status_code": 200,
    }  # fmt: skip
    said = attributes(verb)
    assert said["gen_ai.operation.name"] == "execute_tool" and said["gen_ai.tool.name"] == "pay"
    assert said["remit.decision"] == "hold" and said["remit.reasons"] == ["needs_approval"]
    assert said["remit.approval"] == answer.json()["approval"]["id"] and said["remit.task"] == task
    kept = attributes(commit)
    assert kept["remit.event"] == "AccessDecided" and kept["remit.event.number"] > 0
    assert kept["db.system.name"] == "sqlite"
    # The log's event names the same trace.
    found = eventually(
        lambda: told.http("anna").get(f"/v1/log/search?q=AccessDecided {task}").json()["items"], lambda rows: rows
    )
    assert found[0]["trace"] == OURS


def test_a_kill_much_later_is_linked_to_what_asked_for_it_and_to_what_ended_it(told):
    bot = told.agent()
    task, token = bot.task()
    bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "rs"}, headers=HEADERS)
    asked = told.receiver.wait("POST /v1/tasks/{task}/credentials")[-1]
    mint = told.receiver.wait("remit.mint jwt")[-1]
    assert mint.trace_id.hex() == OURS and attributes(mint)["remit.task"] == task
    assert bot.send("POST", f"/v1/tasks/{task}/end", token, {"reason": CANARY}).status_code == 200
    kill = told.receiver.wait("remit.kill jwt")[-1]
    ended = told.receiver.wait("POST /v1/tasks/{task}/end")[-1]
    assert kill.trace_id.hex() not in (OURS, ended.trace_id.hex()) and not kill.parent_span_id
    assert [link.trace_id.hex() for link in kill.links] == [OURS, ended.trace_id.hex()]
    assert [link.span_id for link in kill.links] == [asked.span_id, ended.span_id]
    assert attributes(kill)["remit.lease"] == attributes(mint)["remit.lease"]


def test_a_refusal_has_its_code_and_nobodys_words(told):
    bot = told.agent()
    _, token = bot.task()
    answer = bot.send("POST", f"/v1/tasks/{CANARY}/calls", token, {"tool": "list", "arguments": {}}, headers=HEADERS)
    assert answer.status_code == 404
    calls = lambda: [attributes(one) for one in told.receiver.named("POST /v1/tasks/{task}/calls")]  # noqa: E731
    (refused,) = eventually(lambda: [one for one in calls() if one["http.response.status_code"] == 404], bool)
    assert refused["error.type"].startswith("RMT-")
    for bad in ("garbage", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "00-" + OURS + "-x-01", "é"):
        assert told.http("anna").get("/v1/log", headers={"traceparent": bad.encode()}).status_code == 200


def test_no_secret_is_in_any_span(told):
    """Goals, arguments, reasons, keys, tokens, credentials: pushed through above, and here."""
    bot = told.agent()
    task, token = bot.task(goal=f"pay {CANARY}")
    arguments = {"customer": "acme", "x": CANARY}
    bot.send("POST", f"/v1/tasks/{task}/calls", token, {"tool": "list", "arguments": arguments})
    shown = bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "shown"}).json()["parts"]
    told.http("operator").put("/v1/secrets/other", json={"value": CANARY})
    bot.send("POST", f"/v1/tasks/{task}/observations", token, {"tool": "list", "content": CANARY})
    bot.send("GET", f"/v1/tasks?goal={CANARY}", token)
    told.receiver.wait("PUT /v1/secrets/{secret}")
    for secret in (CANARY, token, *shown.values(), *told.keys.values(), "canary"):
        assert secret.encode() not in told.receiver.raw, secret[:12]
    assert len(told.receiver.raw) > 2000


def test_through_a_gateway_it_is_still_one_trace(tmp_path):
    port = free_port()
    with receiver() as found, process(tmp_path / "data", **on(found.url)) as running:
        lines = described(running, "notes", [*NOTES, str(tmp_path)])
        tools = {name: tool(line) for name, line in lines.items() if name == "notes.read_note"}
        servers = {"notes": f"command = {[*NOTES, str(tmp_path)]}"}
        server = furnished(running, catalogue(f"http://127.0.0.1:{port}/mcp", servers, tools, list(tools)))
        with gateway(server, tmp_path / "gate", port, **on(found.url)) as child:

            async def main():
                where = agent_dir
                folder = await asyncio.to_thread(where, server, tmp_path / "agent")
                async with at_work(server, folder, child.resource) as (client, _):
                    await client.call_tool("read_note", {"name": CANARY})

            asyncio.run(main())
            (asked,) = found.wait("execute_tool read_note")
            (mine,) = found.wait("POST /v1/tasks/{task}/calls", below=asked)
            assert mine.trace_id == asked.trace_id
            assert CANARY.encode() not in found.raw
            assert {of for of, span in found.spans if span.trace_id == asked.trace_id} == {"remit", "remit-gateway"}


def test_a_receiver_that_is_not_there_delays_nothing(tmp_path):
    with process(tmp_path / "data", **on("http://127.0.0.1:9")) as running:
        bot = furnished(running).agent()
        task, token = bot.task()
        assert bot.call(task, token)["decision"] == "permit"


def test_off_it_is_not_even_imported(server):
    code = (
        "import sys, asyncio, pathlib, tempfile\n"
        "from remit.roots.server import Settings, open_house\n"
        "async def main():\n"
        "    async with open_house(Settings(data=pathlib.Path(tempfile.mkdtemp()))) as house:\n"
        "        assert house.tracing is None\n"
        "asyncio.run(main())\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
