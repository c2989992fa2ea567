"""Witnesses of the log: `aics-witness` (PyPI, Python 3.12 and above) where it is installed, and one of our own.

Ours follows C2SP tlog-witness to the letter as far as `add-checkpoint` goes, and has what it cosigns on the disk before it
answers. It shares no code with `formats/tlog_witness.py`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from remit.domain.errors import ProofInvalid
from remit.log.merkle import verify_consistency
from tests.sinks import free_port

AICS = Path(os.environ.get("REMIT_TEST_WITNESS", ".venv/witness/bin/aics-witness")).absolute()


def key_id(name, kind, public):
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


class Witness:
    """`knows` is the state: size and root by origin. `key` is its vkey, `asked` every request."""

    def __init__(self, folder, name, log_key, *, clock=time.time):
        self.folder, self.name, self.clock, self.asked = Path(folder), name, clock, []
        origin, _, encoded = log_key.split("+", 2)
        self.origin, self.log_public = origin, base64.b64decode(encoded)[1:]
        self._key = Ed25519PrivateKey.generate()
        self._public = self._key.public_key().public_bytes_raw()
        self._id = key_id(name, 4, self._public)
        self.key = f"{name}+{self._id.hex()}+{base64.b64encode(bytes([4]) + self._public).decode()}"
        self._lock = threading.Lock()
        self.forged = None  # a line to answer instead

    @property
    def _state(self):
        return self.folder / "state.json"

    @property
    def knows(self):
        return json.loads(self._state.read_text()) if self._state.exists() else {"size": 0, "root": ""}

    def add(self, body):
        head, _, note = body.decode().partition("\n\n")
        first, *proof = head.split("\n")
        text, _, signatures = note.rpartition("\n\n")
        text += "\n"
        origin, size, root = text.split("\n")[0], int(text.split("\n")[1]), base64.b64decode(text.split("\n")[2])
        old, path = int(first.removeprefix("old ")), [base64.b64decode(one) for one in proof]
        if origin != self.origin:
            return 404, "", b""
        wanted, good = key_id(origin, 1, self.log_public), False
        for line in signatures.splitlines():
            raw = base64.b64decode(line.split(" ")[2])
            if line.split(" ")[1] == origin and raw[:4] == wanted:
                try:
                    Ed25519PublicKey.from_public_bytes(self.log_public).verify(raw[4:], text.encode())
                    good = True
                except InvalidSignature:
                    return 403, "", b""
        if not good:
            return 403, "", b""
        if old > size or len(path) > 63:
            return 400, "", b""
        knows = self.knows
        if old != knows["size"]:
            return 409, "text/x.tlog.size", f"{knows['size']}\n".encode()
        try:
            if old and old < size:
                verify_consistency(old, size, path, bytes.fromhex(knows["root"]), root)
            elif path or (old and root.hex() != knows["root"]):
                raise ProofInvalid("another root")
        except ProofInvalid:
            return 422, "", b""
        self._persist({"size": size, "root": root.hex()})
        return 200, "text/plain", (self.forged or self._line(text)).encode()

    def _persist(self, state):
        with self._state.with_suffix(".new").open("w") as out:
            out.write(json.dumps(state))
            out.flush()
            os.fsync(out.fileno())
        os.replace(self._state.with_suffix(".new"), self._state)

    def _line(self, text):
        at = int(self.clock())
        signature = self._key.sign(f"cosignature/v1\ntime {at}\n{text}".encode())
        raw = base64.b64encode(self._id + at.to_bytes(8, "big") + signature).decode()
        return f"— {self.name} {raw}\n"


@contextmanager
def ours(folder, name, log_key, **more):
    """Our own, served on loopback."""
    found = Witness(folder, name, log_key, **more)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            with found._lock:
                found.asked.append(body)
                status, media, answer = found.add(body) if self.path == "/add-checkpoint" else (404, "", b"")
            self.send_response(status)
            self.send_header("Content-Type", media or "text/plain")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def aics(folder, name, log_key):
    """Somebody else's, in a process of its own."""
    config, port = str(Path(folder) / "witness.json"), free_port()
    said = subprocess.run(
        [AICS, "init", "--config", config, "--name", name, "--listen", f"127.0.0.1:{port}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    origin = log_key.split("+", 1)[0]
    subprocess.run([AICS, "add-log", "--config", config, "--origin", origin, "--vkey", log_key], check=True)
    child = subprocess.Popen([AICS, "serve", "--config", config], stderr=subprocess.DEVNULL)

    class Found:
        url = f"http://127.0.0.1:{port}"
        key = next(word for word in said.split() if word.startswith(name + "+"))

    until = time.monotonic() + 20
    import socket

    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            break
        except OSError:
            assert time.monotonic() < until and child.poll() is None, "aics-witness does not start"
            time.sleep(0.05)
    try:
        yield Found
    finally:
        child.terminate()
        child.wait(10)
