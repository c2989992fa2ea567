"""A directory that only this user can enter, in memory where there is such a place, and gone at the end."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from pathlib import Path

_FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Private:
    """Mode 0700, under XDG_RUNTIME_DIR, else /dev/shm (both tmpfs), else the temporary directory."""

    def __init__(self, base: Path | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="remit-", dir=base or _base()))
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def write(self, name: str, text: str) -> Path:
        """Put `text` into the file `name` (0600), whole or not at all; what was there is replaced, never followed."""
        if "/" in name or name in ("", ".", ".."):
            raise ValueError(f"{name!r} is not a file's name")
        draft = f".{secrets.token_hex(8)}"
        descriptor = os.open(draft, _FRESH, 0o600, dir_fd=self._descriptor)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.replace(draft, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        return self.path / name

    def remove(self) -> None:
        """Everything in it, whoever put it there; removing twice is fine."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        shutil.rmtree(self.path, ignore_errors=True)


def _base() -> str:
    """Where secrets touch no disk, if there is such a place."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and _is_ours(runtime):
        return runtime
    return "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else tempfile.gettempdir()  # noqa: S108


def _is_ours(path: str) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
