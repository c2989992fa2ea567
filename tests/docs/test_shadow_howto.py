"""docs/howto/shadow.md: each command is run at a server that has seen what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.server import eventually, furnished, process

from .howtos import fenced
from .test_readme import commands

_AGO = re.compile(r"\b\d+ (s|min) ago")


def test_the_page_is_what_happens(tmp_path):
    with process(tmp_path / "data") as running:
        server = furnished(running)
        for _ in range(3):
            form = {"grant_type": "client_credentials", "client_id": "nightly-export"}
            assert server.http().post("/oauth/token", data=form).status_code == 401
        http = server.http("operator")
        eventually(lambda: http.get("/v1/shadows").json()["items"][0], lambda one: one["count"] == 3)
        seen = {"source": "notes", "tools": ["notes.purge"]}
        assert server.http("gate").post("/v1/shadows", json=seen).status_code == 204
        eventually(lambda: http.get("/v1/shadows").json()["items"], lambda found: len(found) == 2)
        env = server.env(PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin", HOME=str(tmp_path))
        for command, said in (one for block in fenced("shadow.md", "console") for one in commands(block)):
            done = subprocess.run(
                ["bash", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, done.stderr
            shown = _AGO.sub("1 s ago", done.stdout + done.stderr)
            assert [line.rstrip() for line in shown.strip().splitlines()] == [line for line in said if line], command
