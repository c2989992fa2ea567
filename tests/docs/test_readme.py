"""The README is pasted, top to bottom, into a real shell; what it says comes out must come out.

`$ ` begins a command, `> ` goes on with it, the rest is its output; `…` stands for anything, on a line or as lines.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```(console|python)\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
END = "--end-of-command--"


class Shell:
    """One bash for the whole page."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], cwd=folder, env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, command: str) -> list[str]:
        assert self._bash.stdin and self._bash.stdout
        self._bash.stdin.write(command + f"\necho; echo {END}\n")
        self._bash.stdin.flush()
        lines: list[str] = []
        for line in self._bash.stdout:
            if line.rstrip("\n") == END:
                return [text for text in lines if text]
            lines.append(line.rstrip("\n"))
        raise AssertionError(f"the shell ended at {command!r}: {lines}")

    def close(self) -> None:
        assert self._bash.stdin
        self._bash.stdin.write("kill %1 2>/dev/null; wait; exit\n")
        self._bash.stdin.close()
        self._bash.wait(20)


def commands(block: str) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.startswith("> "):
            found[-1] = (found[-1][0] + "\n" + line[2:], [])
        else:
            found[-1][1].append(line)
    return found


def fits(expected: list[str], came: list[str]) -> bool:
    pattern = "".join(
        r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*").replace(r"\ ", r"\s+") + r"\s*\n"
        for line in expected
    )
    return re.fullmatch(pattern, "".join(line + "\n" for line in came)) is not None


@pytest.fixture
def shell(tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("REMIT_") and k != "CI"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    opened = Shell(tmp_path, {**clean, "PATH": path, "REMIT_PORT": str(port), "HOME": str(tmp_path), "COLUMNS": "300"})
    yield opened
    opened.close()


def test_the_readme_works_when_pasted(shell, tmp_path):
    assert len(BLOCKS) >= 8
    for kind, block in BLOCKS:
        if kind == "python":
            (tmp_path / "snippet.py").write_text(block)
            came = shell.run("python snippet.py")
            assert came[0].startswith("Outside this task: ") and came[1].startswith("apv_"), came
            continue
        for command, expected in commands(block):
            came = shell.run(command)
            if expected or not command.startswith(("remit up", "prove", "kill")):
                assert fits(expected, came), f"{command}\nexpected:\n{expected}\ncame:\n{came}"


def test_the_readme_opens_with_one_sentence_and_a_transcript():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert lines[2].startswith("**Remit gives AI agents access by the task") and lines[4].startswith("![An approval")
    assert (ROOT / lines[4].partition("(")[2].rstrip(")")).is_file() and lines[6] == "```console"
