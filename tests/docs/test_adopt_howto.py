"""docs/howto/adopt.md, scan.md and blast.md: each command is run, and says what the page says, standard error after standard output."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .howtos import fenced
from .test_readme import commands

_TOOK = re.compile(r"in \d+\.\d s")


@pytest.mark.parametrize("page", ["adopt.md", "scan.md", "blast.md"])
def test_the_page_is_what_happens(page, tmp_path):
    env = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    for block in fenced(page, "console"):
        for command, said in commands(block):
            done = subprocess.run(
                ["bash", "-euc", command], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
            )
            assert done.returncode in (0, 1), done.stderr
            shown = _TOOK.sub("in 0.0 s", done.stdout + done.stderr)
            assert shown.strip("\n") == "\n".join(said).strip("\n"), command
