"""A reviewed ceiling: what kind of task may be asked of whom, with which tools, data and limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum

from .errors import BadField
from .flow import Json, Sensitivity
from .hours import ALWAYS, Hours
from .identity import Tier
from .scope import Between, Bound, Constraint, From, Grant, Matching, OneOf, Pattern, Scope
from .tool import canonical_scalar

_HOLE = re.compile(r"\{([a-z_][a-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One named value the initiator states when proposing; text, matched whole by `pattern`, ≤ 1024 characters."""

    name: str
    pattern: str
    required: bool = True
    title: str = ""

    def checked(self, value: Json) -> str:
        """Return the value's canonical text or raise `BadField` naming the parameter."""
        text = canonical_scalar(value)
        if text is None or len(text) > 1024 or not re.fullmatch(self.pattern, text):
            raise BadField(f"parameters.{self.name}", f"must match {self.pattern}")
        return text


@dataclass(frozen=True, slots=True)
class GrantRule:
    """A grant before the task's parameters are known: `{customer}` in texts is filled at the proposal.

    A rule that mentions an optional parameter that was not stated grants nothing.
    """

    tool: str
    resource: str
    one_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    between: Mapping[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    matching: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def filled(self, parameters: Mapping[str, str]) -> Grant | None:
        """Return the concrete grant, or None when a parameter it needs was not stated."""
        mentioned = {m for text in self._texts() for m in _HOLE.findall(text)}
        if not mentioned <= parameters.keys():
            return None
        for name in mentioned & set(_HOLE.findall(self.resource)):
            if "/" in parameters[name] or parameters[name] in ("", ".", "..", "*", "**"):
                raise BadField(f"parameters.{name}", "may not change the shape of a resource's path")
        bounds: list[tuple[str, Constraint]] = [
            *((a, OneOf(frozenset(_fill(v, parameters) for v in vs))) for a, vs in self.one_of.items()),
            *((a, Between(least, most)) for a, (least, most) in self.between.items()),
            *((a, Matching(pattern)) for a, pattern in self.matching.items()),
            *((a, From(frozenset(sources))) for a, sources in self.sources.items()),
        ]
        pattern = Pattern.parse(_fill(self.resource, parameters))
        return Grant(self.tool, pattern, frozenset(Bound(a, c) for a, c in bounds))

    def _texts(self) -> list[str]:
        return [self.resource, *(v for values in self.one_of.values() for v in values)]


def _fill(text: str, parameters: Mapping[str, str]) -> str:
    return _HOLE.sub(lambda hole: parameters[hole.group(1)], text)


@dataclass(frozen=True, slots=True)
class CredentialRule:
    """A credential a task of this purpose may be issued.

    `issuer` names a configured issuer; `grants` is that issuer's own least-privilege description
    (tables and privileges, an audience, …), checked by the issuer when the catalogue is applied.
    `reveal` lets the agent see a static secret or an OAuth token; otherwise only enforcement points use it.
    """

    name: str
    issuer: str
    ttl: int
    grants: Mapping[str, Json] = field(default_factory=dict)
    reveal: bool = False
    environment: str = ""
    sensitivity: Sensitivity = Sensitivity.INTERNAL

    def within(self, other: CredentialRule, mine: Mapping[str, str], others: Mapping[str, str]) -> bool:
        """Whether whoever may have `other`, with its parameters, could have had exactly this one.

        What an issuer grants has no order here that anybody could judge, so only the same is within.
        """
        same = (self.issuer, self.grants, self.environment) == (other.issuer, other.grants, other.environment)
        holes = set(_HOLE.findall(str(self.grants)))
        return (
            same
            and all(mine.get(hole) == others.get(hole) for hole in holes)
            and self.reveal <= other.reveal
            and self.sensitivity <= other.sensitivity
        )


@dataclass(frozen=True, slots=True)
class DelegationRule:
    """Whom a task may be handed on to, for which purposes. Each child gets at most `max_calls` and `max_duration` (ms;
    0: what its own purpose allows). `fan_out` is how many hand-offs of one task there may be. `again`: the
    agent may already act in the chain.
    """

    agents: tuple[str, ...]
    purposes: tuple[str, ...]
    max_calls: int = 0
    max_duration: int = 0
    fan_out: int = 8
    again: bool = False


class Profile(Enum):
    """How much of the default policy stands in the way. BY_TIER: autonomous agents are guarded, assistants balanced."""

    BY_TIER = ""
    GUARDED = "guarded"
    BALANCED = "balanced"
    WATCH = "watch"

    def of(self, tier: Tier) -> Profile:
        """The profile that counts for an agent of this tier."""
        if self is not Profile.BY_TIER:
            return self
        return Profile.GUARDED if tier is Tier.AUTONOMOUS else Profile.BALANCED

    @property
    def strictness(self) -> int:
        """Greater stands more in the way."""
        return (Profile.WATCH, Profile.BALANCED, Profile.GUARDED).index(self)


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """How people are asked, and what their answers must be. Durations in ms.

    `ttl`: how long an answer is waited for, and then it is no. `passkey`: a yes must be signed by one. `owner_alone`:
    the yes of somebody who answers for the agent is enough. `escalate_after`: how long until the next of the agent's
    escalation path is asked too; 0: nobody else is. `standing` is how many more one yes may cover, for at most
    `standing_for`; 0: none.
    """

    ttl: int = 3_600_000
    passkey: bool = False
    owner_alone: bool = False
    escalate_after: int = 0
    standing: int = 10
    standing_for: int = 3_600_000


@dataclass(frozen=True, slots=True)
class Purpose:
    """Durations in ms. `identity_max_age` 0 asks for no fresher proof than the identity's own expiry.

    `profile` tells policies how careful to be; under WATCH what they hold or forbid is recorded and happens all the
    same.
    `attested_by` are the kinds of proof it accepts, such as `unix`, `spiffe` or `oidc:github`; none: any kind.
    `needs` is what must be known of the agent's surroundings (see `posture`).
    `hours` is when its tasks may be open; a task ends when the window closes that it began in.
    `max_depth` is how many hand-offs there may be below one of its tasks, one under the other; 0: none at all.
    `deputy`, `escalation` and `review_every` are as an agent's. They are no part of its revision: who is asked when its
    owner is not there changes nothing of what its tasks may do.
    """

    name: str
    title: str
    owner: str
    agents: tuple[str, ...]
    grants: tuple[GrantRule, ...]
    sensitivity: Sensitivity
    environments: tuple[str, ...]
    max_duration: int
    max_calls: int
    parameters: tuple[Parameter, ...] = ()
    credentials: tuple[CredentialRule, ...] = ()
    initiators: tuple[str, ...] = ()
    approval: ApprovalRule = ApprovalRule()
    identity_max_age: int = 0
    attested_by: tuple[str, ...] = ()
    max_depth: int = 0
    profile: Profile = Profile.BY_TIER
    delegations: tuple[DelegationRule, ...] = ()
    hours: Hours = ALWAYS
    needs: Mapping[str, str] = field(default_factory=dict)
    revision: str = ""
    deputy: str = ""
    escalation: tuple[str, ...] = ()
    review_every: int = 0

    def checked_parameters(self, stated: Mapping[str, Json]) -> dict[str, str]:
        """Return every stated parameter as text; unknown, missing and ill-formed ones raise `BadField`."""
        known = {p.name: p for p in self.parameters}
        for name in stated:
            if name not in known:
                raise BadField(
                    f"parameters.{name}",
                    f"purpose {self.name} has no such parameter",
                    next_step=f"It takes: {', '.join(known) or 'none'}.",
                )
        for parameter in self.parameters:
            if parameter.required and parameter.name not in stated:
                raise BadField(f"parameters.{parameter.name}", f"purpose {self.name} needs it")
        return {name: known[name].checked(value) for name, value in stated.items()}

    def until(self, now: int) -> int:
        """The latest that a task begun now may last (ms)."""
        longest = now + self.max_duration
        return min(longest, self.hours.closes(now) or longest) if self.hours.windows else longest

    def closed(self, now: int) -> str:
        """Why no task of it may be open now, by the clock; empty when it may."""
        if not self.hours.windows or self.hours.closes(now):
            return ""
        opens = self.hours.when(self.hours.opens(now))
        return f"{self.name} runs {self.hours.text}; it opens {opens}."

    def scope(self, parameters: Mapping[str, str], until: int) -> Scope:
        """Return the widest scope a task with these parameters can have."""
        grants = (rule.filled(parameters) for rule in self.grants)
        return Scope(
            frozenset(grant for grant in grants if grant is not None),
            self.sensitivity,
            frozenset(self.environments),
            until,
        )

    @property
    def secrets(self) -> frozenset[str]:
        """The sealed secrets that its credentials are."""
        named = (rule.grants.get("secret") for rule in self.credentials)
        return frozenset(name for name in named if isinstance(name, str))

    def delegation(self, agent: str, purpose: str) -> DelegationRule | None:
        """The first rule by which a task may be handed to this agent for this purpose."""
        return next((r for r in self.delegations if agent in r.agents and purpose in r.purposes), None)

    def credential(self, name: str) -> CredentialRule | None:
        """Find a credential rule by name."""
        return next((rule for rule in self.credentials if rule.name == name), None)
