"""The newest checkpoint that this host has seen, in a file beside the keys: a store behind it was rolled back.

Nothing in a database can tell that it is an old copy of itself. A host that remembers can, and does not serve from one.
"""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

from remit.domain.errors import ProofInvalid, StoreUnavailable
from remit.formats.tlog import Checkpoint, parse_checkpoint
from remit.log import tiles

from .check_store import Checkable, head_of, log_keys

EVERY = 1.0
STEP = (
    "If a backup was put in place, make it safe first: `remit backup restore`. If not, somebody changed the database."
)


class Watermark:
    """`path` holds a signed note; a host without one believes what it finds."""

    def __init__(self, path: Path, log_name: str) -> None:
        self._path = path
        self._log_name = log_name
        self._size = 0
        self._one = threading.Lock()  # whoever was cancelled while it wrote is still writing
        self.rolled_back = False

    async def seen(self, store: Checkable) -> Checkpoint | None:
        """The checkpoint in the file, verified with the store's own keys; None without one that they signed."""
        try:
            return parse_checkpoint(
                self._path.read_bytes(), await log_keys(store, self._log_name), origin=self._log_name
            )
        except (FileNotFoundError, ProofInvalid):
            return None

    async def check(self, store: Checkable) -> None:
        """Raise `StoreUnavailable` unless the store's log is the one that was seen, or goes on from it."""
        if not self._path.exists():
            return
        seen = await self.seen(store)
        head = await head_of(store, self._log_name)
        if seen is None:
            raise StoreUnavailable(f"{self._path} is of another log than this database's.", next_step=STEP)
        if head is None or head.size < seen.size:
            size = head.size if head else 0
            said = f"The database is older than what this host has seen: {size} events, and {seen.size} were signed."
            raise StoreUnavailable(said, next_step=STEP)
        if await tiles.with_tiles(lambda read: tiles.root(seen.size, read), store.tile) != seen.root:
            said = f"The first {seen.size} events of the log are not those that this host has seen."
            raise StoreUnavailable(said, next_step=STEP)
        self._size = seen.size

    async def write(self, store: Checkable) -> None:
        """Remember the newest checkpoint, durably; what was seen is not forgotten for an older one."""
        size, note = await store.head()
        self.rolled_back = size < self._size
        if size > self._size:
            await asyncio.to_thread(self._replace, note, size)

    async def begin_again(self, store: Checkable) -> None:
        """The store was put back to an earlier state, and somebody said so."""
        self._size = 0
        await self.write(store)

    async def follow(self, store: Checkable) -> None:
        """Go on remembering, until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.write(store)
            except (StoreUnavailable, OSError):
                continue

    def _replace(self, note: str, size: int) -> None:
        with self._one:
            if size <= self._size:
                return
            draft = self._path.with_name(self._path.name + ".new")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(note)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
            self._size = size
