"""A gateway process in front of real servers, and agents that come to it with tokens of their own."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from remit.domain.catalogue import ServerConfig
from remit.gateway.mcp import describe
from remit_client import AsyncRemit, mcp_http
from tests.server import CATALOGUE, REMIT, Server

HERE = Path(__file__).parent
NOTES = [sys.executable, str(HERE / "notes_server.py")]
PURPOSE = 'owner = "olga"\nagents = ["bot", "other"]\nmax_duration = "15m"\nmax_calls = 100000\n'
TOKEN = '[[credentials]]\nname = "gateway"\nissuer = "tokens"\nttl = "10m"\n'


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def described(server: Server, name: str, command: list[str]) -> dict[str, dict]:
    """Live tools by catalogue name, as `remit tool pin` says."""
    done = server.cli("tool", "pin", "--json", "--server", name, "--", *command)
    assert done.returncode == 0, done.stderr
    return {line["tool"]: line for line in map(json.loads, done.stdout.splitlines())}


async def described_at(name: str, url: str) -> dict[str, dict]:
    """The same of a server that runs."""
    found = await describe(ServerConfig(name, url=url), name)
    return {tool: {"described": described, "pin": pinned} for tool, described, pinned in found}


def catalogue(
    resource: str, servers: dict[str, str], tools: dict[str, str], granted: list[str], more: str = ""
) -> dict:
    """Files: `servers` are TOML tables, `tools` TOML by catalogue name."""
    files = dict(CATALOGUE)
    files["remit.toml"] += "".join(f"[servers.{name}]\n{text}\n" for name, text in servers.items())
    grants = "".join(f'[[grants]]\ntool = "{name}"\n' for name in granted)
    token = f'{TOKEN}grants = {{ audience = "{resource}" }}\n'
    files["purposes/work.toml"] = PURPOSE + grants + token + more
    return {**files, **{f"tools/{name}.toml": text for name, text in tools.items()}}


def tool(line: dict, effect: str = "read", more: str = "") -> str:
    """A catalogue entry as `remit tool import` would write it, without its judgement."""
    reviewed = json.dumps(line["described"])
    return f"effect = \"{effect}\"\npin = \"{line['pin']}\"\nreviewed = '''{reviewed}'''\n{more}"


@contextmanager
def gateway(server: Server, folder: Path, port: int, *options: str, **env: str) -> Iterator[subprocess.Popen]:
    """`remit gateway` on this port, with the enforcer `gate`'s key."""
    folder.mkdir(exist_ok=True)
    key = folder / "gate.key"
    key.write_text(server.keys["gate"] + "\n")
    key.chmod(0o600)
    log = (folder / "gateway.log").open("ab")
    child = subprocess.Popen(
        [REMIT, "--json", "gateway", "--port", str(port), *options],
        env=server.env(REMIT_URL=server.url, REMIT_ENFORCER_KEY_FILE=str(key), **env),
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    try:
        line = child.stdout.readline()
        assert line, (folder / "gateway.log").read_text()[-2000:]
        child.resource = json.loads(line)["resource"]
        yield child
    finally:
        child.terminate()
        code = child.wait(20)
        log.close()
        assert code in (0, -9), f"unclean shutdown: {code}"


def agent_dir(server: Server, folder: Path, name: str = "bot") -> Path:
    """A proven agent's directory."""

    async def prove():
        token = server.http("operator").post(f"/v1/agents/{name}/join-tokens", json={}).json()["join_token"]
        remit = AsyncRemit(server.url, agent_dir=folder, join_token=token)
        await remit.prove()
        await remit.close()

    asyncio.run(prove())
    return folder


@asynccontextmanager
async def at_work(server: Server, directory: Path, resource: str, *, purpose: str = "work", **options):
    """(the SDK's client at the gateway, the task)."""
    remit = AsyncRemit(server.url, agent_dir=directory)
    async with remit.task(purpose, goal="g") as task, mcp_http.client(await task.auth(resource)) as http:
        options.setdefault("read_timeout_seconds", 60)
        async with Client(streamable_http_client(resource, http_client=http), **options) as client:
            yield client, task
    await remit.close()
