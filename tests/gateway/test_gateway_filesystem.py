"""The MCP project's own filesystem server, unmodified, behind the gateway: the task says which files, not its command."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys

import mcp_types as types
import pytest
from mcp import Client, StdioServerParameters, stdio_client

from tests.server import furnished, process

from .gates import agent_dir, at_work, catalogue, free_port, gateway
from .test_gateway_conformance import FOLDER, NODE

TIME = json.dumps([sys.executable, "-m", "mcp_server_time", "--local-timezone", "UTC"])
SERVER = FOLDER / "node_modules/@modelcontextprotocol/server-filesystem/dist/index.js"

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    if not (NODE.exists() and SERVER.exists()):
        said = "needs the filesystem server: make mcp-conformance"
        pytest.fail(said) if os.environ.get("REMIT_NEEDS_CONFORMANCE") else pytest.skip(said)
    folder, port = tmp_path_factory.mktemp("files").resolve(), free_port()
    for name in ("open", "closed"):
        (folder / "files" / name).mkdir(parents=True)
        (folder / "files" / name / "a.txt").write_text(f"this is {name}")
    command = json.dumps([str(NODE), str(SERVER), str(folder / "files")])
    resource = f"http://127.0.0.1:{port}/mcp"
    with process(folder / "data") as running:
        servers = {"files": f"command = {command}", "time": f"command = {TIME}"}
        server = furnished(running, catalogue(resource, servers, {}, []))
        for name in servers:
            done = server.cli("tool", "import", "--server", name, "--into", str(folder / "drafts"))
            assert done.returncode == 0, done.stderr
        drafts = {path.stem: path.read_text() for path in (folder / "drafts" / "tools").iterdir()}
        for name in drafts:
            if name.endswith((".read_text_file", ".list_allowed_directories")):
                drafts[name] = re.sub('effect = "[a-z]+"', 'effect = "read"', drafts[name])
            if name.endswith(".write_file"):
                drafts[name] = re.sub('effect = "[a-z]+"', 'effect = "irreversible"', drafts[name])
        files = catalogue(resource, servers, drafts, ["files.list_allowed_directories"])
        where = f"where.path = {{ matching = '{folder}/files/open/[a-z]+[.]txt' }}\n"
        for name in ("files.read_text_file", "files.write_file"):
            files["purposes/work.toml"] += f'[[grants]]\ntool = "{name}"\n{where}'
        assert server.http("operator").post("/v1/catalogue", json={"files": files}).status_code == 200
        with gateway(server, folder / "gw", port, "--wait", "0"):
            server.resource, server.agent_dir = resource, agent_dir(server, folder / "agent")
            server.files = folder / "files"
            yield server


def talk(gate, conversation, **options):
    async def main():
        async with at_work(gate, gate.agent_dir, gate.resource, **options) as (client, task):
            return await conversation(client, task)

    return asyncio.run(main())


def reasons(result):
    return result.structured_content["remit"].get("reasons") or result.structured_content["remit"]["decision"]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_task_says_which_files(gate, mode):
    async def conversation(client, task):
        async def call(tool, path, **more):
            return await client.call_tool(f"files__{tool}", {"path": str(path), **more})

        read = await call("read_text_file", gate.files / "open" / "a.txt")
        assert not read.is_error and "this is open" in read.content[0].text
        for path in (
            gate.files / "closed" / "a.txt",
            f"{gate.files}/open/../closed/a.txt",
            f"{gate.files}/open/./../closed/a.txt",
            f"{gate.files}/open\n/a.txt",
            "/etc/passwd",
            "",
        ):
            refused = await call("read_text_file", path)
            assert refused.is_error and "this is closed" not in str(refused.content), path
        assert reasons(await call("read_text_file", gate.files / "closed" / "a.txt")) == ["out_of_scope"]
        assert reasons(await call("read_text_file", f"{gate.files}/open/../closed/a.txt")) == ["out_of_scope"]
        move = {"source": str(gate.files / "open" / "a.txt"), "destination": str(gate.files / "open" / "c.txt")}
        assert reasons(await client.call_tool("files__move_file", move)) == ["out_of_scope"]
        held = await call("write_file", gate.files / "open" / "b.txt", content="x")
        assert reasons(held) == "hold" and not (gate.files / "open" / "b.txt").exists()
        frank, approval = gate.http("frank"), held.structured_content["remit"]["approval"]["id"]
        digest = frank.get(f"/v1/approvals/{approval}").json()["digest"]
        assert frank.post(f"/v1/approvals/{approval}/answer", json={"digest": digest, "yes": True}).status_code == 200
        written = await call("write_file", gate.files / "open" / "b.txt", content="x")
        assert not written.is_error and (gate.files / "open" / "b.txt").read_text() == "x"
        label = gate.http("operator").get(f"/v1/tasks/{task.id}").json()["label"]
        assert label["trust"] == "untrusted" and "files.read_text_file" in label["sources"]

    talk(gate, conversation, mode=mode)
    (gate.files / "open" / "b.txt").unlink(missing_ok=True)


def test_an_agent_cannot_widen_what_the_server_opens(gate):
    """This server takes a client's roots as the directories it may open, instead of those of its command."""

    async def roots(ctx):
        return types.ListRootsResult(roots=[types.Root(uri="file:///etc")])

    async def directly():
        there = stdio_client(StdioServerParameters(command=str(NODE), args=[str(SERVER), str(gate.files)]))
        async with Client(there, mode="legacy", list_roots_callback=roots, read_timeout_seconds=20) as client:
            await asyncio.sleep(0.5)
            return (await client.call_tool("list_allowed_directories", {})).content[0].text

    assert "/etc" in asyncio.run(directly())  # the control

    async def conversation(client, task):
        for _ in range(2):
            told = (await client.call_tool("files__list_allowed_directories", {})).content[0].text
            assert "/etc" not in told and str(gate.files) in told
            await asyncio.sleep(0.5)  # it asks for roots some time after it was greeted

    talk(gate, conversation, mode="legacy", list_roots_callback=roots)
