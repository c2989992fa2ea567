"""The real Claude Code, asked to do things by a Messages API of our own: what it does then, and what it reports."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


def cli() -> str:
    """Its executable, as the Agent SDK's wheel brings it."""
    found = importlib.util.find_spec("claude_agent_sdk")
    if found is None or not found.origin:
        pytest.skip("the Claude Agent SDK is not here: make adapters")
    return str(Path(found.origin).parent / "_bundled" / "claude")


class Messages:
    """Answers the first turn of each conversation with these calls, and is content with what comes of them."""

    def __init__(self) -> None:
        api = self
        self.calls: list = []
        self.told: dict[str, str] = {}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
                said = api.events(body) if "/v1/messages" in self.path and "count" not in self.path else ""
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream" if said else "application/json")
                payload = (said or '{"input_tokens": 1}').encode()
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def events(self, body):
        results = [
            part
            for message in body.get("messages", [])
            if isinstance(message["content"], list)
            for part in message["content"]
            if isinstance(part, dict) and part.get("type") == "tool_result"
        ]
        for part in results:
            content = part["content"]
            text = content if isinstance(content, str) else "".join(p.get("text", "") for p in content)
            self.told[part["tool_use_id"]] = text
        if body.get("tools") and not results:
            blocks = [{"type": "tool_use", "id": i, "name": n, "input": a} for n, a, i in self.calls]
            stop = "tool_use"
        else:
            blocks, stop = [{"type": "text", "text": "done"}], "end_turn"
        message = {
            "id": "msg_1", "type": "message", "role": "assistant", "model": body.get("model", ""), "content": [],
            "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
        }  # fmt: skip
        events = [{"type": "message_start", "message": message}]
        for index, block in enumerate(blocks):
            if block["type"] == "text":
                start, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": block["text"]}
            else:
                start = {**block, "input": {}}
                delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
            events.append({"type": "content_block_start", "index": index, "content_block": start})
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
            events.append({"type": "content_block_stop", "index": index})
        last = {"stop_reason": stop, "stop_sequence": None}
        events.append({"type": "message_delta", "delta": last, "usage": {"output_tokens": 1}})
        events.append({"type": "message_stop"})
        return "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)

    def env(self, home, **more):
        """Nothing of this machine's own configuration."""
        return {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": "sk-none",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            **more,
        }

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def run(api, folder, settings, *calls, words=(), before=(), **env):
    """`claude -p`, with these settings: (its result, what the model was told)."""
    api.calls, api.told = list(calls), {}
    home = folder / "home"
    home.mkdir(exist_ok=True)
    command = [*before, cli(), "-p", "go", "--output-format", "json", "--allowedTools", "Bash"]
    command += ["--settings", json.dumps(settings), *words]
    done = subprocess.run(
        command, cwd=folder, env=api.env(home, **env), capture_output=True, text=True, timeout=90, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, done.stdout + done.stderr
    return json.loads(lines[-1]), dict(api.told), done
