"""The gateway in front of somebody else's protected MCP server: a token for each task, and nothing of the agent's."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.oauth_house import AuthorizationServer, NotesServer
from tests.server import REMIT, furnished, process

from .gates import agent_dir, at_work, catalogue, free_port, gateway, tool

CRM = '[[credentials]]\nname = "crm"\nissuer = "crm"\nttl = "10m"\ngrants = { scope = ["notes.read"] }\n'
REVIEW = """
owner = "olga"
agents = ["bot"]
max_duration = "15m"
max_calls = 10
[[credentials]]
name = "crm"
issuer = "crm"
ttl = "5m"
reveal = true
grants = { scope = ["notes.read"] }
"""


def issuer(resource, more=""):
    return f'[issuers.crm]\nkind = "oauth"\nresource = "{resource}"\nallow_private_network = true\n{more}'


def connected(server, name, agreeing):
    """`remit issuer connect`, with a person at a browser; returns what it said."""
    command = [REMIT, "issuer", "connect", name]
    child = subprocess.Popen(command, env=server.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    address = next((line.strip() for line in child.stderr if line.startswith("http")), "")
    if address:
        at = parse_qs(urlsplit(address).query)["redirect_uri"][0]
        for stranger in (f"{at}?code=evil&state=guessed", f"{at}?code=evil", f"{at}x?state=", at):
            assert httpx.get(stranger, trust_env=False).status_code == 404  # and it goes on listening
        httpx.get(agreeing(address), trust_env=False)
    out, errors = child.communicate(timeout=30)
    return child.returncode, out + errors


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("oauth"), free_port()
    theirs = AuthorizationServer()
    notes = NotesServer(theirs)
    with process(folder / "data") as running:
        resource = f"http://127.0.0.1:{port}/mcp"
        files = catalogue(resource, {}, {}, [])
        files["remit.toml"] += issuer(notes.resource)
        files["purposes/review.toml"] = REVIEW
        server = furnished(running, files)
        code, said = connected(server, "crm", theirs.agreed)
        assert code == 0 and "notes.read" in said, said
        server.files, server.theirs, server.notes, server.folder, server.resource = (
            files,
            theirs,
            notes,
            folder,
            resource,
        )
        review(server)
        with gateway(server, folder / "gw", port) as child:
            server.gateway = child
            server.bot = agent_dir(server, folder / "bot")
            yield server
        said = (folder / "gw" / "gateway.log").read_text() + (folder / "data.log").read_text()
        assert not any(token in said for token in theirs.accounts.grants | theirs.accounts.access), said[-2000:]
        assert "Traceback" not in said, said[-3000:]
    notes.close()
    theirs.close()


def review(server):
    """An operator reviews the server's tools with a token of a task of their own, as the how-to says."""
    bot = server.agent()
    task, token = bot.task(type="review", parameters={})
    answer = bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "crm"})
    assert answer.status_code == 201, answer.text
    files = dict(server.files)
    files["remit.toml"] += f'[servers.crm]\nurl = "{server.notes.resource}"\ncredential = "crm"\n'
    http = server.http("operator")
    assert http.post("/v1/catalogue", json={"files": files}).status_code == 200
    done = server.cli(
        "tool", "pin", "--json", "--server", "crm", MCP_SERVER_TOKEN=answer.json()["parts"]["access_token"]
    )
    assert done.returncode == 0, done.stderr
    lines = {line["tool"]: line for line in map(json.loads, done.stdout.splitlines())}
    refused = server.cli("tool", "pin", "--json", "--server", "crm")
    assert refused.returncode == 1 and "credential" in refused.stderr
    bot.send("POST", f"/v1/tasks/{task}/end?wait=settled", token, {"reason": ""})
    tools = {name: tool(line) for name, line in lines.items()}
    files = catalogue(server.resource, {}, tools, list(tools), CRM)
    files["remit.toml"] += (
        issuer(server.notes.resource) + f'[servers.crm]\nurl = "{server.notes.resource}"\ncredential = "crm"\n'
    )
    files["purposes/review.toml"] = REVIEW
    answer = http.post("/v1/catalogue", json={"files": files})
    assert answer.status_code == 200, answer.text
    server.files = files


def talk(gate, conversation, **options):
    async def main():
        async with at_work(gate, gate.bot, gate.resource, **options) as (client, task):
            return await conversation(client, task)

    return asyncio.run(main())


def test_each_task_has_its_own_token_and_it_dies_with_the_task(gate):
    gate.notes.said.clear()
    seen = []

    async def conversation(client, task):
        answer = await client.call_tool("whose", {})
        assert answer.content[0].text == "dana notes.read", answer
        seen.append(set(gate.notes.tokens()))
        live = gate.theirs.accounts.live()
        assert len(live) == 1
        return live[0], (await task.auth(gate.resource))

    first, _ = talk(gate, conversation)
    second, _ = talk(gate, conversation)
    assert first != second and seen[1] == {f"Bearer {first}", f"Bearer {second}"}
    deadline = time.monotonic() + 10
    while gate.theirs.accounts.live() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert gate.theirs.accounts.live() == []  # revoked there, long before they would have expired


def test_the_server_never_sees_the_agents_token_nor_the_authorization_server_ours(gate):
    """Captured at both: what came in is DPoP, bound to the agent; what goes out was minted by somebody else."""
    gate.notes.said.clear()
    gate.theirs.said.clear()

    async def conversation(client, task):
        await client.call_tool("whose", {})

    talk(gate, conversation)
    heard = [headers for _, _, headers, _ in gate.notes.said]
    assert heard and all(headers.get("authorization", "").startswith("Bearer at-") for headers in heard)
    assert not any("dpop" in headers or "cookie" in headers for headers in heard)
    forms = [parse_qs(b"".join(body).decode()) for _, path, _, body in gate.theirs.said if path == "/token"]
    assert forms and all(
        form["resource"] == [gate.notes.resource] and form["scope"] == ["notes.read"] for form in forms
    )
    assert not any("subject_token" in form or "eyJ" in str(form) for form in forms)  # nothing of ours is passed on
    assert not any(path != "/token" and path != "/revoke" for _, path, _, _ in gate.theirs.said)  # nobody asks who else


def test_a_token_for_this_server_is_refused_by_another_and_the_other_way_round(gate):
    other = NotesServer(gate.theirs)
    try:

        async def conversation(client, task):
            await client.call_tool("whose", {})
            token = gate.theirs.accounts.live()[0]
            headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
            body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
            with httpx.Client(trust_env=False) as http:
                answers = [
                    http.post(one.resource, json=body, headers=headers).status_code for one in (gate.notes, other)
                ]
                gateway_said = http.post(gate.resource, json=body, headers=headers).status_code
            assert answers[0] != 401 and answers[1] == 401 and gateway_said == 401

        talk(gate, conversation)
    finally:
        other.close()


def test_a_server_that_wants_more_is_told_of_and_nothing_is_widened(gate):
    """RFC 6750 section 3.1 `insufficient_scope`: the agent is told what is missing; no token is asked for with more."""
    gate.theirs.said.clear()

    async def conversation(client, task):
        await client.call_tool("whose", {})
        gate.notes.demand = "notes.write"
        try:
            answer = await client.call_tool("whose", {})
        finally:
            gate.notes.demand = ""
        assert (
            answer.is_error and "wants the scope notes.write, which this purpose's credential" in answer.content[0].text
        )

    talk(gate, conversation)
    forms = [parse_qs(b"".join(body).decode()) for _, path, _, body in gate.theirs.said if path == "/token"]
    assert {form["scope"][0] for form in forms} == {"notes.read"}


def test_a_token_that_ends_early_ends_its_session_and_the_next_call_gets_another(gate):
    gate.theirs.accounts.life = 3
    try:

        async def conversation(client, task):
            await client.call_tool("whose", {})
            before = set(gate.notes.tokens())
            await asyncio.sleep(5)
            answer = await client.call_tool("whose", {})
            assert answer.content[0].text == "dana notes.read"
            assert gate.notes.tokens() - before

        talk(gate, conversation)
    finally:
        gate.theirs.accounts.life = 300


def test_the_agent_itself_gets_no_token_of_it(gate):
    bot = gate.agent()
    task, token = bot.task(type="work", parameters={})
    refused = bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "crm"})
    assert refused.status_code == 403 and "never shown" in refused.json()["detail"]


def test_the_catalogue_refuses_a_server_that_its_credential_is_not_for(gate):
    files = dict(gate.files)
    files["remit.toml"] = files["remit.toml"].replace(
        f'url = "{gate.notes.resource}"', 'url = "https://evil.example/mcp"'
    )
    answer = gate.http("operator").post("/v1/catalogue", json={"files": files})
    assert answer.status_code == 400 and "is for" in answer.json()["detail"], answer.text
    assert "evil.example" in answer.json()["detail"]


def test_disconnected_every_session_ends_and_nothing_more_is_minted(gate):
    async def conversation(client, task):
        await client.call_tool("whose", {})
        done = gate.cli("issuer", "disconnect", "crm", "--json")
        assert json.loads(done.stdout)["state"] == "ending"
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if json.loads(gate.cli("issuer", "show", "crm", "--json").stdout)["state"] == "ended":
                break
            await asyncio.sleep(0.1)
        assert gate.theirs.accounts.live() == [] and gate.theirs.accounts.refresh == {}

    talk(gate, conversation)
    task, _ = gate.agent().task(type="work", parameters={})
    refused = gate.http("gate").post(f"/v1/tasks/{task}/credentials", json={"credential": "crm"})
    assert refused.status_code == 503 and "connected no more" in refused.json()["detail"]
    assert refused.json()["next_step"] == "An operator connects it: remit issuer connect crm"
    nobody = gate.cli("issuer", "connect", "crm", "--seconds", "1")
    assert nobody.returncode == 5 and "nobody answered" in nobody.stderr
    begun = json.loads(gate.cli("issuer", "connect", "crm", "--no-input", "--json").stdout)
    wrong = gate.cli("issuer", "connect", "crm", "--paste", stdin="http://127.0.0.1:1/callback?code=x&state=guessed\n")
    assert wrong.returncode == 1 and "state" in wrong.stderr and begun["asked"] == ["notes.read"]
    code, said = connected(gate, "crm", gate.theirs.agreed)
    assert code == 0, said
    assert "crm" in gate.cli("issuer", "list").stdout

    async def again(client, task):
        return (await client.call_tool("whose", {})).content[0].text

    assert talk(gate, again) == "dana notes.read"
