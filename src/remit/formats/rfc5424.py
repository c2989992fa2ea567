"""Syslog messages (RFC 5424) and their frames on a stream (RFC 5425 section 4.3, octet counting).

What is said in the header was made here: a type of event, a time, a number. The record is the message, JSON as UTF-8
without a byte order mark, which the JSON parsers of syslog servers would stumble over (section 6.4 allows any octets).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from .out_record import Known

AUDIT = 13  # the facility, "log audit" (section 6.2.1)
WARNING, INFORMATIONAL = 4, 6
DATAGRAM_LIMIT = 65_000
_SEQUENCE = 2_147_483_647  # section 7.3.1
_OTHER = re.compile(r"[^\x21-\x7e]")


def message(known: Known, place: int, host: str, record: bytes) -> bytes:
    """One message; `meta` has the place, from 1 on, in the structured data."""
    priority = AUDIT * 8 + (WARNING if known.denied else INFORMATIONAL)
    at = datetime.fromtimestamp(known.at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{known.at % 1000:03d}Z"
    name, kind = _printable(host, 255), _printable(known.kind, 32)
    head = f'<{priority}>1 {at} {name} remit - {kind} [meta sequenceId="{place % _SEQUENCE + 1}"] '
    return head.encode() + record


def framed(text: bytes) -> bytes:
    """After its length in octets."""
    return b"%d %b" % (len(text), text)


def _printable(text: str, limit: int) -> str:
    return _OTHER.sub("", text)[:limit] or "-"
