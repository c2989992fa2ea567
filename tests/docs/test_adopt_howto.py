"""docs/howto/adopt.md and scan.md: each command is run, and says what the page says, standard error after standard output."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .howtos import sessions

_TOOK = re.compile(r"in \d+\.\d s")


@pytest.mark.parametrize("page", ["adopt.md", "scan.md"])
def test_the_page_is_what_happens(page, tmp_path):
    env = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    for command, said in sessions(page):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode in (0, 1), done.stderr
        assert _TOOK.sub("in 0.0 s", done.stdout + done.stderr).strip("\n") == said, command
