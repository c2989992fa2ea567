"""A real server in a process of its own, with a catalogue, people, and agents that speak the protocol by hand."""

from __future__ import annotations

import json
import os
import secrets
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from remit_client import AgentKey

T = TypeVar("T")
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nothing here speaks TLS, and a full one takes 30 ms to make
REMIT = os.environ.get("REMIT_TEST_SERVER") or str(Path(sys.executable).parent / "remit")
COMMAND = [REMIT]  # of the servers: a test may put another version there
AHEAD = """
import time
true = time.time_ns
time.time_ns = lambda: true() + {} * 10**9
from remit.main import main
main()
"""
CATALOGUE = {
    "remit.toml": """
[people.dana]
groups = ["billing"]
[people.frank]
groups = ["finance"]
[people.olga]
[edges.west]
url = "https://west.example"
owner = "olga"
[issuers.tokens]
kind = "jwt"
[issuers.box]
kind = "static"
[receivers.hub]
audience = "hub"
everything = true
[directories.hr]
""",
    "agents/bot.toml": 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n',
    "agents/lead.toml": 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n',
    "agents/other.toml": 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n',
    "purposes/pay.toml": """
owner = "olga"
agents = ["bot"]
max_duration = "15m"
max_calls = 100000
max_sensitivity = "confidential"
[parameters.customer]
pattern = "[a-z]+"
[[grants]]
tool = "list"
resource = "customer/{customer}"
[[grants]]
tool = "pay"
resource = "customer/{customer}/*"
[[credentials]]
name = "rs"
issuer = "tokens"
ttl = "10m"
grants = { audience = "https://rs.example", scope = ["read"] }
[[credentials]]
name = "shown"
issuer = "box"
ttl = "10m"
reveal = true
grants = { secret = "stripe" }
""",
    "purposes/whole.toml": """
owner = "olga"
agents = ["lead"]
max_duration = "10m"
max_calls = 20
max_depth = 1
[parameters.customer]
pattern = "[a-z]+"
[[grants]]
tool = "list"
resource = "customer/{customer}"
[[credentials]]
name = "rs"
issuer = "tokens"
ttl = "10m"
grants = { audience = "https://rs.example", scope = ["read"] }
[[delegations]]
agents = ["other"]
purposes = ["part"]
max_calls = 8
fan_out = 3
""",
    "purposes/part.toml": """
owner = "olga"
agents = ["other"]
max_duration = "1h"
max_calls = 50
[parameters.customer]
pattern = "[a-z]+"
[[grants]]
tool = "list"
resource = "customer/{customer}"
[[grants]]
tool = "pay"
resource = "customer/{customer}/*"
[[credentials]]
name = "rs"
issuer = "tokens"
ttl = "10m"
grants = { audience = "https://rs.example", scope = ["read"] }
""",
    "tools/list.toml": """
effect = "read"
resource = "customer/{customer}"
output_trust = "trusted"
[arguments.customer]
type = "text"
""",
    "tools/pay.toml": """
effect = "irreversible"
resource = "customer/{customer}/{invoice}"
[arguments.customer]
type = "text"
[arguments.invoice]
type = "integer"
[arguments.amount]
type = "decimal"
""",
    "policies/default.cedar": """
@id("within") permit (principal, action, resource);
@id("hold-irreversible") @control("ASI02") @approvers("finance") @says("{tool} cannot be undone")
forbid (principal, action in Remit::Action::"call", resource)
when { resource.effect == "irreversible" } unless { context.approved };
""",
}


@dataclass
class Server:
    """Where it is, and everybody's keys."""

    url: str
    data: Path
    keys: dict[str, str] = field(default_factory=dict)

    def http(self, who: str = "") -> httpx.Client:
        """A client with somebody's bearer key, or none."""
        headers = {"Authorization": f"Bearer {self.keys[who]}"} if who else {}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=40, verify=PLAIN)

    def env(self, **more: str) -> dict[str, str]:
        """For the CLI and for agents."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("REMIT_")}
        return {**clean, "REMIT_DATA": str(self.data), **more}

    def cli(self, *words: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        return subprocess.run(
            [REMIT, *words], env=self.env(**env), capture_output=True, text=True, input=stdin, check=False
        )

    def agent(self, name: str = "bot") -> Agent:
        """An agent with a proven key."""
        token = self.http("operator").post(f"/v1/agents/{name}/join-tokens", json={}).json()["join_token"]
        agent = Agent(self.url, name, AgentKey.generate())
        proof = agent.key.proof("POST", f"{self.url}/v1/attest")
        answer = httpx.post(f"{self.url}/v1/attest", json={"join_token": token}, headers={"DPoP": proof}, verify=PLAIN)
        assert answer.status_code == 201, answer.text
        return agent


class Once:
    """A connection for each request, as `httpx.get` and its like make one."""

    def request(self, method: str, url: str, **more: Any) -> httpx.Response:
        with httpx.Client(trust_env=False, verify=PLAIN) as http:
            return http.request(method, url, **more)

    def get(self, url: str, **more: Any) -> httpx.Response:
        return self.request("GET", url, **more)

    def post(self, url: str, **more: Any) -> httpx.Response:
        return self.request("POST", url, **more)


@dataclass
class Agent:
    """The agent's side of the wire, written out, so that tests do not lean on our own client."""

    url: str
    name: str
    key: AgentKey
    http: Any = field(default_factory=Once)  # or a client, whose connections stay

    def token(
        self, details: dict[str, Any] | None = None, key: AgentKey | None = None, **fields: str
    ) -> httpx.Response:
        """POST /oauth/token."""
        key = key or self.key
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": self.key.assertion(self.name, self.url),
            **fields,
        }
        if details is not None:
            form["authorization_details"] = json.dumps([details])
        return self.http.post(
            f"{self.url}/oauth/token", data=form, headers={"DPoP": key.proof("POST", f"{self.url}/oauth/token")}
        )

    def task(self, **more: Any) -> tuple[str, str]:
        """(task id, its token)."""
        details = {"type": "pay", "goal": "pay it", "parameters": {"customer": "acme"}, **more}
        answer = self.token(details)
        assert answer.status_code == 200, answer.text
        return answer.json()["authorization_details"][0]["task"], answer.json()["access_token"]

    def send(
        self, method: str, path: str, token: str, body: Any = None, *, key: AgentKey | None = None, **more: Any
    ) -> httpx.Response:
        """A request bound to the key."""
        proof = (key or self.key).proof(method, self.url + path.partition("?")[0], token)
        headers = {"Authorization": f"DPoP {token}", "DPoP": proof, **more.pop("headers", {})}
        return self.http.request(method, self.url + path, json=body, headers=headers, timeout=40, **more)

    def call(
        self, task: str, token: str, tool: str = "list", arguments: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """One decision."""
        body = {"tool": tool, "arguments": {"customer": "acme"} if arguments is None else arguments}
        answer = self.send("POST", f"/v1/tasks/{task}/calls", token, body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@contextmanager
def process(data: Path, *options: str, ahead: int = 0, **env: str) -> Iterator[Server]:
    """`remit up` on a free port; with its clock `ahead` of ours (seconds)."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("REMIT_")}
    remit = [sys.executable, "-c", AHEAD.format(ahead)] if ahead else COMMAND
    command = [*remit, "--json", "up", "--data", str(data), "--port", "0", *options]
    log = data.with_suffix(".log").open("ab")
    child = subprocess.Popen(command, env={**clean, **env}, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line, data.with_suffix(".log").read_text()[-2000:]
        server = Server(json.loads(line)["url"], data)
        server.keys["operator"] = (data / "operator.key").read_text().strip()
        server.child = child  # type: ignore[attr-defined]
        yield server
    finally:
        child.terminate()
        code = child.wait(20)
        log.close()
        assert code in (0, -9), f"unclean shutdown: {code}: {data.with_suffix('.log').read_text()[-2000:]}"


def furnished(server: Server, files: dict[str, str] | None = None) -> Server:
    """Apply the catalogue, make everybody's keys, seal a secret."""
    http = server.http("operator")
    answer = http.post("/v1/catalogue", json={"files": files or CATALOGUE})
    assert answer.status_code == 200, answer.text
    for kind, name in (
        ("person", "dana"),
        ("person", "frank"),
        ("person", "olga"),
        ("auditor", "anna"),
        ("enforcer", "gate"),
        ("edge", "west"),
    ):
        if kind == "edge" and "[edges." not in (files or CATALOGUE)["remit.toml"]:
            continue
        server.keys[name] = http.post("/v1/keys", json={"kind": kind, "name": name}).json()["key"]
    assert http.put("/v1/secrets/stripe", json={"value": f"canary-{secrets.token_hex(4)}"}).status_code == 204
    return server


def eventually(look: Callable[[], T], good: Callable[[T], bool], seconds: float = 10) -> T:
    """What is seen once it is as it should be: the log follows what is done by some milliseconds."""
    until = time.monotonic() + seconds
    while True:
        try:
            found = look()
            if good(found):
                return found
        except (IndexError, KeyError):
            if time.monotonic() > until:
                raise
        assert time.monotonic() < until, found
        time.sleep(0.02)
