"""An egress process between agents and origins that remember every byte they were sent."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from remit.formats.interception_ca import InterceptionCa
from tests.server import CATALOGUE, REMIT, Server

PURPOSE = 'owner = "olga"\nagents = ["bot", "other"]\nmax_duration = "15m"\nmax_calls = 100000\nmax_sensitivity = "confidential"\n'
KEY = '[[credentials]]\nname = "api"\nissuer = "box"\nttl = "10m"\ngrants = { secret = "stripe" }\n'
REFUND = """
effect = "write"
resource = "customer/{customer}/refunds"
output_trust = "trusted"
[arguments.customer]
type = "text"
[arguments.amount]
type = "decimal"
[arguments.note]
type = "text"
required = false
"""
READ = 'effect = "read"\noutput_trust = "trusted"\n'


class Origin:
    """`said` holds (request line, header list, body) of every request; `answers` what is said by path."""

    def __init__(self, ca: InterceptionCa | None = None) -> None:
        self.said: list[tuple[str, list[tuple[str, str]], bytes]] = []
        self.answers: dict[str, tuple[int, list[tuple[str, str]], bytes]] = {}
        origin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                origin.said.append((self.requestline, list(self.headers.items()), body))
                default = (200, [("Content-Type", "application/json")], json.dumps({"path": self.path}).encode())
                status, headers, data = origin.answers.get(self.path.partition("?")[0], default)
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _any  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if ca is not None:
            self._server.socket = ca.context("localhost").wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.origin = f"https://localhost:{self.port}" if ca else f"http://127.0.0.1:{self.port}"
        self.authority = self.origin.partition("://")[2]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def saw(self, text: str) -> bool:
        return text in repr(self.said)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def http_table(origin: str, method: str, path: str, *, credential: str = "api", more: str = "") -> str:
    cred = f'credential = "{credential}"\n' if credential else ""
    return (
        f'[http]\norigin = "{origin}"\nmethod = "{method}"\npath = "{path}"\nallow_private_network = true\n{cred}{more}'
    )


def arguments(*names: str) -> str:
    return "".join(f'[arguments.{name}]\ntype = "text"\n' for name in names)


def catalogue(resource: str, tools: dict[str, str], more: str = "") -> dict[str, str]:
    files = dict(CATALOGUE)
    grants = "".join(f'[[grants]]\ntool = "{name}"\n' for name in tools)
    token = (
        f'[[credentials]]\nname = "egress"\nissuer = "tokens"\nttl = "10m"\ngrants = {{ audience = "{resource}" }}\n'
    )
    files["purposes/work.toml"] = PURPOSE + grants + KEY + token + more
    return {**files, **{f"tools/{name}.toml": text for name, text in tools.items()}}


def key_file(server: Server, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    key = folder / "gate.key"
    key.write_text(server.keys["gate"] + "\n")
    key.chmod(0o600)
    return key


@contextmanager
def egress(server: Server, folder: Path, port: int, *options: str, **env: str) -> Iterator[subprocess.Popen]:
    """`remit egress` on this port."""
    key, log = key_file(server, folder), (folder / "egress.log").open("ab")
    child = subprocess.Popen(
        [REMIT, "--json", "egress", "--port", str(port), *options],
        env=server.env(REMIT_URL=server.url, REMIT_ENFORCER_KEY_FILE=str(key), **env),
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    try:
        line = child.stdout.readline()
        assert line, (folder / "egress.log").read_text()[-2000:]
        child.resource = json.loads(line)["resource"]
        yield child
    finally:
        child.terminate()
        code = child.wait(20)
        log.close()
        assert code in (0, -9), f"unclean shutdown: {code}"


def raw(port: int, data: bytes, patience: float = 10) -> bytes:
    """Exactly these bytes, and what came back until the end or a silence."""
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as line:
        line.sendall(data)
        found, until = b"", time.monotonic() + patience
        while time.monotonic() < until:
            line.settimeout(0.7 if found else patience)
            try:
                chunk = line.recv(65536)
            except (TimeoutError, ConnectionResetError):
                break
            if not chunk:
                break
            found += chunk
        return found


SHOWS = "import os,time,sys; print(os.environ['HTTP_PROXY'], os.environ['API'], flush=True); time.sleep(600)"


@contextmanager
def inside(server: Server, folder: Path, base: str, *options: str, **env: str) -> Iterator[tuple[int, str]]:
    """A program of one task that has told us its proxy: (port, secret), to speak to it byte by byte."""
    key, log = key_file(server, folder), (folder / "run.log").open("ab")
    child = subprocess.Popen(
        [REMIT, "egress", "--purpose", "work", "--goal", "g", "--base", f"API={base}", *options,
         "--", sys.executable, "-c", SHOWS],
        env=server.env(
            REMIT_URL=server.url, REMIT_ENFORCER_KEY_FILE=str(key), REMIT_AGENT_DIR=str(server.agent_dir), **env
        ),
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )  # fmt: skip
    try:
        line = child.stdout.readline()
        assert line, (folder / "run.log").read_text()[-2000:]
        proxy, address = line.split()
        _, secret, port = proxy.removeprefix("http://").replace("@127.0.0.1", "").split(":")
        assert address == f"http://127.0.0.1:{port}/{secret}/{base.partition('://')[2]}"
        yield int(port), secret
    finally:
        child.terminate()
        assert child.wait(20) == 143
        log.close()
