"""What is known of an agent's surroundings, by whoever can tell, until when: `disk_encrypted = yes`.

A fact that is absent, or whose time is over, is not known, and what needs it is refused: absent is not "any".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .errors import BadField

MOST = 64
LONGEST = 30 * 86_400_000
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class Fact:
    """`by` said so at `at`; it counts until `until` (ms)."""

    name: str
    value: str
    until: int
    by: str
    at: int

    @property
    def text(self) -> str:
        """`name=value`: a name has no `=`, so no two facts have one text."""
        return f"{self.name}={self.value}"


@dataclass(frozen=True, slots=True)
class Posture:
    """Row, keyed by the agent; one that was never written knows nothing."""

    agent: str
    facts: tuple[Fact, ...] = ()
    version: int = 0

    @property
    def key(self) -> str:
        return self.agent

    @property
    def due(self) -> int:
        """When the first of them is over; 0: there is none."""
        return min((fact.until for fact in self.facts), default=0)

    def at(self, now: int) -> tuple[str, ...]:
        """What is known now, as texts, sorted."""
        return tuple(sorted(fact.text for fact in self.facts if now < fact.until))

    def told(self, said: Mapping[str, str], until: int, by: str, now: int) -> Posture:
        """With these facts, each in the place of an older one of its name, and without those whose time is over."""
        for name, value in said.items():
            if not checked_name(name) or not 0 < len(value) <= 128 or not value.isprintable():
                raise BadField(
                    f"facts.{name[:64]}", "wants a name of a-z, 0-9 and '_', and 1 to 128 printable characters"
                )
        if not said or not now < until <= now + LONGEST:
            raise BadField("until", "must be in the next 30 days, and of one fact at least")
        kept = tuple(fact for fact in self.facts if fact.name not in said and now < fact.until)
        facts = (*kept, *(Fact(name, value, until, by, now) for name, value in sorted(said.items())))
        if len(facts) > MOST:
            raise BadField("facts", f"are more than {MOST} of one agent")
        return replace(self, facts=facts)

    def lapsed(self, now: int) -> Posture:
        """Without those whose time is over."""
        return replace(self, facts=tuple(fact for fact in self.facts if now < fact.until))

    def unmet(self, needs: Mapping[str, str], now: int) -> str:
        """What of these needs is not so, or not known; empty when all is."""
        known = set(self.at(now))
        missed = sorted(f"{name}={value}" for name, value in needs.items() if f"{name}={value}" not in known)
        return f"{self.agent} is not known to be {', '.join(missed)}." if missed else ""


def checked_name(name: str) -> bool:
    """Whether a fact may be called so."""
    return _NAME.match(name) is not None
