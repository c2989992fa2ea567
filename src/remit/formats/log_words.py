"""The words that an event of the log is found by: its type, who caused it, and every name, id and state in it.

What people wrote, and digests that nobody types, are no words. A word is kept as a number, 63 bits of its BLAKE2b hash;
two words that share one are told apart by looking at the event.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Protocol

import msgspec

LONGEST = 200
VERSION = (
    2  # greater whenever `words` says more: stores then make the index anew, and go on with the old one until then
)
_NOT_WORDS = frozenset(
    {
        *("goal", "parameters", "summary", "reason", "error", "public", "note"),
        *("access", "catalogue", "previous", "purpose_revision", "trust", "sensitivity", "origin", "carries"),
    }
)
# Each of their many events has a purpose too, which is in a word of ours alone: a tool may be called like one.
_UNDER = frozenset({"AccessDecided", "LeaseReserved"})
SIGNED = "signed ApprovalAnswered"  # a passkey did
_parse = msgspec.json.Decoder(dict[str, Any]).decode


def number(word: str) -> int:
    """What the word is kept as."""
    return int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "big") >> 1


def words(leaf: bytes) -> frozenset[str]:
    """All words of one event."""
    entry = _parse(leaf)
    by = str(entry["by"])
    found = {str(entry["type"]), by, by.partition(":")[2], str(entry["trace"])}
    for name, value in entry["data"].items():
        if name not in _NOT_WORDS and not (name == "purpose" and entry["type"] in _UNDER):
            found.update(_texts(value))
    said = frozenset(word for word in found if 0 < len(word) <= LONGEST and not any(c.isspace() for c in word))
    return said.union(_ours(str(entry["type"]), entry["data"]))


def _ours(kind: str, data: dict[str, Any]) -> Iterator[str]:
    """Words of ours, with a space in them, which nothing that is said in an event can be: so what is counted by them is
    exact, whatever an agent calls a tool that does not exist. What kind of event it is; what was decided, by which
    control, and why it was refused; in which task, what an agent used and was permitted.
    """
    yield from counted(kind, data)
    if isinstance(data.get("task"), str) and data["task"]:
        yield within(data["task"])
    if kind == "PostureAssessed":  # an address is what somebody looks for, and not `address=…`
        values = (fact.partition("=")[2] for fact in data["facts"])
        yield from (value for value in values if 0 < len(value) <= LONGEST and not any(c.isspace() for c in value))
    if kind in ("AccessDecided", "LeaseReserved"):
        yield used(str(data["agent"]))
    if kind == "AccessDecided" and data["decision"] == "permit":
        yield permitted(str(data["agent"]), str(data["tool"]))
    purpose = data.get("purpose", "")
    if kind == "AccessDecided" and purpose:
        yield called(str(data["decision"]), purpose, str(data["agent"]), str(data["tool"]))
    if kind == "LeaseReserved" and purpose:
        yield issued(purpose, str(data["agent"]), str(data["credential"]))


def within(task: str) -> str:
    """The word of what happened in this very task, whoever else may have said its id."""
    return f"in {task}"


def called(decision: str, purpose: str, agent: str, tool: str) -> str:
    """The word of a tool's calls that were decided so, of this agent under this purpose."""
    return f"{decision} {purpose} {agent} {tool}"


def issued(purpose: str, agent: str, credential: str) -> str:
    """The word of a credential that this agent was given under this purpose."""
    return f"issued {purpose} {agent} {credential}"


class Derives(Protocol):
    """Whoever has the root key."""

    def derive(self, context: bytes) -> bytes:
        """A key of this context alone."""
        ...


def resource_word(key: Derives, resource: str) -> str:
    """What the log calls a resource: 128 bits of a MAC. Who has the log alone cannot guess names, nor make one up."""
    return (
        "res_" + hmac.digest(key.derive(b"resources"), resource.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]
    )


def counted(kind: str, data: dict[str, Any]) -> Iterator[str]:
    """The words that evidence counts."""
    decision = data.get("decision", "deny" if kind.endswith("Denied") else "")
    yield decided(decision) if kind == "AccessDecided" else happened(kind)
    if decision in ("hold", "deny"):
        yield from (control(name) for name in data.get("controls", ()))
    if decision == "deny":
        yield from (refused(reason) for reason in data.get("reasons", ()))
    if kind == "ApprovalAnswered" and (data.get("signed") or {}).get("passkey"):
        yield SIGNED


def happened(kind: str) -> str:
    """The word of every event of this type but decisions, which have one for each outcome."""
    return f"is {kind}"


def decided(decision: str) -> str:
    """The word of every call that was decided so: `permit`, `hold` or `deny`."""
    return f"decided {decision}"


def control(name: str) -> str:
    """The word of what a policy that serves this control has held or denied."""
    return f"control {name}"


def refused(reason: str) -> str:
    """The word of what was denied for this reason: a call, a task, a credential, a hand-off."""
    return f"refused {reason}"


def used(agent: str) -> str:
    """The word of what an agent did."""
    return f"used {agent}"


def permitted(agent: str, tool: str) -> str:
    """The word of a tool's calls that an agent was permitted."""
    return f"permitted {agent} {tool}"


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (one for one in value if isinstance(one, str))
