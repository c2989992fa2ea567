"""The Unix socket through which helpers inside the command ask: same user only, small requests, bounded in time.

One line of JSON in, one out: `{"credential": NAME}` → name, kind, parts, expires_at, at; `{"list": SHAPE}` → items
with name and at; `{"hook": AGENT, "event": …}` → what that hook is to read out. Anything else, or a refusal, is
`{"error": …}`.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..cred import peer_uid
from ..errors import RemitError

LIMIT = 1088 * 1024  # a hook event holds a tool's result
PATIENCE = 5.0
MOST = 16  # at a time; more wait in the kernel's queue


class Door:
    """Listens from the start, answers once `open` was called: a child started in between only waits."""

    def __init__(self, path: Path, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.path = path
        self._answer = answer
        self._gate = threading.BoundedSemaphore(MOST)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        before = os.umask(0o177)
        try:
            self._socket.bind(str(path))
        except OSError as failure:  # a Unix socket's path has at most 107 bytes
            step = "Set XDG_RUNTIME_DIR to a short path of a directory that is yours alone (0700)."
            raise RemitError(f"There cannot be a socket at {path}: {failure}.", next_step=step) from failure
        finally:
            os.umask(before)
        self._socket.listen(64)

    def open(self) -> None:
        """Start answering."""
        threading.Thread(target=self._serve, daemon=True, name="remit-door").start()

    def close(self) -> None:
        """No more answers."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with suppress(OSError):
            self.path.unlink()

    def _serve(self) -> None:
        while True:
            self._gate.acquire()
            try:
                line, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(line,), daemon=True).start()

    def _one(self, line: socket.socket) -> None:
        try:
            with line, suppress(OSError):
                if peer_uid(line) == os.geteuid():
                    line.settimeout(PATIENCE)
                    line.sendall(json.dumps(self._said(line)).encode() + b"\n")
        finally:
            self._gate.release()

    def _said(self, line: socket.socket) -> dict[str, Any]:
        got = bytearray()
        while not got.endswith(b"\n"):
            chunk = line.recv(65_536)
            if not chunk or len(got) + len(chunk) > LIMIT:
                return {"error": "The request cannot be read."}
            got += chunk
        try:
            request = json.loads(got)
        except (ValueError, RecursionError):
            return {"error": "The request cannot be read."}
        if not isinstance(request, dict):
            return {"error": "The request cannot be read."}
        return self._answer(request)
