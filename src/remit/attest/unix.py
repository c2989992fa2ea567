"""What the kernel says about the process at the other end of a Unix socket, as selectors.

The process is pinned when it connects: by `/proc/PID` held open, which dies with it and never becomes another's, and
by a check that it had begun before it connected. Selectors are SPIRE's; what cannot be read gives no selector.
A path is what the process's own mount namespace calls it, so it counts only if that is ours.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import socket
import stat
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

_CREDENTIALS = struct.Struct("3i")
_HEX = re.compile(r"(?:^|[^0-9a-f])([0-9a-f]{64})(?:[^0-9a-f]|$)")
_EXECUTABLE_LIMIT = 1 << 30
_TICKS = os.sysconf("SC_CLK_TCK")


class Gone(Exception):
    """The process is no longer there, or is not the one that connected."""


@dataclass(frozen=True, slots=True)
class Attested:
    """`code` is the SHA-256 of the executable, hex; empty when it could not be read. `about` is for the operator."""

    selectors: frozenset[str]
    code: str
    about: str


@dataclass(frozen=True, slots=True)
class Peer:
    """A process pinned by its connection (SO_PEERCRED); `close` lets it go."""

    pid: int
    uid: int
    gid: int
    proc: int

    @classmethod
    def of(cls, connection: socket.socket) -> Peer:
        """Pin whoever connected. Call it at once when the connection is accepted; raises `Gone`."""
        before = time.clock_gettime(time.CLOCK_BOOTTIME)
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, gid = _CREDENTIALS.unpack(raw)
        try:
            peer = cls(pid, uid, gid, os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as gone:
            raise Gone(f"pid {pid}") from gone
        try:
            begun = int(peer._read("stat", 4096).rpartition(")")[2].split()[19]) / _TICKS
        except (OSError, ValueError, IndexError) as gone:
            peer.close()
            raise Gone(f"pid {pid}") from gone
        if begun > before:
            peer.close()
            raise Gone(f"pid {pid} began after the connection")
        return peer

    def close(self) -> None:
        """Let it go."""
        os.close(self.proc)

    def attest(self) -> Attested:
        """Everything that can be said now. Blocks: it may have to hash an executable of up to 1 GiB."""
        path, code = self._executable()
        found = {f"unix:uid:{self.uid}", f"unix:gid:{self.gid}"}
        with suppress(KeyError):
            found.add(f"unix:user:{pwd.getpwuid(self.uid).pw_name}")
        with suppress(KeyError):
            found.add(f"unix:group:{grp.getgrgid(self.gid).gr_name}")
        if path:
            found.add(f"unix:path:{path}")
        if code:
            found.add(f"unix:sha256:{code}")
        with suppress(OSError):
            found |= of_cgroup(self._read("cgroup", 65_536))
        try:
            self._read("stat", 64)  # still the one we have read about
        except OSError as gone:
            raise Gone(f"pid {self.pid}") from gone
        return Attested(frozenset(found), code, f"pid {self.pid} uid {self.uid} {path or '(no path)'}")

    def _executable(self) -> tuple[str, str]:
        try:
            file = os.open("exe", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc)
        except OSError:
            return "", ""
        try:
            status = os.fstat(file)
            path = ""
            with suppress(OSError):
                same = os.readlink("ns/mnt", dir_fd=self.proc) == os.readlink("/proc/self/ns/mnt")
                path = os.readlink("exe", dir_fd=self.proc) if same else ""
            if not stat.S_ISREG(status.st_mode) or status.st_size > _EXECUTABLE_LIMIT:
                return path, ""
            # The change time is the kernel's: nobody who may write a file can set it back.
            return path, _hashed(file, status.st_dev, status.st_ino, status.st_ctime_ns, status.st_size)
        finally:
            os.close(file)

    def _read(self, name: str, limit: int) -> str:
        file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc)
        try:
            return os.read(file, limit).decode(errors="replace")
        finally:
            os.close(file)


def of_cgroup(text: str) -> frozenset[str]:
    """Selectors of `/proc/PID/cgroup` (cgroups(7)).

    From the root down the first unit and the first container count: what is below them is named by who runs in them.
    """
    found: set[str] = set()
    for line in text.splitlines():
        parts = line.split(":", 2)[-1].split("/")
        if ".." in parts:
            continue
        unit = next((part for part in parts if part.endswith(".service")), "")
        container = next((match[1] for part in parts if (match := _HEX.search(part))), "")
        found |= {f"systemd:id:{unit}"} if unit else set()
        found |= {f"container:id:{container}"} if container else set()
    if any(sum(one.startswith(kind) for one in found) > 1 for kind in ("systemd:", "container:")):
        return frozenset()  # hierarchies that disagree say nothing
    return frozenset(found)


_hashes: dict[tuple[int, int, int, int], str] = {}


def _hashed(file: int, device: int, inode: int, changed: int, size: int) -> str:
    known = _hashes.get((device, inode, changed, size))
    if known is None:
        digest = sha256()
        while block := os.read(file, 1 << 20):
            digest.update(block)
        after = os.fstat(file)
        known = digest.hexdigest()
        if (after.st_ctime_ns, after.st_size) != (changed, size):
            return ""  # it changed under our eyes
        if len(_hashes) >= 1024:
            _hashes.clear()
        _hashes[(device, inode, changed, size)] = known
    return known
