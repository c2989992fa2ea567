"""The log: one event of it, with its proof."""

from __future__ import annotations

import json
from typing import Any

from remit.domain.caller import Call
from remit.govern.told import told
from remit.log.merkle import leaf_hash
from remit.web import log
from remit.web.house import Asked, House


async def one(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """One event as it was hashed, what it says in words, and the receipt that it is in the log."""
    index, leaf, receipt = await log.receipt(house, call, asked)
    entry = json.loads(leaf)
    shown = {name: entry[name] for name in ("type", "at", "by", "trace", "data")}
    return {
        "index": index,
        **shown,
        **told(entry),
        "bytes": leaf.decode(),
        "hash": leaf_hash(leaf).hex(),
        "receipt": receipt,
        "links": {name: str(entry["data"].get(name, "")) for name in ("task", "agent", "approval")},
    }
