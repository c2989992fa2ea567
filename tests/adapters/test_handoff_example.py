"""The hand-off between two frameworks, two processes and two identities, as its page says: pasted, top to bottom."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.adapters.test_a2a import free_port
from tests.docs.test_readme import Shell, commands, fits

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "howto" / "a2a.md").read_text()

pytest.importorskip("agents")
pytest.importorskip("langgraph")


@pytest.fixture
def pasted(tmp_path):
    """A shell in which the payer's port is free, and what it is called everywhere."""
    port = str(free_port())
    shutil.copytree(ROOT / "examples" / "handoff", tmp_path / "examples" / "handoff")
    for path in (tmp_path / "examples").rglob("*.*"):
        path.write_text(path.read_text().replace("7460", port))
    clean = {k: v for k, v in os.environ.items() if not k.startswith("REMIT_") and k != "CI"}
    remit = Path(os.environ.get("REMIT_TEST_SERVER") or sys.executable).parent
    path = f"{Path(sys.executable).parent}:{remit}:{os.environ['PATH']}"
    more = {"PATH": path, "REMIT_PORT": str(free_port()), "HOME": str(tmp_path), "BANK_OPENS_IN": "1", "COLUMNS": "300"}
    opened = Shell(tmp_path, {**clean, **more})
    yield opened, PAGE.replace("7460", port)
    opened.run("kill $(jobs -p) 2>/dev/null; wait")
    opened.close()


@pytest.mark.soak
def test_the_page_works_when_pasted(pasted):
    shell, page = pasted
    blocks = re.findall(r"^```console\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 4
    for block in blocks:
        for command, expected in commands(block):
            if command.startswith("until"):
                command = command.replace("do sleep", "do ((++tries < 300)) || break; sleep", 1)
            came = shell.run(f"tries=0; {command}" if command.startswith("until") else command)
            if expected or not command.endswith("&"):
                assert fits(expected, came), f"{command}\nexpected:\n{expected}\ncame:\n{came}"
