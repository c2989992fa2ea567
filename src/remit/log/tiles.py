"""The tree kept as tiles of 256 hashes (C2SP tlog-tiles): extension, roots and proofs.

Tile (level, index) holds the hashes of complete subtrees of 256^level leaves. `read` returns the widest
stored tile, so an older, smaller tree can be proved from newer tiles.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from remit.domain.errors import ProofInvalid

from .merkle import EMPTY_ROOT, HASH_SIZE, node_hash, root_of

WIDTH = 256
HEIGHT = 8
Read = Callable[[int, int], bytes]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Extension:
    """What changes when leaves are appended: the new size and root, and the tiles to write."""

    size: int
    root: bytes
    tiles: dict[tuple[int, int], bytes]


class _Missing(Exception):
    def __init__(self, level: int, index: int) -> None:
        self.at = (level, index)


async def with_tiles(compute: Callable[[Read], T], read: Callable[[int, int], Awaitable[bytes]]) -> T:
    """Run a pure computation over tiles that must be awaited: fetch what it lacks and run it again."""
    cache: dict[tuple[int, int], bytes] = {}

    def cached(level: int, index: int) -> bytes:
        if (level, index) not in cache:
            raise _Missing(level, index)
        return cache[(level, index)]

    while True:
        try:
            return compute(cached)
        except _Missing as missing:
            cache[missing.at] = await read(*missing.at)


def extend(size: int, hashes: Sequence[bytes], read: Read) -> Extension:
    """Append leaf hashes to a tree of `size`; reads at most one partial tile a level."""
    if any(len(leaf) != HASH_SIZE for leaf in hashes):
        raise ProofInvalid("a leaf hash is not 32 bytes")
    changed: dict[tuple[int, int], bytes] = {}
    level, position, pending = 0, size, list(hashes)
    while pending:
        index, offset = divmod(position, WIDTH)
        content = read(level, index)[: offset * HASH_SIZE] if offset else b""
        if len(content) != offset * HASH_SIZE:
            raise ProofInvalid(f"tile {level}/{index} is narrower than the signed tree")
        content += b"".join(pending)
        above: list[bytes] = []
        for start in range(0, len(content), WIDTH * HASH_SIZE):
            tile = content[start : start + WIDTH * HASH_SIZE]
            changed[(level, index)] = tile
            index += 1
            if len(tile) == WIDTH * HASH_SIZE:
                above.append(root_of(_split(tile)))
        level, position, pending = level + 1, position // WIDTH, above

    def newest(level: int, index: int) -> bytes:
        tile = changed.get((level, index))
        return read(level, index) if tile is None else tile

    total = size + len(hashes)
    return Extension(total, root(total, newest), changed)


def root(size: int, read: Read) -> bytes:
    """The root of the first `size` leaves."""
    return _range(0, size, read) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, read: Read) -> list[bytes]:
    """RFC 6962 section 2.1.1: the audit path of leaf `index`."""
    if not 0 <= index < size:
        raise ProofInvalid("the index is not below the tree size")
    path: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split_point(high - low)
        if index < middle:
            path.append(_range(middle, high, read))
            high = middle
        else:
            path.append(_range(low, middle, read))
            low = middle
    return path[::-1]


def consistency_proof(size1: int, size2: int, read: Read) -> list[bytes]:
    """RFC 6962 section 2.1.2: that the first `size2` leaves begin with the first `size1`."""
    if not 0 < size1 <= size2:
        raise ProofInvalid("the older tree must not be empty, nor larger than the newer")
    path: list[bytes] = []
    low, high, whole = 0, size2, True
    while size1 != high:
        middle = low + _split_point(high - low)
        if size1 <= middle:
            path.append(_range(middle, high, read))
            high = middle
        else:
            path.append(_range(low, middle, read))
            low, whole = middle, False
    if not whole:
        path.append(_range(low, high, read))
    return path[::-1]


def _split_point(count: int) -> int:
    return 1 << ((count - 1).bit_length() - 1)


def _range(low: int, high: int, read: Read) -> bytes:
    count = high - low
    if count & (count - 1) == 0:
        return _node(count.bit_length() - 1, low // count, read)
    middle = low + _split_point(count)
    return node_hash(_range(low, middle, read), _range(middle, high, read))


def _node(height: int, index: int, read: Read) -> bytes:
    """The hash of a complete subtree of 2^height leaves."""
    level, rest = divmod(height, HEIGHT)
    first = index << rest
    tile_index, offset = divmod(first, WIDTH)
    part = read(level, tile_index)[offset * HASH_SIZE : (offset + (1 << rest)) * HASH_SIZE]
    if len(part) != HASH_SIZE << rest:
        raise ProofInvalid(f"tile {level}/{tile_index} is narrower than the tree")
    return root_of(_split(part))


def _split(hashes: bytes) -> list[bytes]:
    return [hashes[i : i + HASH_SIZE] for i in range(0, len(hashes), HASH_SIZE)]


# --- paths ---

_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class TilePath:
    """A tile's address. `level` -1 is an entry bundle; `width` 256 is a full tile."""

    level: int
    index: int
    width: int = WIDTH

    @classmethod
    def parse(cls, path: str) -> TilePath:
        """Parse `tile/<L>/<N>[.p/<W>]`; anything not canonical raises `ProofInvalid`."""
        match = _PATH.match(path)
        if match is None or len(path) > 100:
            raise ProofInvalid("not a tile path")
        level = -1 if match[1] == "entries" else int(match[1])
        found = cls(level, int(match[2].replace("x", "").replace("/", "")), int(match[3] or WIDTH))
        if level > 63 or str(found) != path:
            raise ProofInvalid("not a canonical tile path")
        return found

    def __str__(self) -> str:
        digits = f"{self.index:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        name = "/".join([*(f"x{g}" for g in groups[:-1]), groups[-1]])
        level = "entries" if self.level < 0 else str(self.level)
        return f"tile/{level}/{name}" + (f".p/{self.width}" if self.width < WIDTH else "")


def encode_entries(entries: Sequence[bytes]) -> bytes:
    """An entry bundle: each entry after its length in two bytes, most significant first (tlog-tiles, "Log entries")."""
    if len(entries) > WIDTH:
        raise ProofInvalid("a bundle has at most 256 entries")
    if any(len(entry) > 0xFFFF for entry in entries):
        raise ProofInvalid("an entry is over 65,535 bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_entries(bundle: bytes) -> list[bytes]:
    """Read an entry bundle to its end, or raise `ProofInvalid`."""
    entries: list[bytes] = []
    at = 0
    while at < len(bundle):
        length = int.from_bytes(bundle[at : at + 2], "big")
        entry = bundle[at + 2 : at + 2 + length]
        if at + 2 > len(bundle) or len(entry) != length:
            raise ProofInvalid("the entry bundle is cut short")
        if len(entries) == WIDTH:
            raise ProofInvalid("a bundle has at most 256 entries")
        entries.append(entry)
        at += 2 + length
    return entries
