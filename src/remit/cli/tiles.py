"""A log in a folder, as C2SP tlog-tiles wants it: what any static file server can serve, and anybody check.

A full tile never changes, so it is taken once. Partial ones are taken for exactly the size of the checkpoint, and a
partial one goes when its full one is there. The checkpoint is written last, whole or not at all: a reader never finds
one whose tiles are missing. It is not written when what is here already is not a beginning of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from remit.domain.errors import ProofInvalid
from remit.formats.tlog import Checkpoint, unverified_checkpoint
from remit.log import tiles
from remit.log.merkle import HASH_SIZE, leaf_hash, root_of
from remit.log.tiles import WIDTH, TilePath


def mirror(folder: Path, note: str, get: Callable[[str], bytes]) -> tuple[int, int]:
    """Bring the folder up to this checkpoint; returns its size, and how many files were written.

    Everything that is taken is checked against the checkpoint's root before the checkpoint is written: entries against
    the lowest tiles, tiles against the root.
    """
    head, older = unverified_checkpoint(note), folder / "checkpoint"
    was = unverified_checkpoint(older.read_text()) if older.exists() else None
    if was is not None and (was.origin != head.origin or was.size > head.size):
        raise ProofInvalid(f"{older} is of another log, or of a longer one: {was.size} events of {was.origin}")
    fresh = [path for path in wanted(head.size) if not (folder / str(path)).exists()]
    for path in fresh:
        _put(folder / str(path), get(str(path)))
    _check(folder, fresh, head, was)
    _put(older, note.encode())
    for path in (set(wanted(was.size)) - set(wanted(head.size))) if was else ():
        (folder / str(path)).unlink(missing_ok=True)
    return head.size, len(fresh)


def wanted(size: int) -> Iterator[TilePath]:
    """Every tile and bundle of a tree of this size; empty ones are never there."""
    for level, covers in [(-1, 1), *((n, WIDTH**n) for n in range(8))]:
        full, rest = divmod(size // covers, WIDTH)
        for index in range(full):
            yield TilePath(level, index)
        if rest:
            yield TilePath(level, full, rest)


def _check(folder: Path, fresh: Sequence[TilePath], head: Checkpoint, was: Checkpoint | None) -> None:
    def read(level: int, index: int) -> bytes:
        width = min(WIDTH, head.size // WIDTH ** max(level, 0) - index * WIDTH)
        return (folder / str(TilePath(level, index, width))).read_bytes()

    for path in fresh:
        if path.level >= 0 and _below(path, read) != read(path.level, path.index):
            raise ProofInvalid(f"{path} does not have the hashes of what is below it")
    if tiles.root(head.size, read) != head.root:
        raise ProofInvalid("the tiles do not make the root that is signed")
    if was is not None and tiles.root(was.size, read) != was.root:
        raise ProofInvalid(f"rewritten: the first {was.size} events are not those that were here before")


def _below(path: TilePath, read: tiles.Read) -> bytes:
    """The hashes of what a tile stands over: of entries, or of full tiles one level down."""
    if path.level == 0:
        return b"".join(map(leaf_hash, tiles.decode_entries(read(-1, path.index))))
    first = path.index * WIDTH
    return b"".join(root_of(_split(read(path.level - 1, first + n))) for n in range(path.width))


def _split(tile: bytes) -> list[bytes]:
    return [tile[at : at + HASH_SIZE] for at in range(0, len(tile), HASH_SIZE)]


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    os.replace(beside, path)
