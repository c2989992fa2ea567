"""A real centre, a real edge, and a link between them that can be cut."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from tests.edge.link import Link, free_port, link
from tests.server import CATALOGUE, PLAIN, REMIT, Agent, Server, eventually, furnished, process

MAIL = """
effect = "read"
resource = "mail/{box}"
output_trust = "untrusted"
[arguments.box]
type = "text"
"""
SEND = """
effect = "write"
resource = "customer/{customer}"
[arguments.customer]
type = "text"
[arguments.to]
type = "text"
matters = true
"""


def catalogue(url: str, *, stale: str = "2s", more: str = "") -> dict[str, str]:
    """The usual one, with an edge, and a tool whose recipient must not come from an untrusted mail."""
    files = dict(CATALOGUE)
    files["remit.toml"] += f'\n[edges.east]\nurl = "{url}"\nowner = "olga"\nstale_after = "{stale}"\n{more}\n'
    return files


@dataclass
class Edge:
    """One edge process, and where its agents reach it."""

    name: str
    url: str
    data: Path
    child: subprocess.Popen[str] | None = None
    key: str = ""
    env: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        port = self.url.rpartition(":")[2]
        clean = {k: v for k, v in os.environ.items() if not k.startswith("REMIT_")}
        log = self.data.with_suffix(".log").open("ab")
        self.child = subprocess.Popen(
            [REMIT, "--json", "edge", "run", "--data", str(self.data), "--port", port],
            env={**clean, **self.env},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        log.close()
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        assert line, self.said()
        self.key = Path(json.loads(line)["operator_key"]).read_text().strip()

    def said(self) -> str:
        return self.data.with_suffix(".log").read_text()[-3000:]

    def kill(self) -> None:
        assert self.child is not None
        self.child.send_signal(signal.SIGKILL)
        self.child.wait(10)

    def stop(self) -> int:
        assert self.child is not None
        self.child.terminate()
        return self.child.wait(20)

    def pause(self) -> None:
        assert self.child is not None
        self.child.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.child is not None
        self.child.send_signal(signal.SIGCONT)

    def http(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=20, verify=PLAIN)

    def status(self) -> dict[str, Any]:
        with self.http() as http:
            answer = http.get("/v1/edge")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ready(self) -> bool:
        return httpx.get(f"{self.url}/readyz", verify=PLAIN).status_code == 200

    def fresh(self, seconds: float = 10) -> None:
        eventually(self.ready, bool, seconds)

    def log(self) -> list[dict[str, Any]]:
        """Every event of its own log."""
        return entries(self.http())


def entries(http: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with http:
        while page := http.get("/v1/log/entries", params={"start": len(found)}).text.splitlines():
            found += map(json.loads, page)
    return found


@dataclass
class Estate:
    """All of it. `centre` is reached by agents directly, by the edge over `link`."""

    centre: Server
    link: Link
    edge: Edge

    def agent(self, name: str = "bot") -> Agent:
        return self.centre.agent(name)

    def at_edge(self, agent: Agent) -> Agent:
        """The same agent, which calls the edge."""
        return replace(agent, url=self.edge.url)

    def home(self, task: str) -> str:
        with self.centre.http("operator") as http:
            return http.get(f"/v1/tasks/{task}").json()["home"]

    def revoke(self, task: str) -> float:
        """End it at the centre; returns when that was acknowledged."""
        with self.centre.http("operator") as http:
            answer = http.post(f"/v1/tasks/{task}/end", json={"reason": "enough"})
        assert answer.status_code == 200, answer.text
        return time.monotonic()

    def reported(self) -> None:
        """Everything that the edge has in its log has been taken in."""
        with self.edge.http() as http:
            time.sleep(0.25)  # until what was committed has its place
            size = http.get("/v1/log").json()["size"]
        eventually(self.edge.status, lambda said: said["reported"] >= size)


def enrolled(centre: Server, where: Link, data: Path, url: str, name: str = "east") -> Edge:
    """Make the edge's key at the centre, and enrol it."""
    with centre.http("operator") as http:
        answer = http.post("/v1/keys", json={"kind": "edge", "name": name})
    assert answer.status_code == 201, answer.text
    key = data.with_suffix(".key")
    key.write_text(answer.json()["key"] + "\n")
    done = centre.cli(
        "edge", "enrol", name, "--centre", where.url, "--key-file", str(key), "--data", str(data), "--json"
    )
    assert done.returncode == 0, done.stderr
    return Edge(name, url, data)


@contextmanager
def estate(
    tmp: Path,
    *,
    stale: str = "2s",
    files: dict[str, str] | None = None,
    more: str = "",
    at_edge: dict[str, str] | None = None,
    **env: str,
) -> Iterator[Estate]:
    """A centre and an edge that is fresh; environment variables of both, and of the one `at_edge`."""
    url = f"http://127.0.0.1:{free_port()}"
    with process(tmp / "centre", **env) as centre:
        furnished(centre, {**catalogue(url, stale=stale, more=more), **(files or {})})
        with link(int(centre.url.rpartition(":")[2])) as between:
            edge = enrolled(centre, between, tmp / "edge", url)
            edge.env = at_edge or {}
            edge.start()
            try:
                edge.fresh()
                yield Estate(centre, between, edge)
            finally:
                between.heal()
                if edge.child is not None and edge.child.poll() is None:
                    edge.go_on()
                    edge.stop()
