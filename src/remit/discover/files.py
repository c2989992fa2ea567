"""The files of a tree, bounded: no links are followed, nothing huge is read, and nothing that is not text."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

FILE_LIMIT = 2 * 1024 * 1024
FILES_LIMIT = 500_000
_SKIPPED = frozenset(
    [
        ".git",
        ".gradle",
        ".mypy_cache",
        ".next",
        ".pytest_cache",
        ".ruff_cache",
        ".terraform",
        ".tox",
        ".venv",
        "__pycache__",
        "dist-packages",
        "node_modules",
        "site-packages",
        "venv",
    ]
)


@dataclass(frozen=True)
class File:
    """One file: where it is below the root (posix), and its bytes; `text` is None when it is none."""

    path: str
    data: bytes
    commit: str = ""

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.path).suffix.lower()

    @cached_property
    def text(self) -> str | None:
        """As UTF-8; None for anything with a NUL in its beginning."""
        if b"\x00" in self.data[:8192]:
            return None
        return self.data.decode("utf-8", "replace").removeprefix("\ufeff")

    def line_of(self, *needles: str) -> int:
        """The first line that has the first of these that any line has; 1 if none is anywhere."""
        text = self.text or ""
        for needle in needles:
            at = text.find(needle) if needle else -1
            if at >= 0:
                return text.count("\n", 0, at) + 1
        return 1


def walk(root: Path, told: Callable[[int], None] = lambda _: None) -> Iterator[File]:
    """Every readable file below `root`, or `root` itself, in a stable order. `told` hears how many so far."""
    if root.is_file():
        yield File(root.as_posix(), read_bounded(root) or b"")
        return
    found = 0
    for name, path in names(root):
        data = read_bounded(path)
        if data is None:
            continue
        found += 1
        if found > FILES_LIMIT:
            return
        if found % 200 == 0:
            told(found)
        yield File(name, data)


def names(root: Path) -> Iterator[tuple[str, Path]]:
    """Every name below `root`, or `root` itself, in a stable order, and where it is. No link leads into a folder."""
    if root.is_file():
        yield root.as_posix(), root
        return
    for folder, folders, here in os.walk(root, followlinks=False):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.endswith("_cache"))
        yield from ((Path(folder, name).relative_to(root).as_posix(), Path(folder, name)) for name in sorted(here))


def read_bounded(path: Path) -> bytes | None:
    """Its bytes, if it is an ordinary file of a bounded size that we may read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > FILE_LIMIT:
            return None
        try:
            return file.read(FILE_LIMIT)
        except OSError:
            return None
