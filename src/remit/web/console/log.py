"""The log: found by words and time, one event of it with its proof, and a checkpoint that you kept, checked."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, get_args

from starlette.responses import Response

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.errors import BadField, ProofInvalid
from remit.formats import form, tlog
from remit.govern.search import search
from remit.govern.told import told
from remit.log import tiles
from remit.log.merkle import leaf_hash, verify_consistency
from remit.web import log
from remit.web.house import Asked, House

from .page import answered

PAGE = 50
TYPES = tuple(sorted(kind.__name__ for kind in get_args(events.Event)))
DECISIONS = ("permit", "hold", "deny")
NAMED = ("type", "agent", "task", "decision")
FILTERS = ("q", *NAMED, "since", "until")


async def read(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """Events that have all these words in them, the newest first."""
    words, since, until = wanted(asked)
    before = asked.whole("before", 0, most=2**53)
    found = await search(house.log, words, before=before, limit=PAGE, since=since, until=until)
    entries = [(index, json.loads(leaf)) for index, leaf in found.entries]
    size, _ = await house.log.head()
    shown = [
        {**{name: entry[name] for name in ("at", "by", "type")}, "index": index, **told(entry), **_who(entry)}
        for index, entry in entries
    ]
    given = {name: asked.query.get(name, "") for name in FILTERS}
    return {"items": shown, "next": found.next, "size": size, "filters": given, "types": TYPES, "decisions": DECISIONS}


def _who(entry: dict[str, Any]) -> dict[str, str]:
    """Who did it, and in which task."""
    return {"task": str(entry["data"].get("task", "")), "agent": str(entry["by"]).partition(":")[2]}


def wanted(asked: Asked) -> tuple[list[str], int, int]:
    """The words and the time asked for: `since` and `until` in ms, or as a moment in UTC."""
    words = [*asked.query.get("q", "").split(), *(asked.query[name] for name in NAMED if asked.query.get(name))]
    log.check_words(words)
    return words, moment(asked, "since"), moment(asked, "until")


def moment(asked: Asked, name: str) -> int:
    """In ms; 0 where none is given."""
    text = asked.query.get(name, "")
    if not text or text.isdecimal():
        return asked.whole(name, 0, most=2**53)
    try:
        found = datetime.fromisoformat(text)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError) as bad:
        raise BadField(name, "must be a moment, such as 2027-01-15T08:00, or milliseconds") from bad


async def one(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """One event as it was hashed, what it says in words, and the receipt that it is in the log."""
    index, leaf, receipt = await log.receipt(house, call, asked)
    entry = json.loads(leaf)
    shown = {name: entry[name] for name in ("type", "at", "by", "trace", "data")}
    proved = {"bytes": leaf.decode(), "hash": leaf_hash(leaf).hex(), "receipt": receipt}
    return {"index": index, **shown, **told(entry), **proved}


async def checks(house: House, call: Call, asked: Asked) -> dict[str, Any]:
    """What a checkpoint is checked against."""
    size, note = await house.log.head()
    return {"size": size, "checkpoint": note, "pasted": "", "found": None}


async def verify(house: House, call: Call, asked: Asked) -> Response:
    """Whether the log here goes on from a checkpoint that somebody kept."""
    pasted = form.one(form.parse(asked.body), "checkpoint").replace("\r\n", "\n").strip() + "\n"
    model = {**await checks(house, call, asked), "pasted": pasted, "found": await extends(house, pasted)}
    return answered(house, call, asked, "verify.html", "Check a checkpoint", model)


async def extends(house: House, pasted: str) -> dict[str, Any]:
    """`ok`, and what was found, in words: by this server, of itself."""
    keys = [tlog.note_key(house.log_name, public) for public in house.env.signer.public("log")]
    size, note = await house.log.head()
    try:
        older = tlog.parse_checkpoint(pasted, keys, origin=house.log_name)
    except ProofInvalid as bad:
        return {"ok": False, "says": f"This is no checkpoint that this log signed: {bad}.", "older": 0, "newer": size}
    both = {"older": older.size, "newer": size}
    if older.size > size:
        says = f"You hold a signed checkpoint of {older.size} events, and this log has {size}: it was cut short."
        return {"ok": False, "says": says, **both}
    newer = tlog.parse_checkpoint(note, keys, origin=house.log_name)
    try:
        if older.size:
            read = house.log.tile
            path = await tiles.with_tiles(lambda one: tiles.consistency_proof(older.size, newer.size, one), read)
            verify_consistency(older.size, newer.size, path, older.root, newer.root)
    except ProofInvalid as bad:
        says = (
            f"History was rewritten: the {newer.size} events here do not begin with the {older.size} you hold ({bad})."
        )
        return {"ok": False, "says": says, **both}
    return {"ok": True, "says": f"The {newer.size} events here begin with exactly the {older.size} you hold.", **both}
