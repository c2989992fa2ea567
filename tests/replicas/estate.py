"""Several real servers on one PostgreSQL, behind one address, and what can be done to each of them."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import psycopg

from remit.formats import base64url
from remit_client import AgentKey
from tests.server import Agent, Server, furnished, process

PUBLIC = "http://remit.test:7450"  # nobody listens there: clients are sent to one replica or another


class Towards(httpx.HTTPTransport):
    """Sends every request to the replica on `port()`, whatever its URL says: what a load balancer does."""

    def __init__(self, port: Callable[[], int]) -> None:
        super().__init__()
        self._port = port

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port())
        return super().handle_request(request)


@dataclass
class Replica:
    """One of them; `child` is its process."""

    port: int
    server: Server
    child: Any

    def http(self, who: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.server.keys[who]}"} if who else {}
        to = Towards(lambda: self.port)
        return httpx.Client(base_url=PUBLIC, headers=headers, transport=to, timeout=20)


@dataclass
class Estate:
    """Replicas on one database."""

    dsn: str
    folder: Path
    stack: ExitStack
    key: str = field(default_factory=lambda: base64url.encode(secrets.token_bytes(32)))
    replicas: list[Replica] = field(default_factory=list)

    def start(self, *options: str, keys: dict[str, str] | None = None) -> Replica:
        """One more replica."""
        port, name = free_port(), f"data{len(self.replicas)}"
        where = ("--port", str(port), "--database", self.dsn, "--public-url", PUBLIC)
        running = process(self.folder / name, *where, *options, REMIT_ROOT_KEY=self.key)
        server = self.stack.enter_context(running)
        server.keys.update(keys or (self.replicas[0].server.keys if self.replicas else {}))
        self.replicas.append(Replica(port, server, server.child))  # type: ignore[attr-defined]
        return self.replicas[-1]

    def furnish(self) -> Server:
        """A catalogue and everybody's keys, which all replicas know from then on."""
        first = self.replicas[0]
        keys = furnished(replace(first.server, url=f"http://127.0.0.1:{first.port}")).keys
        for one in self.replicas:
            one.server.keys = keys
        return first.server

    def agent(self, at: Replica | None = None) -> Agent:
        """An agent with a proven key, at this replica."""
        replica = at or self.replicas[0]
        with replica.http("operator") as http:
            token = http.post("/v1/agents/bot/join-tokens", json={}).json()["join_token"]
        agent = Agent(PUBLIC, "bot", AgentKey.generate(), replica.http())
        proof = agent.key.proof("POST", f"{PUBLIC}/v1/attest")
        answer = agent.http.post(f"{PUBLIC}/v1/attest", json={"join_token": token}, headers={"DPoP": proof})
        assert answer.status_code == 201, answer.text
        return agent

    def sql(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as db:
            found = db.execute(text, values)
            return found.fetchall() if found.description else []

    def holder(self) -> Replica | None:
        """Who runs the reconcilers now."""
        alive = "SELECT holder FROM turns WHERE until > extract(epoch FROM clock_timestamp()) * 1000"
        found = self.sql(alive)
        return next((one for one in self.replicas if found and found[0][0].split(":")[1] == str(one.child.pid)), None)

    def others(self, *not_these: Replica | None) -> list[Replica]:
        return [one for one in self.replicas if one not in not_these and one.child.poll() is None]


@contextmanager
def estate(postgres: Any, folder: Any) -> Iterator[Estate]:
    """An empty database, and room for replicas."""
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")
    with ExitStack() as stack:
        yield Estate(postgres.dsn(database=name), folder, stack)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def seconds_until(condition: Callable[[], Any], most: float) -> float:
    """How long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < most, "it did not happen"
        time.sleep(0.005)
    return time.monotonic() - began
