"""A file of JSON lines below the server's own folder: appended, fsync'd, and followed by another when it is full.

`NAME.jsonl` is the newest; one that is full is renamed to `NAME.PLACE.jsonl`, for the place of its first record. The
catalogue names no path: whoever writes it could otherwise write wherever the server can.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from remit.domain.errors import Malformed
from remit.domain.out import Sink
from remit.formats.out_record import LINE_LIMIT, read
from remit.ports import Batch, NotTaken

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 65_536


class FileSender:
    """Implements `ports.Sender`."""

    def __init__(self, sink: Sink, folder: Path) -> None:
        self._sink, self._folder = sink, folder
        self._path = folder / f"{sink.name}.jsonl"

    async def send(self, batch: Batch) -> None:
        """Durable when this returns. What was written in part is taken back, now or at the next try."""
        try:
            await asyncio.to_thread(self._append, b"".join(record + b"\n" for record in batch.records))
        except OSError as failure:
            raise NotTaken(f"the file cannot be written: {os.strerror(failure.errno or 0)}") from failure

    def _append(self, text: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._path, _FLAGS, 0o600)
        try:
            size = _whole(handle)
            if size and size + len(text) > self._sink.rotate:
                self._rotate(handle)
                os.close(handle)
                handle = os.open(self._path, _FLAGS, 0o600)
                size = _whole(handle)
            try:
                left = memoryview(text)
                while left:
                    left = left[os.write(handle, left) :]
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, size)
                raise
            if not size:
                self._durable_names()
        finally:
            os.close(handle)

    def _rotate(self, handle: int) -> None:
        os.fsync(handle)
        try:
            line, _, _ = os.pread(handle, LINE_LIMIT, 0).partition(b"\n")
            first = f"{read(line)[1]:012d}"
        except Malformed:
            first = "unknown"
        name, number = self._folder / f"{self._sink.name}.{first}.jsonl", 1
        while name.exists():  # it was rewound
            number += 1
            name = self._folder / f"{self._sink.name}.{first}-{number}.jsonl"
        os.rename(self._path, name)
        self._durable_names()
        if self._sink.keep:
            full = sorted(self._folder.glob(f"{self._sink.name}.*.jsonl"), key=lambda one: one.stat().st_mtime_ns)
            for old in full[: -self._sink.keep]:
                old.unlink()

    def _durable_names(self) -> None:
        handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _whole(handle: int) -> int:
    """Cut off a record that a crash left in part, so that the next begins a line; returns the size then."""
    size = at = os.fstat(handle).st_size
    while at > 0:
        start = max(0, at - _BLOCK)
        newline = os.pread(handle, at - start, start).rfind(b"\n")
        if newline >= 0:
            at = start + newline + 1
            break
        at = start
    if at < size:
        os.ftruncate(handle, at)
    return at
