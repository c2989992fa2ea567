"""The combination by which whoever writes what an agent reads has what it knows sent to them: private data, content
that others can write, and a way out (S. Willison, The lethal trifecta, 2025). Any two are harmless by themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from .catalogue import Catalogue
from .flow import Sensitivity, Trust
from .purpose import Purpose


class Leg(Enum):
    """One of the three, in the order in which one would rather give it up."""

    OUT = "a way out"
    UNTRUSTED = "content that others can write"
    PRIVATE = "private data"


@dataclass(frozen=True, slots=True)
class Trifecta:
    """All three in one purpose, or in what its tasks may be handed on to; `legs` name the tools (`PURPOSE: TOOL`) and
    credentials, `breaks` the fewest of them, or the hand-offs, without which it is none.
    """

    purpose: str
    agents: tuple[str, ...]
    legs: Mapping[Leg, tuple[str, ...]]
    breaks: tuple[str, ...]


def smallest(legs: Mapping[Leg, Collection[str]]) -> tuple[str, ...]:
    """The fewest without which one leg is gone; empty if one is missing already."""
    if any(not legs.get(leg) for leg in Leg):
        return ()
    fewest = min(Leg, key=lambda leg: len(legs[leg]))
    return tuple(sorted(legs[fewest]))


def trifectas(catalogue: Catalogue) -> tuple[Trifecta, ...]:
    """Those of every purpose, by itself or with what its tasks may be handed on to."""
    own = {name: _legs(catalogue, purpose) for name, purpose in catalogue.purposes.items()}
    return tuple(
        _found(catalogue, own, name) for name in sorted(own) if _whole(_together(own, _below(catalogue, name)))
    )


_Legs = Mapping[Leg, tuple[str, ...]]


def _legs(catalogue: Catalogue, purpose: Purpose) -> _Legs:
    found: dict[Leg, dict[str, None]] = {leg: {} for leg in Leg}
    for grant in purpose.grants:
        tool = catalogue.tools.get(grant.tool)
        if tool is None or tool.sensitivity > purpose.sensitivity:
            continue  # a call of it is denied
        named = f"{purpose.name}: {tool.name}"
        if tool.egress:
            found[Leg.OUT][named] = None
        if Trust.UNTRUSTED in (tool.output_trust, *tool.output_fields.values()):
            found[Leg.UNTRUSTED][named] = None
        if tool.output_sensitivity >= Sensitivity.CONFIDENTIAL:
            found[Leg.PRIVATE][named] = None
    for rule in purpose.credentials:
        if rule.sensitivity >= Sensitivity.CONFIDENTIAL:
            found[Leg.PRIVATE][f"{purpose.name}: credential {rule.name}"] = None
    return {leg: tuple(names) for leg, names in found.items()}


def _below(catalogue: Catalogue, name: str) -> tuple[str, ...]:
    """It, and every purpose that its tasks may come to, over as many hands as all of them allow."""
    found = {name: catalogue.purposes[name].max_depth}
    waiting = [name]
    while waiting:
        above = waiting.pop()
        for other in _handed(catalogue, above) if found[above] else ():
            left = min(found[above] - 1, catalogue.purposes[other].max_depth)
            if left > found.get(other, -1):
                found[other] = left
                waiting.append(other)
    return tuple(found)


def _handed(catalogue: Catalogue, name: str) -> tuple[str, ...]:
    rules = catalogue.purposes[name].delegations
    return tuple(dict.fromkeys(other for rule in rules for other in rule.purposes if other in catalogue.purposes))


def _together(own: Mapping[str, _Legs], names: Collection[str]) -> _Legs:
    return {leg: tuple(part for name in names for part in own[name][leg]) for leg in Leg}


def _whole(legs: _Legs) -> bool:
    return all(legs.values())


def _found(catalogue: Catalogue, own: Mapping[str, _Legs], name: str) -> Trifecta:
    legs = _together(own, _below(catalogue, name))
    ways = [smallest(legs), *_hand_offs(catalogue, own, name)]
    return Trifecta(name, catalogue.purposes[name].agents, legs, min(ways, key=len))


def _hand_offs(catalogue: Catalogue, own: Mapping[str, _Legs], name: str) -> Iterator[tuple[str, ...]]:
    """For each leg that it has only from others: the hand-offs by which it does."""
    for leg in Leg:
        if not own[name][leg]:
            handed = _handed(catalogue, name)
            having = (other for other in handed if _together(own, _below(catalogue, other))[leg])
            yield tuple(f"{name}: hand-off to {other}" for other in having)
