"""The credentials of tasks, asked for with the egress's own key when a permitted call needs one, and put in one header.

A credential is kept while its lease is live, looked at once a second while it is used; when Remit does not answer,
nothing is sent.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from remit.domain.http_route import HttpRoute
from remit_client import Denied, Refused, RemitError
from remit_client.wire import member

from ..asks import Desk
from ..secrets import LOOK_EVERY, MINTING, SHORTEST

KEPT = 4096
_VISIBLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,16383}[\x21-\x7e])?\Z")


@dataclass(frozen=True)
class Credential:
    """A header to one origin, and a search for it in what that origin says."""

    header: bytes = b""
    value: bytes = field(default=b"", repr=False)
    _spellings: tuple[bytes, ...] = field(default=(), repr=False)

    def shows_in(self, data: bytes) -> bool:
        """Whether it is there plainly, escaped as in JSON or a URL, or in base64. Short ones are not searched for."""
        return any(spelling in data for spelling in self._spellings)

    @property
    def overlap(self) -> int:
        """How many bytes of one piece of a stream must be looked at again with the next."""
        return max(map(len, self._spellings), default=1) - 1


NoCredential = Credential()


@dataclass
class _Kept:
    parts: Mapping[str, str] = field(default_factory=dict, repr=False)
    lease: str = ""
    until: float = 0.0
    looked_at: float = 0.0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Purse:
    """By task and the purpose's name for the credential."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()

    async def credential(self, task: str, route: HttpRoute) -> Credential:
        """What this route's requests carry. Raises `Denied` when the task may not have it, or it fits no header."""
        if not route.credential:
            return NoCredential
        key = (task, route.credential)
        kept = self._kept.setdefault(key, _Kept())
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        async with kept.turn:
            if not await self._usable(task, kept):
                await self._ask(task, route.credential, kept)
            return _fitted(route, kept.parts)

    def forget(self, task: str) -> None:
        """The task is over."""
        for key in [key for key in self._kept if key[0] == task]:
            del self._kept[key]

    async def _usable(self, task: str, kept: _Kept) -> bool:
        if not kept.lease or time.monotonic() >= kept.until:
            return False
        if time.monotonic() - kept.looked_at < LOOK_EVERY:
            return True
        asked_at, after = time.monotonic(), ""
        while True:
            page = await self._desk.ask("GET", f"/v1/tasks/{quote(task, safe='')}/leases?after={quote(after, safe='')}")
            for lease in member(page, "items", list):
                if lease["id"] == kept.lease:
                    kept.looked_at = asked_at
                    return bool(lease["state"] == "live")
            after = member(page, "next", str)
            if not after:
                return False

    async def _ask(self, task: str, name: str, kept: _Kept) -> None:
        kept.lease, kept.parts, asked_at = "", {}, time.monotonic()
        path = f"/v1/tasks/{quote(task, safe='')}/credentials"
        try:
            found = await self._desk.ask("POST", path, {"credential": name}, patience=MINTING)
        except Refused as refused:
            raise Denied(refused.message, reasons=("refused",), next_step=refused.next_step) from refused
        lasts = (member(found, "expires_at", int) - member(found, "minted_at", int)) / 1000
        kept.parts, kept.lease = member(found, "parts", dict), member(found, "id", str)
        kept.until, kept.looked_at = asked_at + lasts - min(10.0, lasts / 5), asked_at


def _fitted(route: HttpRoute, parts: Mapping[str, str]) -> Credential:
    basic = route.scheme.lower() == "basic"
    if route.part:
        value = parts.get(route.part, "")
    elif basic and {"username", "password"} <= parts.keys():
        value = f"{parts['username']}:{parts['password']}"
    else:
        value = next(iter(parts.values())) if len(parts) == 1 else ""
    if not _VISIBLE.match(value):
        step = f"Name one of its parts in [http] part: {', '.join(sorted(parts))}."
        raise RemitError(f"The credential {route.credential} fits in no header.", next_step=step)
    coded = base64.b64encode(value.encode()).decode()
    said = f"{route.scheme} {coded if basic else value}".strip()
    return Credential(
        route.header.encode(), said.encode(), _spellings(value, coded, *(parts.values() if basic else ()))
    )


def _spellings(*values: str) -> tuple[bytes, ...]:
    ways = [
        (value, json.dumps(value)[1:-1], quote(value, safe=""), base64.b64encode(value.encode()).decode())
        for value in values
        if len(value) >= SHORTEST
    ]
    return tuple(dict.fromkeys(text.encode() for way in ways for text in way))
