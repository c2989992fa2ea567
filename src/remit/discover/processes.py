"""Agents and MCP servers that run now, on Linux, of processes that this user may look into."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from remit.domain.discovery import Noun, Place, Thing

from .agent_configs import secrets_in, without_secrets
from .found import Found
from .values import names_a_secret

_AGENTS = re.compile(
    r"(?:^|[/@\s-])(?:claude|codex|gemini-cli|aider|cursor-agent|goose|opencode|copilot|mcp-server[\w-]*|[\w-]*-mcp(?:-server)?|"
    r"server-(?:filesystem|github|postgres|slack|memory|fetch)|langgraph|crewai|adk|fastmcp)(?:$|[\s@/.])"
)


def read(proc: Path = Path("/proc")) -> Found:
    """What runs; of its environment only the names."""
    found = Found()
    for folder in sorted(proc.glob("[0-9]*"), key=lambda p: int(p.name)):
        arguments = _words(folder / "cmdline")
        whole = " ".join(arguments)
        if not arguments or not _AGENTS.search(whole[:4096]):
            continue
        place = Place(f"process {folder.name}")
        names = sorted({name for name in _names(folder / "environ") if names_a_secret(name)})
        shown = " ".join(without_secrets(arguments))[:160]
        found.things.append(Thing(Noun.PROCESS, Path(arguments[0]).name, place, {"runs": shown}, tuple(names)))
        for key, value in secrets_in(arguments):
            what = f"{Path(arguments[0]).name}: {key} is in its arguments"
            found.secrets.append(("secret-in-arguments", place, what, arguments[0], value))
    return found


def _words(path: Path) -> list[str]:
    try:
        return [word for word in path.read_bytes()[:65536].decode("utf-8", "replace").split("\x00") if word]
    except OSError:
        return []


def _names(path: Path) -> Iterator[str]:
    for word in _words(path):
        yield word.partition("=")[0]
