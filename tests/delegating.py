"""A catalogue in which tasks are handed on, a store that lets others in between, and the steps of a hand-off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec

from remit.domain.above import Delegation
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.task import Task
from remit.formats import jwk, rfc8693
from remit.store.memory import MemoryStore
from remit.verbs.delegate import Part, delegate
from remit.verbs.propose import Proposal, propose
from tests.world import World, changed, world

AGENT = 'owner = "olga"\n[[attestations]]\nmethod = "join_token"\n'
CREDENTIALS = """
[[credentials]]
name = "db"
issuer = "pg"
ttl = "10m"
grants = { who = "{customer}" }
"""
LEAD = f"""
owner = "olga"
agents = ["bot"]
max_duration = "15m"
max_calls = 20
max_depth = 2
max_sensitivity = "confidential"
[parameters.customer]
pattern = "[a-z]+"
[[grants]]
tool = "list"
resource = "customer/{{customer}}"
[[grants]]
tool = "pay"
resource = "customer/{{customer}}/*"
where.amount = {{ between = ["0", "500"] }}
[[grants]]
tool = "note"
[[grants]]
tool = "web"
{CREDENTIALS}
[[delegations]]
agents = ["other", "bot"]
purposes = ["dig", "lead", "watched"]
max_calls = 6
max_duration = "5m"
fan_out = 3
"""
DIG = f"""
owner = "olga"
agents = ["other", "third", "bot"]
max_duration = "1h"
max_calls = 50
max_depth = 5
max_sensitivity = "restricted"
[parameters.customer]
pattern = "[a-z]+"
[[grants]]
tool = "list"
[[grants]]
tool = "pay"
resource = "customer/{{customer}}/*"
[[grants]]
tool = "note"
[[grants]]
tool = "web"
[[grants]]
tool = "mail"
{CREDENTIALS}
[[credentials]]
name = "other_db"
issuer = "pg"
ttl = "10m"
grants = {{ who = "everybody" }}
[[delegations]]
agents = ["third", "bot"]
purposes = ["dig"]
[[delegations]]
agents = ["other"]
purposes = ["dig", "watched"]
again = true
"""
CATALOGUE = changed(
    agents__third_dot_toml=AGENT,
    purposes__lead_dot_toml=LEAD,
    purposes__dig_dot_toml=DIG,
    purposes__watched_dot_toml=DIG.replace("max_depth = 5", 'max_depth = 5\nprofile = "watch"'),
    tools__note_dot_toml='effect = "write"\n[arguments.to]\ntype = "text"\n',
    tools__web_dot_toml='effect = "read"\noutput_trust = "untrusted"\noutput_sensitivity = "public"\n',
)


class Between(MemoryStore):
    """`between` runs once, after everything was read and before the next commit."""

    between: Callable[[], Awaitable[Any]] | None = None

    async def commit(self, change: Change) -> int:
        once, self.between = self.between, None
        if once is not None:
            await once()
        return await super().commit(change)


async def house(files: dict[str, str] | None = None) -> World:
    return await world(Between(), files or CATALOGUE)


def now(w: World, call: Call) -> Call:
    return replace(call, now=w.clock.now)


async def hand(w: World, call: Call, task: Task, agent: str = "other", **more: Any) -> str:
    part = Part(agent, **{"purpose": "dig", "goal": "dig", "parameters": {"customer": "acme"}, **more})
    text, _ = await delegate(w.env, now(w, call), task.id, part)
    return text


def read(w: World, text: str) -> Delegation:
    keys = [jwk.parse(key) for key in w.env.signer.public("token")]
    return rfc8693.parse_delegation(text, issuer=w.env.issuer_url, keys=keys, now=w.clock.now)


async def accept(w: World, call: Call, text: str, proposal: Proposal | None = None) -> Task:
    return await propose(w.env, now(w, call), proposal or Proposal("", ""), delegation=read(w, text))


async def below(w: World, call: Call, task: Task, receiver: Call, **more: Any) -> Task:
    """Hand over and open."""
    return await accept(w, receiver, await hand(w, call, task, receiver.caller.name, **more))


def last(w: World, kind: str) -> dict[str, Any]:
    """The data of the newest event of this type."""
    leaves = [msgspec.json.decode(leaf) for leaf, _ in w.store._events]
    return next(leaf["data"] for leaf in reversed(leaves) if leaf["type"] == kind)
