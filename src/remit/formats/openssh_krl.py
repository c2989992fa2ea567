"""OpenSSH key revocation lists (PROTOCOL.krl, format 1): serials of certificates, by the authority that signed them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from remit.domain.errors import BadToken

MAGIC = 0x5353484B524C0A00
_CERTIFICATES, _SERIAL_LIST = 1, 0x20
LIMIT = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Krl:
    """`serials` by the authority's key (SSH wire encoding); `version` grows with every change; `made_at` in seconds."""

    version: int
    made_at: int
    serials: Mapping[bytes, Sequence[int]]


def encode(krl: Krl) -> bytes:
    """The file that `RevokedKeys` names. The comment counts the entries, so that one cut off is not taken for whole."""
    sections = b"".join(_section(key, serials) for key, serials in krl.serials.items() if serials)
    comment = b"remit %d" % sum(map(len, krl.serials.values()))
    return struct.pack(">QIQQQ", MAGIC, 1, krl.version, krl.made_at, 0) + _text(b"") + _text(comment) + sections


def _section(authority: bytes, serials: Sequence[int]) -> bytes:
    listed = b"".join(serial.to_bytes(8, "big") for serial in sorted(serials))
    return bytes([_CERTIFICATES]) + _text(_text(authority) + _text(b"") + bytes([_SERIAL_LIST]) + _text(listed))


def parse(data: bytes) -> Krl:
    """Read one that `encode` made; anything else is `BadToken`."""
    try:
        magic, form, version, made_at, flags = struct.unpack_from(">QIQQQ", data)
        if len(data) > LIMIT or (magic, form, flags) != (MAGIC, 1, 0):
            raise ValueError("header")
        rest = data[struct.calcsize(">QIQQQ") :]
        _, rest = _take(rest)
        comment, rest = _take(rest)
        found: dict[bytes, Sequence[int]] = {}
        while rest:
            kind, (body, rest) = rest[0], _take(rest[1:])
            authority, body = _take(body)
            reserved, body = _take(body)
            inner, (listed, end) = body[0], _take(body[1:])
            if (kind, reserved, inner, end) != (_CERTIFICATES, b"", _SERIAL_LIST, b"") or len(listed) % 8:
                raise ValueError("section")
            found[authority] = [int.from_bytes(listed[i : i + 8], "big") for i in range(0, len(listed), 8)]
        if comment != b"remit %d" % sum(map(len, found.values())):
            raise ValueError("cut off")
    except (struct.error, ValueError, IndexError) as flaw:
        raise BadToken("The revocation list is not one of ours.", inside=f"{flaw}") from flaw
    return Krl(version, made_at, found)


def _text(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _take(data: bytes) -> tuple[bytes, bytes]:
    (length,) = struct.unpack_from(">I", data)
    if len(data) < 4 + length:
        raise ValueError("cut off")
    return data[4 : 4 + length], data[4 + length :]
