"""Telling people that they are asked: a message is owed until each route that is for them took it, or nobody waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .approval import Approval
from .identity import Agent, Person
from .review import Review
from .succession import Succession

FIRST_RETRY, LAST_RETRY = 1_000, 300_000


@dataclass(frozen=True, slots=True)
class Route:
    """Where messages go: `secret` names the static secret that holds the address, which may hold a token, so it is
    nowhere else. `whom`: the people and groups that are reached there; none: everybody.
    """

    name: str
    secret: str
    whom: tuple[str, ...] = ()

    def reaches(self, names: tuple[str, ...], people: Mapping[str, Person]) -> bool:
        """Whether one of these people and groups is told by it."""
        if not self.whom:
            return True
        groups = {group for name in names if name in people for group in people[name].groups}
        members = {p.name for p in people.values() if set(p.groups) & set(names)}
        return bool(set(self.whom) & {*names, *groups, *members})


@dataclass(frozen=True, slots=True)
class Notice:
    """Row: a message that is owed for one approval, for what nobody answers for (`agent bot`), or for a review (`review
    bot`), to `names`, with the number of escalations in its key.
    `sent` are the routes that took it; `due` (ms) is when it is tried next, 0 when nothing is owed any more.
    """

    approval: str
    step: int
    names: tuple[str, ...]
    due: int
    attempts: int = 0
    sent: tuple[str, ...] = ()
    version: int = 0

    @property
    def key(self) -> str:
        return f"{self.approval}/{self.step}"

    def took(self, route: str) -> Notice:
        """That route took it."""
        return replace(self, sent=(*self.sent, route))

    def failed(self, now: int) -> Notice:
        """Some route did not: again after a while, and longer each time."""
        wait = min(LAST_RETRY, FIRST_RETRY << min(self.attempts, 12))
        return replace(self, attempts=self.attempts + 1, due=now + wait)

    def done(self) -> Notice:
        """Nothing is owed any more."""
        return replace(self, due=0)


def notice(approval: Approval, now: int) -> Notice:
    """What is owed to those who are asked since this step."""
    step = len(approval.asked)
    return Notice(approval.id, step, approval.asked[-1:] if step else approval.approvers, now)


def succession_notice(row: Succession, now: int) -> Notice:
    """What is owed to whoever was asked last; each time that somebody is missing is another."""
    return Notice(f"{row.key}@{row.began_at}", len(row.asked), row.asked[-1:], now)


def review_notice(row: Review, agent: Agent, answers_for: str, now: int) -> Notice:
    """What is owed to its owner and deputy when it is opened; to the escalation path too, once it was narrowed."""
    names = (answers_for, agent.deputy, *(agent.escalation if row.narrowed_at else ()))
    return Notice(f"review {row.agent}@{row.round}", 1 if row.narrowed_at else 0, tuple(filter(None, names)), now)
