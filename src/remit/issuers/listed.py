"""Certificates can be refused before their end only by whoever looks at a list. This keeps such a list in a file.

With `list_file` the list is where its readers are (sshd, a TLS server on this host or a shared file system): a kill is
confirmed when the file that names the certificate is durable. Without it the list is only published, readers fetch it
at their own pace, and a kill cannot be confirmed before the certificate has died by itself.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from remit.domain.catalogue import IssuerConfig
from remit.domain.errors import BadField, BadToken, IssuerUnavailable, NotRecallable
from remit.domain.lease import Lease, LeaseState
from remit.formats.revocable import remembered, serial
from remit.ports import Reader

LIMIT = 16 * 1024 * 1024
Read = Callable[[bytes], tuple[int, list[int]]]
Write = Callable[[int, list[int]], bytes]


class RevocationList:
    """The list of one issuer. `read` and `write` turn (number, serials) from and into the file's bytes."""

    def __init__(self, config: IssuerConfig, reader: Reader, clock: Callable[[], int], size: int) -> None:
        name = config.settings.get("list_file", "")
        if not isinstance(name, str) or ("list_file" in config.settings and not name.startswith("/")):
            raise BadField("list_file", "must be an absolute path")
        self.path = Path(name) if name else None
        self._name, self._reader, self._clock, self._size = config.name, reader, clock, size
        self._waiting: list[tuple[int, asyncio.Future[None], Write]] = []
        self._writer: asyncio.Task[None] | None = None
        self._written_by: tuple[str, ...] = ()

    def serial(self, lease: Lease) -> int:
        """The serial of a lease's certificate."""
        return serial(lease.handle, lease.expires_at, size=self._size)

    async def add(self, lease: Lease, read: Read, write: Write) -> None:
        """Return when the file has it; or raise `NotRecallable` when there is no file."""
        if self._clock() >= lease.expires_at + 60_000:
            return
        if self.path is None:
            message = f"Readers of the list of {self._name} fetch it at their own pace."
            raise NotRecallable(message, until=lease.expires_at + 60_000)
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((self.serial(lease), done, write))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_waiting(read))
        await done

    async def _write_waiting(self, read: Read) -> None:
        """What waits goes into one new file, by the newest key: a file each would cost a hundred of them seconds."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            failure: Exception | None = None
            try:
                await asyncio.to_thread(self._rewrite, [serial for serial, _, _ in batch], read, batch[-1][2])
            except Exception as flaw:
                failure = flaw
            for _, done, _ in batch:
                if done.done():  # whoever waited has given up
                    continue
                if failure is None:
                    done.set_result(None)
                else:
                    done.set_exception(failure)

    async def standing(self, read: Read, write: Write, of: Sequence[str]) -> None:
        """Return when the file is there, as `of` says (who signs it, and when): readers refuse what no list covers."""
        if self.path is not None and tuple(of) != self._written_by:
            await asyncio.to_thread(self._rewrite, (), read, write)
            self._written_by = tuple(of)

    async def published(self, read: Read, write: Write) -> bytes:
        """The list as readers elsewhere may fetch it: the file's, and everything that is ending."""
        found: list[Lease] = []
        while more := await self._reader.find(
            Lease, {"issuer": self._name, "state": LeaseState.ENDING.value}, after=found[-1].key if found else ""
        ):
            found += more
        number, serials = await asyncio.to_thread(self._read, read)
        ending = [self.serial(lease) for lease in found]
        return write(max(number, self._clock()), remembered([*serials, *ending], self._clock(), size=self._size))

    def _read(self, read: Read) -> tuple[int, list[int]]:
        if self.path is None or not self.path.exists():
            return 0, []
        with self.path.open("rb") as file:
            data = file.read(LIMIT + 1)
        try:
            return read(data)
        except BadToken as flaw:
            # To start anew would revive what it named.
            step = f"Restore {self.path}, or remove it once every certificate that it may have named is over."
            raise IssuerUnavailable("The revocation list cannot be read.", next_step=step, inside=flaw.inside) from flaw

    def _rewrite(self, added: Iterable[int], read: Read, write: Write) -> None:
        """Read, add, forget, replace: one writer at a time, and never half a file."""
        path = self.path
        assert path is not None
        try:
            with open(f"{path}.lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                number, serials = self._read(read)
                kept = remembered([*serials, *added], self._clock(), size=self._size)
                draft = path.with_name(path.name + ".new")
                with draft.open("wb") as file:
                    file.write(write(max(number + 1, self._clock()), kept))
                    os.fchmod(file.fileno(), 0o644)
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(path)
                folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
        except OSError as failure:
            inside = f"{path}: {failure.strerror}"
            raise IssuerUnavailable("The revocation list cannot be written.", inside=inside) from failure
