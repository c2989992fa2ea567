"""What was found in the log, to take away: as CSV, as OCSF, or as the events themselves, one JSON object a line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

from starlette.responses import Response, StreamingResponse

from remit.domain.caller import Call
from remit.domain.errors import BadField, Busy
from remit.formats import event_csv, ocsf
from remit.govern.search import search, shown
from remit.web.house import Asked, House
from remit.web.problems import HEADERS

from .log import wanted

MOST = 50_000  # events
PAGE = 500
AT_ONCE = 4
SECONDS = 120.0
Line = Callable[[int, bytes], str]
_running: set[object] = set()


async def export(house: House, call: Call, asked: Asked) -> Response:
    """The newest 50,000 that fit, the newest first; `?before=` goes on below the last of them."""
    words, since, until = wanted(asked)
    formats: dict[str, tuple[str, str, Line]] = {
        "csv": ("text/csv; charset=utf-8", event_csv.header(), event_csv.line),
        "ocsf": ("application/jsonl", "", lambda i, leaf: json.dumps(ocsf.event(i, leaf, house.log_name)) + "\n"),
        "jsonl": ("application/jsonl", "", lambda i, leaf: json.dumps(shown((i, leaf))) + "\n"),
    }
    if asked.query.get("format") not in formats:
        raise BadField("format", f"must be {', '.join(formats)}")
    media, first, line = formats[asked.query["format"]]
    if len(_running) >= AT_ONCE:
        raise Busy("Too many exports are running.", next_step="Try again when one is done.")
    before = asked.whole("before", 0, most=2**53)
    name = f"remit-log.{asked.query['format']}" + ("l" if asked.query["format"] == "ocsf" else "")
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
    lines = _lines(house, words, before, since, until, first, line)
    return StreamingResponse(lines, headers=headers, media_type=media)


async def _lines(
    house: House, words: list[str], before: int, since: int, until: int, first: str, line: Line
) -> AsyncIterator[bytes]:
    mine = object()
    _running.add(mine)
    try:
        async with asyncio.timeout(SECONDS):
            yield first.encode()
            left = MOST
            while left > 0:
                found = await search(house.log, words, before=before, limit=min(PAGE, left), since=since, until=until)
                yield "".join(line(index, leaf) for index, leaf in found.entries).encode()
                left -= len(found.entries)
                before = found.next
                if not before:
                    return
                await asyncio.sleep(0)  # decisions go first
    finally:
        _running.discard(mine)
