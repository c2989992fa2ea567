"""What is frozen: an agent, a purpose, a tool, a secret, an environment, what somebody answers for, or everything.

One row holds all of it, and every decision, issue, proposal, hand-off and answer checks that row in its own commit:
nothing is permitted after a freeze was acknowledged, whatever it froze (law 6). A freeze ends every open task that it
reaches; making it active again brings none of them back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from .errors import WrongState
from .identity import Agent
from .purpose import Purpose

MOST = 1000


class Reach(Enum):
    """What one freeze stops. OWNER: the agents and purposes that this person answers for. TOOL and SECRET: every task
    that may use it. ENVIRONMENT: no task, but what changes anything there, and every credential for it.
    """

    AGENT = "agent"
    PURPOSE = "purpose"
    OWNER = "owner"
    TOOL = "tool"
    SECRET = "secret"  # noqa: S105 - a word
    ENVIRONMENT = "environment"
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class Freeze:
    """`reached_at` is when the last task and the last credential below it was confirmed dead; 0 until then. In ms."""

    reach: Reach
    name: str
    since: int
    reason: str
    by: str
    reached_at: int = 0

    @property
    def target(self) -> str:
        """`agent bot`, or `everything`."""
        return f"{self.reach.value} {self.name}".rstrip()

    def stops(self, agent: Agent | None, purpose: Purpose | None) -> bool:
        """Whether this agent, acting for this purpose, is below it; None is what is no longer in the catalogue."""
        match self.reach:
            case Reach.AGENT:
                return agent is not None and agent.name == self.name
            case Reach.PURPOSE:
                return purpose is not None and purpose.name == self.name
            case Reach.OWNER:
                return self.name in (agent.owner if agent else "", purpose.owner if purpose else "")
            case Reach.TOOL:
                return purpose is not None and any(rule.tool == self.name for rule in purpose.grants)
            case Reach.SECRET:
                return purpose is not None and self.name in purpose.secrets
            case Reach.ENVIRONMENT:
                return False
        return True


@dataclass(frozen=True, slots=True)
class Frozen:
    """Row: everything that is frozen. There is one, keyed `frozen`; no row is one that was never written.

    `narrowed` are the agents of which something is taken away (`domain.narrowing`): what that is stands in rows of
    their own, so that this one stays small.
    """

    freezes: tuple[Freeze, ...] = ()
    narrowed: tuple[str, ...] = ()
    version: int = 0

    @property
    def key(self) -> str:
        return "frozen"

    def of(self, agent: Agent | None, purpose: Purpose | None = None) -> Freeze | None:
        """The first freeze that stops this agent, for this purpose if one is named."""
        return next((one for one in self.freezes if one.stops(agent, purpose)), None)

    def found(self, reach: Reach, name: str) -> Freeze | None:
        """The freeze of exactly this."""
        return next((one for one in self.freezes if (one.reach, one.name) == (reach, name)), None)

    def closed(self, environment: str) -> Freeze | None:
        """The freeze of this environment: nothing there changes, and nobody is given a credential for it."""
        return self.found(Reach.ENVIRONMENT, environment)

    def began(self, freeze: Freeze) -> Frozen:
        """With one more."""
        if len(self.freezes) >= MOST:
            raise WrongState(f"{MOST} things are frozen already", next_step="Freeze an owner's estate, or everything.")
        return self.forced(freeze)

    def forced(self, freeze: Freeze) -> Frozen:
        """With one more, however many there are: what nobody answers for must not go on because of a bound."""
        return replace(self, freezes=(*self.freezes, freeze))

    def narrows(self, agent: str, *, still: bool = True) -> Frozen:
        """With something taken away from this agent, or nothing any more."""
        others = tuple(name for name in self.narrowed if name != agent)
        return replace(self, narrowed=tuple(sorted((*others, agent))) if still else others)

    def ended(self, freeze: Freeze) -> Frozen:
        """Without that one."""
        return replace(self, freezes=tuple(one for one in self.freezes if one != freeze))

    def reached(self, freeze: Freeze, now: int) -> Frozen:
        """Nothing below it lives any more."""
        done = replace(freeze, reached_at=now)
        return replace(self, freezes=tuple(done if one == freeze else one for one in self.freezes))
