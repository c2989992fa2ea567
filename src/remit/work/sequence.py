"""Sequence: give every committed event its place in the log, and sign a checkpoint over it.

Stores commit events in any order replicas like; here they get one order. Two sequencers cannot fork the
log: `append` refuses an extension that does not begin at the stored size.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

from remit.domain.errors import Conflict
from remit.formats.tlog import Checkpoint, note_key, sign_checkpoint
from remit.log import merkle, tiles
from remit.ports import Appended, LogReader, LogWriter, Signer

BATCH = 512


class Log(LogReader, LogWriter, Protocol):
    """What the sequencer needs of a store."""


async def sequence(log: Log, signer: Signer, name: str) -> int:
    """Extend the log by what is committed; returns how many events were added (0: nothing to do).

    A checkpoint is signed over tiles computed from the stored log, so it only ever covers an extension
    of the one before (tlog-checkpoint: a log must not sign inconsistent checkpoints). Every published key of the log
    signs it, so whoever pinned one of them before its time was over can verify it.
    """
    # The head first: were it read last, another sequencer could finish in between, and what waits here would already
    # have its place under the head that `append` then agrees to extend.
    size, _ = await log.head()
    waiting = await log.unsequenced(BATCH)
    if not waiting:
        return 0
    hashes = [merkle.leaf_hash(leaf) for _, leaf in waiting]
    grown = await tiles.with_tiles(lambda read: tiles.extend(size, hashes, read), log.tile)
    keys = [(note_key(name, key), partial(_signed, signer, key["kid"])) for key in signer.public("log")]
    note = sign_checkpoint(Checkpoint(name, grown.size, grown.root), keys)
    numbers = tuple(number for number, _ in waiting)
    try:
        await log.append(Appended(size, numbers, grown.tiles, grown.size, grown.root, note))
    except Conflict:
        return 0
    return len(waiting)


def _signed(signer: Signer, kid: str, data: bytes) -> bytes:
    return signer.sign("log", data, kid).value
