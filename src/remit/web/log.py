"""The log to read and to prove: checkpoint, tiles, receipts (C2SP tlog-tiles, tlog-checkpoint, tlog-proof)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from remit.domain.caller import Call, CallerKind
from remit.domain.errors import Absent, BadField, ProofInvalid
from remit.domain.task import Task
from remit.formats import log_words, tlog
from remit.govern.out import cosigned as cosigned_note
from remit.govern.search import search as search_log
from remit.govern.search import shown
from remit.log import tiles
from remit.log.merkle import leaf_hash

from . import api_agents
from .house import Asked, House
from .problems import json_response, text_response

PAGE = 1000
WORDS = 8


async def checkpoint(house: House, call: Call, asked: Asked) -> Response:
    """The newest signed checkpoint."""
    _, note = await house.log.head()
    if not note:
        raise Absent(inside="nothing is sequenced yet")
    return text_response(note)


async def cosigned(house: House, call: Call, asked: Asked) -> Response:
    """The newest checkpoint that `?quorum=` (1) of the catalogue's witnesses have cosigned."""
    quorum = asked.whole("quorum", 1, most=100)
    note = await cosigned_note(house.env, house.log, quorum)
    if not note:
        raise Absent(inside=f"no checkpoint has {quorum} cosignatures")
    return text_response(note)


async def key(house: House, call: Call, asked: Asked) -> Response:
    """The log's verifier key: what an auditor must get by another way than this."""
    signer = house.env.signer
    current = next(key for key in signer.public("log") if key["kid"] == signer.signing("log"))
    return text_response(f"{tlog.note_key(house.log_name, current)}\n")


async def tile(house: House, call: Call, asked: Asked) -> Response:
    """A tile of hashes or a bundle of entries, full or partial, never more than is signed."""
    size, _ = await house.log.head()
    try:
        wanted = tiles.TilePath.parse("tile/" + asked.path["tile"])
    except ProofInvalid as bad:
        raise Absent(inside=str(bad)) from bad
    covers = 1 if wanted.level < 0 else tiles.WIDTH**wanted.level
    signed = size // covers - wanted.index * tiles.WIDTH
    if signed < wanted.width:
        raise Absent(inside=f"{wanted} is beyond the signed tree")
    if wanted.level >= 0:
        content = await house.log.tile(wanted.level, wanted.index)
        return text_response(content[: wanted.width * 32], media="application/octet-stream")
    start = wanted.index * tiles.WIDTH
    entries = await house.log.entries(start, start + wanted.width)
    return text_response(tiles.encode_entries(entries), media="application/octet-stream")


async def entries(house: House, call: Call, asked: Asked) -> Response:
    """Sequenced events as JSON lines, exactly the bytes that are hashed; `?start=&limit=`."""
    size, _ = await house.log.head()
    start = asked.whole("start", 0, most=2**53)
    limit = asked.whole("limit", PAGE, most=PAGE)
    found = await house.log.entries(start, min(start + limit, size))
    return text_response(b"".join(entry + b"\n" for entry in found), media="application/jsonl")


async def search(house: House, call: Call, asked: Asked) -> Response:
    """Events that have all the words of `?q=`, the newest first; `?since=&until=` in ms, `?before=` a place."""
    wanted = asked.query.get("q", "").split()
    check_words(wanted)
    at = {name: asked.whole(name, 0, most=2**53) for name in ("before", "since", "until")}
    found = await search_log(house.log, wanted, limit=asked.whole("limit", 50, most=PAGE), **at)
    return json_response({"items": [shown(entry) for entry in found.entries], "next": found.next})


def check_words(wanted: Sequence[str]) -> None:
    """Raise `BadField` when there are too many words, or too long ones."""
    if len(wanted) > WORDS or any(len(word) > log_words.LONGEST for word in wanted):
        raise BadField("q", f"at most {WORDS} words of at most {log_words.LONGEST} characters")


async def proof(house: House, call: Call, asked: Asked) -> Response:
    """A receipt that one event is under the newest checkpoint; for people, of events of tasks they may see."""
    return text_response((await receipt(house, call, asked))[2])


async def receipt(house: House, call: Call, asked: Asked) -> tuple[int, bytes, str]:
    """Where an event is, its bytes, and the receipt for it; `Absent` for what is not there and what is not theirs."""
    if not asked.path["index"].isdecimal() or len(asked.path["index"]) > 15:
        raise BadField("index", "must be a whole number")
    index = int(asked.path["index"])
    size, note = await house.log.head()
    found = await house.log.entries(index, index + 1) if index < size else ()
    if not found or not await may_see(house, call, json.loads(found[0])):
        raise Absent(inside=f"index {index} of {size} for {call.caller}")
    path = await tiles.with_tiles(lambda read: tiles.inclusion_proof(index, size, read), house.log.tile)
    return index, found[0], tlog.write_proof(index, path, note)


async def may_see(house: House, call: Call, entry: Mapping[str, Any]) -> bool:
    """The log is its readers'; people see what happened in tasks that they may see."""
    if call.caller.kind is not CallerKind.PERSON:
        return True
    task = await house.env.store.get(Task, str(entry["data"].get("task", "")))
    return task is not None and await api_agents.may_see(house, call, task)


async def status(house: House, call: Call, asked: Asked) -> Response:
    """Size and root of the newest checkpoint, and the hash of the last entry."""
    size, note = await house.log.head()
    last = await house.log.entries(size - 1, size) if size else []
    return json_response({"size": size, "checkpoint": note, "last": leaf_hash(last[0]).hex() if last else ""})
