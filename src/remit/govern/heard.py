"""What the log alone knows of: tokens, sessions, credentials by their name upstream; and who did what with a name.

A name is believed where Remit writes it: in that field of that type of event. Anywhere else it is something that
somebody said.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from .incident import About, Node, Sight
from .search import Searched, search

MANY = 50  # of one thing's links of a kind
Links: TypeAlias = list[tuple[str, Node]]
Hit: TypeAlias = tuple[Mapping[str, Any], Mapping[str, Any]]
# (type of event, field that Remit writes the identifier in) → what it is
_SAID: tuple[tuple[str, str, str], ...] = (
    ("TokenIssued", "jti", "token"),
    ("TransactionTokenIssued", "txn", "token"),
    ("LeaseReserved", "handle", "credential"),
    ("OrphanFound", "handle", "credential"),
    ("SessionBegan", "session", "session"),
    ("PasskeyRegistered", "passkey", "passkey"),
)
KINDS = tuple(dict.fromkeys(of for _, _, of in _SAID))
_SAYS = {"task": "for task", "lease": "is lease"}


@dataclass(frozen=True, slots=True)
class Heard:
    """The log, as one caller may read it."""

    log: Searched
    sight: Sight

    async def hits(self, type_: str, text: str, name: str, *more: str) -> list[Hit]:
        """(event, its data) of the newest of this type that have it in this field, and that the caller may see."""
        found: list[Hit] = []
        for _, leaf in (await search(self.log, [type_, text, *more], limit=MANY)).entries:
            entry = json.loads(leaf)
            if entry["type"] == type_ and _says(entry["data"].get(name), text) and await self.sight.entry(entry):
                found.append((entry, entry["data"]))
        return found

    async def about(self, kind: str, text: str) -> About | None:
        """A thing of which there is no row."""
        links, words, facts = Links(), list[list[str]](), dict[str, Any]()
        for type_, name, of in _SAID:
            for entry, data in await self.hits(type_, text, name) if of == kind else ():
                words = words or [[type_, text]]
                links += [(said, Node(one, str(data[one]))) for one, said in _SAYS.items() if data.get(one)]
                links += _of(type_, data) if self.sight.all else []
                facts |= {"said_by": type_, "at": entry["at"], "expires_at": data.get("expires_at", 0)}
        return About(facts, list(dict.fromkeys(links)), words) if words else None


def tasks_of(relation: str, hits: Iterable[Hit]) -> Links:
    """The tasks that these events are of, each once."""
    return [(relation, Node("task", task)) for task in dict.fromkeys(str(data["task"]) for _, data in hits)]


def _says(said: object, text: str) -> bool:
    return said == text or (isinstance(said, list) and any(str(one).partition("=")[2] == text for one in said))


def _of(type_: str, data: Mapping[str, Any]) -> Links:
    """Whose it is."""
    person = data.get("person") or (data["name"] if type_ == "SessionBegan" else "")
    return [("of", Node("person", str(person)))] if person else []
