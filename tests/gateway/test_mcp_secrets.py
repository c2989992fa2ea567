"""`remit mcp --secret`: the server behind it uses what the agent never sees, as long as its lease is live."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest
from mcp import Client, MCPError, StdioServerParameters, stdio_client

from tests.server import CATALOGUE, REMIT, furnished, process

VAULT = [sys.executable, str(Path(__file__).parent / "secret_server.py")]
CANARY = 'canary-"quoted"-ü-4f1d'
TOOLS = ("use", "leak", "fail", "encode")
PURPOSE = """
owner = "olga"
agents = ["bot"]
max_duration = "15m"
max_calls = 1000
[[credentials]]
name = "api"
issuer = "box"
ttl = "10m"
grants = { secret = "api-token" }
"""


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    with process(tmp_path_factory.mktemp("vault") / "data") as running:
        described = running.cli("tool", "pin", "--json", "--server", "vault", "--", *VAULT)
        pins = {line["tool"]: line["pin"] for line in map(json.loads, described.stdout.splitlines())}
        grants = "".join(f'[[grants]]\ntool = "vault.{name}"\n' for name in TOOLS)
        files = {**CATALOGUE, "purposes/use-api.toml": PURPOSE + grants}
        for name in TOOLS:
            text = f'effect = "read"\npin = "{pins["vault." + name]}"\n[arguments.name]\ntype = "text"\n'
            files[f"tools/vault.{name}.toml"] = text
        server = furnished(running, files)
        assert server.http("operator").put("/v1/secrets/api-token", json={"value": CANARY}).status_code == 204
        yield server


@pytest.fixture
def env(vault, tmp_path):
    token = vault.http("operator").post("/v1/agents/bot/join-tokens", json={}).json()["join_token"]
    key = tmp_path / "gate.key"
    key.write_text(vault.keys["gate"] + "\n")
    key.chmod(0o600)
    return vault.env(
        REMIT_URL=vault.url,
        REMIT_AGENT_DIR=str(tmp_path / "agent"),
        REMIT_JOIN_TOKEN=token,
        REMIT_ENFORCER_KEY_FILE=str(key),
    )


WORDS = ["mcp", "--purpose", "use-api", "--goal", "g", "--server", "vault", "--secret", "API_TOKEN=api", "--", *VAULT]


def talk(env, conversation, log):
    async def main():
        front = StdioServerParameters(command=REMIT, args=WORDS, env=env)
        with log.open("w") as errors:
            async with Client(stdio_client(front, errlog=errors), read_timeout_seconds=30) as client:
                return await conversation(client)

    return asyncio.run(main())


def test_the_server_has_it_and_the_agent_never_sees_it(vault, env, tmp_path):
    log = tmp_path / "stderr"

    async def conversation(client):
        listed = await client.list_tools()
        used = await client.call_tool("use", {"name": "x"})
        assert used.content[0].text.startswith(sha256(CANARY.encode()).hexdigest() + " []")
        leaked = await client.call_tool("leak", {"name": "x"})
        failed = await client.call_tool("fail", {"name": "x"})
        assert leaked.is_error and "answered with a secret" in leaked.content[0].text
        seen = [listed.model_dump_json(), *(r.model_dump_json() for r in (used, leaked, failed))]
        assert not any(spelling in text for text in seen for spelling in (CANARY, json.dumps(CANARY)[1:-1], "4f1d"))
        encoded = await client.call_tool("encode", {"name": "x"})
        assert not encoded.is_error  # the documented limit: only the value itself is found

    talk(env, conversation, log)
    leases = [x for x in vault.http("operator").get("/v1/leases").json()["items"] if x["credential"] == "api"]
    assert leases and leases[-1]["holds"] == "api-token/1" and leases[-1]["agent"] == "bot"
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        states = {x["state"] for x in vault.http("operator").get("/v1/leases").json()["items"]}
        if states == {"ended"}:
            break
        time.sleep(0.1)
    assert states == {"ended"}  # with its task
    data = vault.data.with_suffix(".log").read_text() + log.read_text()
    assert "4f1d" not in data


def test_the_agents_own_token_is_refused_for_it(vault):
    bot = vault.agent()
    task, token = bot.task(type="use-api", parameters={})
    refused = bot.send("POST", f"/v1/tasks/{task}/credentials", token, {"credential": "api"})
    assert refused.status_code == 403 and "never shown" in refused.json()["detail"] and "4f1d" not in refused.text
    gate = vault.http("gate").post(f"/v1/tasks/{task}/credentials", json={"credential": "api"})
    assert gate.status_code == 201 and gate.json()["parts"] == {"value": CANARY}
    for who in ("dana", "operator", "anna"):
        answer = vault.http(who).post(f"/v1/tasks/{task}/credentials", json={"credential": "api"})
        assert answer.status_code == 403
    bot.send("POST", f"/v1/tasks/{task}/end?wait=settled", token, {"reason": ""})
    over = vault.http("gate").post(f"/v1/tasks/{task}/credentials", json={"credential": "api"})
    assert over.status_code == 403 and over.json()["reasons"] == ["task_not_open"]


def test_retiring_the_version_stops_the_server_that_holds_it(vault, env, tmp_path):
    http, log = vault.http("operator"), tmp_path / "stderr"

    async def conversation(client):
        used = await client.call_tool("use", {"name": "x"})
        pid = int(used.content[0].text.rsplit(" ", 1)[1])
        number = http.get("/v1/secrets/api-token").json()["versions"][-1]["number"]
        http.put("/v1/secrets/api-token", json={"value": CANARY})
        http.post("/v1/secrets/api-token/retire", json={"number": number})
        deadline = time.monotonic() + 15
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        assert not Path(f"/proc/{pid}").exists()
        with pytest.raises((MCPError, Exception)):
            async with asyncio.timeout(5):
                await client.call_tool("use", {"name": "x"})

    talk(env, conversation, log)
    assert "its server was stopped" in log.read_text()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda key, env: env.pop("REMIT_ENFORCER_KEY_FILE"), "own key"),
        (lambda key, env: key.chmod(0o644), "chmod 600"),
        (lambda key, env: key.unlink(), "cannot be read"),
        (lambda key, env: key.write_text("key_person_x"), "no enforcement point's key"),
        (lambda key, env: key.write_text("key_enforcer_" + "0" * 32), "not valid"),
    ],
)
def test_without_a_key_of_its_own_nothing_starts(vault, env, tmp_path, spoil, said):
    import subprocess

    spoil(tmp_path / "gate.key", env)
    done = subprocess.run([REMIT, *WORDS], env=env, capture_output=True, text=True, timeout=60, check=False, input="")
    assert done.returncode == 4 and said in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_a_credential_the_purpose_does_not_offer(env):
    import subprocess

    words = [word.replace("API_TOKEN=api", "API_TOKEN=nothing") for word in WORDS]
    done = subprocess.run([REMIT, *words], env=env, capture_output=True, text=True, timeout=60, check=False, input="")
    assert done.returncode == 3 and "offers: api" in done.stderr
    usage = subprocess.run(
        [REMIT, *["=" if w == "API_TOKEN=api" else w for w in WORDS]],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert usage.returncode == 2
