"""Who answers for agents and purposes: what the catalogue says of it, and the terms on which somebody else is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .identity import NAME

DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Terms:
    """Durations in ms. `grace`: how long a thing may go on that nobody answers for. `ask_every`: how long until the
    next of its escalation path is asked too. `confirm`: an owner answers for nothing before they said so themselves.

    `review_every`: how often an agent is reviewed, unless it says so itself (0: only when somebody opens a review).
    A review looks back over `window`, is due `review_due` after it was opened, and then narrows the agent to what it
    used after `narrow_after` more, and freezes it after `freeze_after` more. `alone`: who began its tasks may keep it
    as it is without anybody else.
    """

    grace: int = 7 * DAY
    ask_every: int = DAY
    confirm: bool = False
    review_every: int = 0
    window: int = 90 * DAY
    review_due: int = 14 * DAY
    narrow_after: int = 7 * DAY
    freeze_after: int = 14 * DAY
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Directory:
    """Who may say over SCIM that people are here or not. `people` maps our names to its `userName`s; when it is empty,
    a `userName` is the name.
    """

    name: str
    people: Mapping[str, str] = field(default_factory=dict)

    def person(self, user_name: str, known: Mapping[str, object]) -> str:
        """Who this is here; empty when it is nobody. A `userName` compares without case (RFC 7643 section 4.1.1)."""
        folded = user_name.casefold()
        if self.people:
            found = next((ours for ours, theirs in self.people.items() if theirs.casefold() == folded), "")
        else:
            found = folded
        return found if NAME.match(found) and found in known else ""
