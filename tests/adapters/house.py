"""A real server, an agent with an open task, and a real proxy in between that can be slow, mute, absurd or gone."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx

import remit_client as remit
from tests.server import CATALOGUE, REMIT, furnished, process

# What no text for a model may hold: a policy's id, a control's, a file's.
INSIDE = ("hold-irreversible", "rule-77", "ASI02", "ASI77", "within", ".cedar")
FILES = {
    **CATALOGUE,
    "purposes/pay.toml": CATALOGUE["purposes/pay.toml"]
    + '[[grants]]\ntool = "wipe"\nresource = "customer/{customer}"\n',
    "tools/wipe.toml": 'effect = "write"\nresource = "customer/{customer}"\n[arguments.customer]\ntype = "text"\n',
    "policies/more.cedar": (
        '@id("rule-77") @control("ASI77") forbid (principal, action in Remit::Action::"call", resource) '
        'when { resource.effect == "write" };\n'
    ),
}
SECRET_RESULT = "invoices of acme: 17"


class Wire:
    """A forward proxy (RFC 9112 section 3.2.2) that does to a request whatever `mode` says."""

    def __init__(self) -> None:
        wire = self
        self.mode = "pass"
        self.seen: list[tuple[str, dict[str, str]]] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                wire.answer(self)

            do_POST = do_GET  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def front(self, url: str) -> str:
        """An address of ours behind which is that server, for what takes no proxy."""
        self._behind = url
        return self.url

    def answer(self, asked):
        body = asked.rfile.read(int(asked.headers.get("Content-Length", 0)))
        target = urlsplit(asked.path if "://" in asked.path else self._behind + asked.path)
        self.seen.append((target.path, dict(asked.headers)))
        asks = target.path.endswith(("/calls", "/observations", "/hooks/claude-code"))
        match self.mode if asks else "pass":
            case "down":
                asked.connection.shutdown(socket.SHUT_RDWR)
                asked.close_connection = True
                return
            case "slow":
                time.sleep(4)
            case "drip":  # a byte now and then, so that no socket timeout ever ends it
                asked.connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                for _ in range(40):
                    time.sleep(0.1)
                    asked.connection.sendall(b"a")
                asked.close_connection = True
                return
            case "garbage":
                self._say(asked, 200, b'{"decision": "perm')
                return
            case "absurd":
                self._say(asked, 200, b'{"decision": "PERMIT", "why": []}')
                return
            case "deaf-hook" if b"PostToolUse" in body:
                self._say(asked, 503, b'{"detail": "no", "code": "RMT-1503"}')
                return
            case "deaf" if target.path.endswith("/observations"):
                self._say(asked, 503, b'{"detail": "no", "code": "RMT-1503"}')
                return
        upstream = http.client.HTTPConnection(target.hostname, target.port, timeout=40)
        headers = {k: v for k, v in asked.headers.items() if k.lower() not in ("proxy-connection", "connection")}
        path = target.path + (f"?{target.query}" if target.query else "")
        try:
            upstream.request(asked.command, path, body, headers)
        except OSError:  # a late one, when the server is gone already
            asked.close_connection = True
            return
        answer = upstream.getresponse()
        self._say(asked, answer.status, answer.read(), answer.getheader("Content-Type", ""))
        upstream.close()

    def _say(self, asked, status, body, kind="application/json"):
        with contextlib.suppress(BrokenPipeError):  # whoever asked has gone
            self._send(asked, status, body, kind)

    def _send(self, asked, status, body, kind):
        asked.send_response(status)
        asked.send_header("Content-Type", kind)
        asked.send_header("Content-Length", str(len(body)))
        asked.end_headers()
        asked.wfile.write(body)

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class House:
    """One server for many tests; each opens a task of its own."""

    def __init__(self, server, folder) -> None:
        self.server = server
        self.server_binary = Path(REMIT)
        self.wire = Wire()
        self._folder = folder
        token = server.http("operator").post("/v1/agents/bot/join-tokens", json={}).json()["join_token"]
        self.client = remit.Remit(
            server.url,
            agent_dir=folder / "agent",
            join_token=token,
            http=httpx.Client(proxy=self.wire.url, trust_env=False),
        )
        self.client.prove()

    @contextmanager
    def task(self):
        self.wire.mode = "pass"
        with self.client.task("pay", goal="pay it", customer="acme") as task:
            yield task
            self.wire.mode = "pass"

    def answer(self, approval, yes=True, who="frank"):
        http = self.server.http(who)
        shown = http.get(f"/v1/approvals/{approval}").json()
        found = http.post(f"/v1/approvals/{approval}/answer", json={"digest": shown["digest"], "yes": yes})
        assert found.status_code == 200, found.text

    def spent(self, task):
        return self.server.http("operator").get(f"/v1/tasks/{task.id}").json()["calls"]

    def log(self):
        """Every event that is sequenced, when what just happened is among them."""
        http = self.server.http("operator")
        before = -1
        while (size := http.get("/v1/log").json()["size"]) != before:
            before = size
            time.sleep(0.3)
        return [json.loads(line) for line in http.get("/v1/log/entries").text.splitlines()]


@contextmanager
def house(folder, files=None):
    """Up, furnished, and gone again."""
    with process(folder / "data") as running:
        opened = House(furnished(running, files or FILES), folder)
        yield opened
        opened.wire.close()
