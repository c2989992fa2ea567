"""The page on signals is done as it says: its receiver makes a stream, verifies it, and is in the operator's list."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jwt

from tests.server import furnished, process

from .howtos import catalogues, fenced, whole

PAGE = "shared-signals.md"


def test_a_receiver_does_as_the_page_says(tmp_path):
    files = whole(next(found for found in catalogues(PAGE) if "[receivers." in found["remit.toml"]))
    files["remit.toml"] += "[people.dana]\n[people.frank]\n"
    with process(tmp_path / "data") as running:
        server = furnished(running, {**files, "policies/all.cedar": '@id("all") permit (principal, action, resource);'})
        env = server.env(REMIT_URL=server.url, PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        (script,) = fenced(PAGE, "sh")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        answer, rest = json.JSONDecoder().raw_decode(done.stdout)
        listed = done.stdout[rest:]
        (text,) = answer["sets"].values()
        claims = jwt.decode(text, options={"verify_signature": False})
        assert claims["aud"] == "siem" and next(iter(claims["events"].values())) == {"state": "hello"}
        assert "siem" in listed and "enabled" in listed and "poll" in listed
        shown = server.cli("--json", "stream", "show", "siem", REMIT_URL=server.url)
        assert json.loads(shown.stdout)["id"] == json.loads((tmp_path / "stream.json").read_text())["stream_id"]
