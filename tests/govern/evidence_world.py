"""A world in which every mechanism is in force, and events of every kind that any of them counts."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import fields
from typing import Any, get_args

from remit.domain import events
from remit.domain.caller import CallerKind
from remit.domain.change import Change
from remit.domain.estate import EdgeSeat, EdgeSeen
from remit.domain.lease import IssuerOutage
from remit.domain.passkey import Signed
from remit.domain.secret import SealedSecret
from remit.domain.stream import Stream
from remit.work.index_log import index_log
from remit.work.sequence import sequence
from tests.world import World, world

LOG = "test/log"
DAY = 86_400_000
FILES = {
    "remit.toml": """
[people.frank]
groups = ["approvers"]
[people.olga]
[issuers.pg]
kind = "fake"
[notifications.chat]
secret = "chat"
[sign_in.company]
issuer = "https://id.example"
client_id = "remit"
person = "sub"
people = { u1 = "frank" }
[signals.company]
issuer = "https://id.example"
audience = "https://remit.test"
people = { u1 = "frank" }
[receivers.hub]
audience = "hub"
everything = true
[edges.west]
url = "https://west.example"
owner = "olga"
""",
    "agents/bot.toml": 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n',
    "purposes/pay.toml": """
owner = "olga"
agents = ["bot"]
max_duration = "15m"
max_calls = 5
approval = { passkey = true, escalate_after = "5m" }
needs = { disk_encrypted = "yes" }
[parameters.customer]
pattern = "[a-z]+"
[[grants]]
tool = "list"
resource = "customer/{customer}"
[[credentials]]
name = "db"
issuer = "pg"
ttl = "10m"
""",
    "tools/list.toml": f"""
effect = "read"
resource = "customer/{{customer}}"
pin = "sha256:{"a" * 64}"
[arguments.customer]
type = "text"
""",
    "tools/try.toml": f'effect = "read"\nenvironment = "staging"\npin = "sha256:{"b" * 64}"\n',
}


def files(**edits: tuple[str, str] | str | None) -> dict[str, str]:
    """The catalogue with edits: a file's new text, (old, new) in it, or None for no such file."""
    found = dict(FILES)
    for name, edit in edits.items():
        path = name.replace("__", "/").replace("_dot_", ".")
        if edit is None:
            found.pop(path)
        elif isinstance(edit, tuple):
            assert edit[0] in found[path], edit[0]
            found[path] = found[path].replace(*edit)
        else:
            found[path] = edit
    return found


async def put(w: World, because: Any, *rows: Any, call: Any = None) -> None:
    """Commit an event with new rows."""
    change = Change(because, call or w.call(CallerKind.OPERATOR, "op"))
    for row in rows:
        change = change.put(row, was=None)
    await w.store.commit(change)


async def good() -> World:
    """Everything in force: also what is known by rows and not by the catalogue. Made once, and put back for each test."""
    if not _MADE:
        w = await _good()
        _MADE.append((w, w.clock.now, deepcopy(_kept(w))))
    w, w.clock.now, kept = _MADE[0]
    vars(w.store).update(deepcopy(kept))
    return w


_MADE: list[tuple[World, int, dict[str, Any]]] = []
_PARTS = ("_rows", "_events", "_sequenced", "_tiles", "_head", "_words", "_seen", "_spent")


def _kept(w: World) -> dict[str, Any]:
    return {name: vars(w.store)[name] for name in _PARTS}


async def _good() -> World:
    w = await world(files=FILES)
    now = w.clock.now
    await put(
        w,
        events.SecretSealed("chat", 1, 0),
        SealedSecret("chat", "x", now, "op", rotate_after=DAY, rotate_at=now + DAY),
    )
    await put(w, events.StreamMade(*_filled(events.StreamMade)), Stream("hub", "str_1", now, 0, ()))
    await put(w, events.EdgeJoined("west", "s1", ""), EdgeSeat("west", "s1", now))
    asked = w.call(CallerKind.ENFORCER, "gate")
    await put(w, one_of("decided permit"), call=asked)
    await settled(w)
    size, _ = await w.store.head()
    await w.store.saw([EdgeSeen("west", "s1", size, "", 0, 0, "1", now)])
    return w


async def settled(w: World, indexed: bool = True) -> None:
    """Every event has its place, and the index has every event."""
    while await sequence(w.store, w.env.signer, LOG):
        pass
    while indexed and await index_log(w.store):
        pass


def one_of(word: str) -> Any:
    """An event that counts for this word."""
    kind, _, value = word.partition(" ")
    kinds = {one.__name__: one for one in get_args(events.Event)}
    if kind == "is":
        return kinds[value](*_filled(kinds[value]))
    if kind == "signed":
        filled = dict(zip([f.name for f in fields(kinds[value])], _filled(kinds[value]), strict=True))
        return kinds[value](**{**filled, "signed": Signed("pk_1")})
    if not word:
        return kinds["Unfroze"]("agent", "bot", "so")
    said = {"decision": "deny", "agent": "bot", "controls": (), "reasons": ()}
    said |= {"decided": {"decision": value}, "refused": {"reasons": (value,)}, "control": {"controls": (value,)}}[kind]
    filled = dict(zip([f.name for f in fields(events.AccessDecided)], _filled(events.AccessDecided), strict=True))
    return events.AccessDecided(**{**filled, **said})


def _filled(kind: Any) -> Iterator[Any]:
    """A value for every field, by its declared type."""
    plain = {"str": "x", "int": 1, "bool": True}
    defaults = {"again": events.approval.ONCE, "signed": Signed(), "vouched": events.approval.UNVOUCHED}
    for one in fields(kind):
        yield defaults.get(one.name, plain.get(str(one.type), ()))


async def outage(w: World) -> None:
    await put(w, events.IssuerDown("pg", w.clock.now, 1), IssuerOutage("pg", w.clock.now))
