"""One event as it leaves: a line of JSON with its place, from which the bytes that are hashed can be had again.

Nothing in a line ends it or hides a part of it: C0 controls are escapes in JSON already. What else some reader takes
for the end of a line, a command to a terminal or a change of direction is written as an escape too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from remit.domain.errors import Malformed
from remit.domain.out import Form

from . import ocsf

LINE_LIMIT = 1 << 20
_encode = msgspec.json.Encoder().encode
_parse = msgspec.json.Decoder(dict[str, Any]).decode
# DEL and C1 controls, what has no width, the separators of lines and the marks of direction; as UTF-8.
_BAD = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\x8b-\x8f\xa8-\xae]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf")
_ESCAPE = re.compile(rb"\\(?:u(007f|00[89][0-9a-f]|20[026][0-9a-f]|feff)|.)")
_OURS = re.compile(rb'\{"log":("(?:[^"\\]|\\.)*"),"place":(0|[1-9][0-9]{0,18}),"event":(\{.*\})\}\Z')


@dataclass(frozen=True, slots=True)
class Known:
    """What a transport says beside the record: the event's type, when (ms), its trace, and whether it is a no."""

    kind: str
    at: int
    trace: str
    denied: bool


def known(leaf: bytes) -> Known:
    """Of this event."""
    entry = _parse(leaf)
    kind, data = str(entry["type"]), entry["data"]
    return Known(kind, int(entry["at"]), str(entry["trace"]), kind.endswith("Denied") or data.get("decision") == "deny")


def line(form: Form, place: int, leaf: bytes, log_name: str) -> bytes:
    """The record, without a newline."""
    if form is Form.OCSF:
        return _safe(_encode(ocsf.event(place, leaf, log_name)))
    return b'{"log":%b,"place":%d,"event":%b}' % (_encode(log_name), place, _safe(leaf))


def read(text: bytes) -> tuple[str, int, bytes]:
    """Log, place and leaf of a line that was delivered, whatever a syslog server put before it; or `Malformed`."""
    start = text.find(b'{"')
    record = text[start:].strip() if start >= 0 else b""
    ours = _OURS.match(record)
    try:
        if ours is not None:
            return msgspec.json.decode(ours[1], type=str), int(ours[2]), _ESCAPE.sub(_unescaped, ours[3])
        found = _parse(record)
        place, leaf = found["metadata"]["sequence"], found["raw_data"]
        if isinstance(place, int) and isinstance(leaf, str):
            return str(found["metadata"]["log_name"]), place, leaf.encode()
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        pass
    raise Malformed("not a record of Remit")


def _safe(text: bytes) -> bytes:
    return _BAD.sub(lambda bad: b"\\u%04x" % ord(bad[0].decode()), text)


def _unescaped(found: re.Match[bytes]) -> bytes:
    """Undo `_safe`, and leave every escape that the leaf has itself."""
    raw = chr(int(found[1], 16)).encode() if found[1] else b""
    return raw if _BAD.fullmatch(raw) else found[0]
