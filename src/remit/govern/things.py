"""What there is to a task, a lease, an approval, a name: what it is now, and what it leads to.

Every look-up is of a row by its key or an indexed column, or of events of the one type in which Remit writes the
identifier itself. None of them grows with the log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from . import names, rows
from .heard import KINDS
from .incident import About, Node
from .looking import Looking

_Look = Callable[[Looking, str], Awaitable[About | None]]


class Things:
    """See `incident.Known`: everything that one caller may see."""

    def __init__(self, look: Looking) -> None:
        self._look = look

    async def named(self, text: str) -> Sequence[Node]:
        """See `incident.Known`. `agent:bot` asks for the agent alone. What leaked is what its finding is."""
        kind, _, rest = text.partition(":")
        if kind in _ABOUT and rest:
            asked = [Node(kind, rest)]
        else:
            place = text.removeprefix("#")
            asked = [Node("event", place)] if place.isascii() and place.isdecimal() and len(place) < 16 else []
            asked += [Node(one, text) for one in _ABOUT if one != "event"]
        found: list[Node] = []
        for node in asked:
            about = await self.about(node)
            if about is not None:
                found += [node, *(link for said, link in about.links if said == rows.LEAKED)]
        return list(dict.fromkeys(found)) or [
            node for node in (Node("resource", text),) if await self.about(node) is not None
        ]

    async def about(self, node: Node) -> About | None:
        """See `incident.Known`."""
        return await _ABOUT[node.kind](self._look, node.id)


def _heard(kind: str) -> _Look:
    return lambda look, text: look.heard.about(kind, text)


_ABOUT: Mapping[str, _Look] = {
    "task": rows.task,
    "lease": rows.lease,
    "approval": rows.approval,
    "agent": names.agent,
    "person": names.person,
    "purpose": names.purpose,
    "tool": names.tool,
    "secret": names.secret,
    "issuer": names.issuer,
    "key": rows.key,
    "access key": rows.access_key,
    "resource": names.resource,
    "address": names.address,
    "finding": rows.finding,
    "fingerprint": rows.fingerprint,
    "event": rows.event,
    **{kind: _heard(kind) for kind in KINDS},
}
