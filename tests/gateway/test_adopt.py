"""From a file that somebody left lying about to a call that was decided: scan, adopt, plan, apply, and a real client."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from mcp import Client, StdioServerParameters, stdio_client

from tests.server import REMIT, eventually, process

from .gates import free_port, gateway

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with process(tmp_path_factory.mktemp("adopt") / "data") as started:
        yield started


def cli(server, *words, folder, code=0, **env):
    done = subprocess.run(
        [REMIT, *words],
        env=server.env(REMIT_URL=server.url, **env),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def tree(folder: Path, program: str, *more: str, env: dict | None = None) -> Path:
    root = folder / "repo"
    (root / ".cursor").mkdir(parents=True)
    entry = {"command": sys.executable, "args": [str(HERE / program), *more], **({"env": env} if env else {})}
    (root / ".cursor/mcp.json").write_text(json.dumps({"mcpServers": {"notes": entry}}))
    return root


def test_a_configuration_that_was_found_works_through_an_enforcement_point(running, tmp_path):
    """And `watch` lets happen, and records, what the default policy would hold."""
    root = tree(tmp_path, "notes_server.py", str(tmp_path))
    (found,) = json.loads(cli(running, "scan", "--own", "--json", str(root), folder=tmp_path).stdout)["things"]
    adopted = cli(
        running,
        "adopt",
        found["id"],
        "--in",
        str(root),
        "--into",
        "catalogue",
        "--start",
        "--owner",
        "olga",
        "--json",
        folder=tmp_path,
    )
    assert set(json.loads(adopted.stdout)["files"]) >= {
        "remit.toml", "agents/cursor.toml", "purposes/cursor.toml", "tools/notes.read_note.toml", "tools/notes.delete_note.toml"
    }  # fmt: skip
    planned = cli(running, "plan", "catalogue", folder=tmp_path).stdout
    assert "+ agent cursor" in planned and "+ server notes" in planned and "+ tool notes.read_note" in planned
    cli(running, "apply", "catalogue", folder=tmp_path)
    token = cli(running, "agent", "invite", "cursor", folder=tmp_path).stdout.strip()
    env = running.env(REMIT_URL=running.url, REMIT_AGENT_DIR=str(tmp_path / "agent"), REMIT_JOIN_TOKEN=token)
    command = ["mcp", "--purpose", "cursor", "--goal", "read it", "--server", "notes", "--", sys.executable]
    front = StdioServerParameters(command=REMIT, args=[*command, str(HERE / "notes_server.py"), str(tmp_path)], env=env)

    async def main():
        async with Client(stdio_client(front), read_timeout_seconds=60) as client:
            listed = {tool.name for tool in (await client.list_tools()).tools}
            read = await client.call_tool("read_note", {"name": "monday"})
            gone = await client.call_tool("delete_note", {"name": "monday"})
            return listed, read.content[0].text, gone.content[0].text

    listed, read, gone = asyncio.run(main())
    assert {"read_note", "delete_note", "unreviewed"} <= listed
    assert read == "note monday REMIT=False" and gone == "deleted monday"
    shutil.rmtree(tmp_path / "catalogue")
    cli(running, "adopt", ".cursor/mcp.json", "--in", str(root), "--into", "catalogue", "--start", "--owner", "olga",
        "--observed", "cursor", folder=tmp_path)  # fmt: skip
    purpose = (tmp_path / "catalogue/purposes/cursor.toml").read_text()
    assert purpose.count("[[grants]]") == 2, "what was used, and nothing else"
    assert "notes.read_note" in purpose and "notes.delete_note" in purpose


def test_the_server_has_its_secret_through_a_gateway_and_no_file_has(running, tmp_path):
    secret = "t0ps3cr3t-9Zr4Qw8"
    root = tree(tmp_path, "secret_server.py", env={"API_TOKEN": secret})
    port = free_port()
    resource = f"http://127.0.0.1:{port}/mcp"
    words = ["adopt", ".cursor/mcp.json", "--in", str(root), "--into", "catalogue", "--start", "--owner", "olga"]
    done = cli(running, *words, "--gateway", resource, "--name", "desk", "--json", folder=tmp_path)
    written = "".join(path.read_text() for path in (tmp_path / "catalogue").rglob("*.toml"))
    assert secret not in written + done.stdout + done.stderr
    assert "remit secret put notes-api-token" in json.loads(done.stdout)["next"]
    purpose, encode = tmp_path / "catalogue/purposes/desk.toml", tmp_path / "catalogue/tools/notes.encode.toml"
    encode.unlink()  # as if the server had one more than anybody reviewed
    purpose.write_text(purpose.read_text().replace('[[grants]]\ntool = "notes.encode"\n', ""))
    cli(running, "apply", "catalogue", folder=tmp_path)
    subprocess.run(
        [REMIT, "secret", "put", "notes-api-token"],
        input=secret,
        text=True,
        check=True,
        env=running.env(REMIT_URL=running.url),
    )
    running.keys["gate"] = (
        running.http("operator").post("/v1/keys", json={"kind": "enforcer", "name": "gate"}).json()["key"]
    )
    token = cli(running, "agent", "invite", "desk", folder=tmp_path).stdout.strip()
    env = running.env(REMIT_URL=running.url, REMIT_AGENT_DIR=str(tmp_path / "agent"), REMIT_JOIN_TOKEN=token)
    command = ["mcp", "--purpose", "desk", "--goal", "look", "--gateway", resource]

    async def main():
        async with Client(
            stdio_client(StdioServerParameters(command=REMIT, args=command, env=env)), read_timeout_seconds=60
        ) as client:
            listed = [tool.name for tool in (await client.list_tools()).tools]
            used = await client.call_tool("use", {"name": "x"})
            leaked = await client.call_tool("leak", {"name": "x"})
            return listed, used.content[0].text, str(leaked)

    with gateway(running, tmp_path / "gw", port):
        assert httpx.post(resource, json={}).status_code == 401
        listed, used, leaked = asyncio.run(main())
        http = running.http("operator")
        shadows = eventually(
            lambda: {one["name"]: one["kind"] for one in http.get("/v1/shadows").json()["items"]},
            lambda found: len(found) > 1,
        )
    assert shadows == {"notes.encode": "tool", "127.0.0.1": "caller"}
    assert {"use", "leak"} <= set(listed)
    assert used.startswith(sha256(secret.encode()).hexdigest()) and secret not in leaked
