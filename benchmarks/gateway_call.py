"""One `tools/call` of the official SDK's client: to an MCP server directly, through the gateway, through a peer's proxy.

The same server, client and machine in one run; n is how many calls are under way at once. Through the gateway each
call is proved (DPoP), decided, recorded durably, read back, observed, and recorded again.
"""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
import tempfile
import textwrap
import time
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path

from measure import emit

sys.path.insert(0, str(Path(__file__).parents[1]))
import httpx
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from tests.gateway.gates import agent_dir, catalogue, described_at, free_port, gateway, tool
from tests.server import furnished, process

from remit_client import AsyncRemit, mcp_http

CALLS, ROUNDS = 48, 8
SERVER = textwrap.dedent(
    """
    import sys, uvicorn
    from mcp.server import MCPServer
    server = MCPServer("echo")
    @server.tool()
    def echo(text: str) -> str:
        "Say it again."
        return text
    @server.tool()
    def add(a: int, b: int) -> int:
        "Add."
        return a + b
    uvicorn.run(server.streamable_http_app(), port=int(sys.argv[1]), log_level="error", access_log=False)
    """
)
PROXY = textwrap.dedent(
    """
    import sys
    from fastmcp.server import create_proxy
    create_proxy(sys.argv[2]).run(transport="http", port=int(sys.argv[1]), show_banner=False, log_level="ERROR")
    """
)


@contextmanager
def running(code: str, port: int, *more: str):
    """A Python process that serves on this port."""
    child = subprocess.Popen([sys.executable, "-c", code, str(port), *more], stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                httpx.get(f"http://127.0.0.1:{port}/mcp", timeout=1)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield
    finally:
        child.terminate()
        child.wait(10)


async def timed(client: Client, at_once: int, calls: int) -> list[float]:
    """Seconds of each call."""
    samples: list[float] = []

    async def some() -> None:
        for _ in range(calls // at_once):
            began = time.perf_counter()
            result = await client.call_tool("echo", {"text": "hello"})
            assert not result.is_error and result.content[0].text == "hello", result
            samples.append(time.perf_counter() - began)

    await asyncio.gather(*(some() for _ in range(at_once)))
    return samples


async def measure(server, directory: Path, resource: str, others: dict[str, str]) -> None:
    """In turns, so that what else the machine does falls on all of them alike."""
    remit = AsyncRemit(server.url, agent_dir=directory)
    async with (
        remit.task("work", goal="g") as task,
        mcp_http.client(await task.auth(resource)) as http,
        AsyncExitStack() as stack,
    ):
        clients = {}
        for subject, url in {"direct": others.pop("direct"), "remit": resource, **others}.items():
            transport = streamable_http_client(url, http_client=http if subject == "remit" else None)
            clients[subject] = await stack.enter_async_context(Client(transport, read_timeout_seconds=60))
            await clients[subject].list_tools()
            await timed(clients[subject], 8, 16)
        for at_once in (1, 16):
            samples = {subject: [] for subject in clients}
            took = dict.fromkeys(clients, 0.0)
            for _ in range(ROUNDS):
                for subject, client in clients.items():
                    began = time.perf_counter()
                    samples[subject] += await timed(client, at_once, CALLS)
                    took[subject] += time.perf_counter() - began
            for subject in clients:
                emit("gateway.call", subject, at_once, samples[subject], len(samples[subject]) / took[subject])
    await remit.close()


def main() -> None:
    port, peer, upstream = free_port(), free_port(), free_port()
    url, resource = f"http://127.0.0.1:{upstream}/mcp", f"http://127.0.0.1:{port}/mcp"
    others = {"direct": url}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(running(SERVER, upstream))
        if importlib.util.find_spec("fastmcp") is None:
            emit("gateway.call", "fastmcp proxy", 1, note="absent: pip install fastmcp")
        else:
            stack.enter_context(running(PROXY, peer, url))
            others["fastmcp proxy"] = f"http://127.0.0.1:{peer}/mcp"
        started = stack.enter_context(process(folder / "data"))
        lines = asyncio.run(described_at("echo", url))
        tools = {name: tool(line) for name, line in lines.items()}
        server = furnished(started, catalogue(resource, {"echo": f'url = "{url}"'}, tools, list(tools)))
        stack.enter_context(gateway(server, folder / "gw", port))
        asyncio.run(measure(server, agent_dir(server, folder / "agent"), resource, others))


main()
