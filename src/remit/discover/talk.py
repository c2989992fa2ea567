"""Secrets in what was written down of running things: logs, recorded requests, chat exports, agents' transcripts.

Such files have no end, so they are read line by line: no line is taken whole beyond `LINE` bytes, no file beyond
`FILE_LIMIT`, nothing after `BUDGET` seconds. A line of JSON is read as what it is, and so is JSON in a text of it,
as tools answer it. Everything else is text.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from remit.domain.discovery import Place

from .credentials import LONGEST_LINE, in_talk
from .data import parsed
from .files import FILE_LIMIT as SMALL
from .files import names
from .found import Found

LINE = 1 << 20
FILE_LIMIT = 512 << 20
BUDGET = 60.0
OVERLAP = 512
NODES = 20_000
DEPTH = 3
MOST = 10_000
_LOGS = frozenset([".err", ".har", ".log", ".out"])
_TRANSCRIPTS = frozenset([".jsonl", ".ndjson"])
_CHATS = re.compile(
    r"(?:conversations|chat[-_ ]?export|messages|result|_chat|whatsapp chat.*)\.(?:json|txt)", re.IGNORECASE
)
_ROTATED = re.compile(r"\.log(?:[.-]\d[\d.-]*)\Z")
_TOOLS = frozenset(
    ["tool_result", "tool_use", "toolUseResult", "function_call_output", "tool_output", "output", "stdout"]
)


@dataclass
class Left:
    """What was not read to its end, and why."""

    cut: int = 0
    late: int = 0

    def said(self) -> list[str]:
        """In words."""
        cut = [f"{self.cut} logs and transcripts beyond {FILE_LIMIT >> 20} MB or {MOST} secrets"] if self.cut else []
        return cut + ([f"{self.late} logs and transcripts after {BUDGET:.0f} s"] if self.late else [])


def rule_of(path: str) -> str:
    """Which rule a file of this name is looked at by; empty for one that is none of these."""
    name, suffix = PurePosixPath(path).name, PurePosixPath(path).suffix.lower()
    if suffix in _TRANSCRIPTS or _CHATS.fullmatch(name):
        return "secret-in-transcript"
    return "secret-in-log" if suffix in _LOGS or _ROTATED.search(name.lower()) else ""


def read(root: Path, told: Callable[[int], None] = lambda _: None, budget: float = BUDGET) -> tuple[Found, int, Left]:
    """Every such file below `root`; with how many of them are too large for any other reader."""
    until, found, left, files, large = time.monotonic() + budget, Found(), Left(), 0, 0
    for path, at in names(root):
        rule = rule_of(path)
        if not rule:
            continue
        if time.monotonic() > until:
            left.late += 1
            continue
        files += 1
        told(files)
        whole, length = _file(at, path, rule, found, until)
        left.cut += not whole
        large += length > SMALL
    return found, large, left


def _file(at: Path, path: str, rule: str, found: Found, until: float) -> tuple[bool, int]:
    """Whether it was read to its end, and how much of it. A secret that a log repeats is told where it stands first."""
    seen: set[str] = set()
    done = number = 0
    with _opened(at) as file:
        before = ""
        while line := file.readline(LINE):
            done += len(line)
            for what, secret in _line(line, before):
                if secret not in seen:
                    seen.add(secret)
                    found.secrets.append((rule, Place(path, number + 1), what, "", secret))
            before = "" if line.endswith(b"\n") else line[-OVERLAP:].decode("utf-8", "replace")
            number += line.endswith(b"\n")
            if done > FILE_LIMIT or len(seen) > MOST or time.monotonic() > until:
                return False, done
    return True, done


def _opened(at: Path) -> Any:
    """An ordinary file, or nothing: no link is followed, and no pipe waited for."""
    try:
        descriptor = os.open(at, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return open(os.devnull, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return open(os.devnull, "rb")
    return os.fdopen(descriptor, "rb")


def _line(line: bytes, before: str) -> Iterator[tuple[str, str]]:
    text = line.decode("utf-8", "replace")
    if text.lstrip()[:1] in ("{", "[") and text.rstrip()[-1:] in ("}", "]"):
        whole = parsed(text, ".json", nodes=NODES)
        if whole is not None:
            yield from _said(whole, "", "", 0)
            return
    # Part of something larger: as it is written in JSON, or not.
    yield from _text(before + text.replace('\\"', '"').replace("\\n", "\n"), "")


def _said(value: Any, name: str, by: str, depth: int) -> Iterator[tuple[str, str]]:
    """Every text in it; `by` is who said it, as far as that is written."""
    if isinstance(value, dict):
        speaker = _speaker(str(value.get("type") or value.get("role") or "")) or by
        if isinstance(value.get("name"), str) and isinstance(value.get("value"), str):  # a header, as HAR has it
            yield from _text(f"{value['name']}: {value['value']}", speaker)
        for key, part in value.items():
            yield from _said(part, str(key), "in a tool's output" if key in _TOOLS else speaker, depth)
    elif isinstance(value, list):
        for part in value:
            yield from _said(part, name, by, depth)
    elif isinstance(value, str):
        inner = parsed(value, ".json", nodes=NODES) if depth < DEPTH and value[:1] in ("{", "[") else None
        if inner is not None:
            yield from _said(inner, name, by, depth + 1)
        else:
            yield from _text(value, by)
            yield from _text(f'{name}="{value}"', by) if len(value) < LONGEST_LINE and '"' not in value else ()


def _speaker(kind: str) -> str:
    if kind in _TOOLS or kind == "tool":
        return "in a tool's output"
    return f"said by the {kind}" if kind in ("user", "assistant") else ""


def _text(text: str, by: str) -> Iterator[tuple[str, str]]:
    """In pieces no longer than what a pattern may be tried on."""
    for start in range(0, len(text), LONGEST_LINE - OVERLAP):
        for what, secret in in_talk(text[start : start + LONGEST_LINE]):
            yield f"{what} {by}".rstrip(), secret
