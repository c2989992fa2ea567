"""Sequence: give every committed event its place in the log, and sign a checkpoint over it.

Stores commit events in any order replicas like; here they get one order. Two sequencers cannot fork the
log: `append` refuses an extension that does not begin at the stored size.
"""

from __future__ import annotations

from remit.domain.errors import Conflict
from remit.formats.tlog import Checkpoint, sign_checkpoint
from remit.log import merkle, tiles
from remit.ports import Appended, LogReader, LogWriter, Signer

BATCH = 4096


async def sequence(reader: LogReader, writer: LogWriter, signer: Signer, origin: str) -> int:
    """Extend the log by what is committed; returns how many events were added (0: nothing to do).

    Every checkpoint is signed after its tiles are computed from the stored log, so it can only ever
    cover an extension of the one before.
    """
    waiting = await writer.unsequenced(BATCH)
    if not waiting:
        return 0
    size, _ = await reader.head()
    hashes = [merkle.leaf_hash(leaf) for _, leaf in waiting]
    extension = await tiles.extend(size, hashes, reader.tile)
    note = sign_checkpoint(Checkpoint(origin, extension.size, extension.root), origin, signer)
    numbers = tuple(number for number, _ in waiting)
    try:
        await writer.append(Appended(size, numbers, extension.tiles, extension.size, extension.root, note))
    except Conflict:
        return 0
    return len(waiting)
