"""One instance of a purpose: opened once, spent a little at a time, ended once.

OPEN ──► CLOSED    its agent said it is done
     ├─► REVOKED   somebody or something withdrew it
     └─► EXPIRED   its deadline passed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from .caller import Caller, CallerKind
from .chain import Chain, Principal
from .errors import NotHome, WrongState
from .flow import Label
from .scope import Scope

GOAL_LIMIT = 4096


class TaskState(Enum):
    """Only OPEN lets anything happen (law 1)."""

    OPEN = "open"
    CLOSED = "closed"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Task:
    """Row. `goal` is data, never authority (law 8). `jkt` is the key that may act for it. Times in ms.

    `uses` counts permits of tools that change something; `observed` counts results that were read. `settled_at` is
    when the last credential it held was confirmed dead; 0 until then. `check_at` is when to look again
    whether an ended task has settled. `handed` counts hand-offs, `lent` the calls that went with them; `uses`
    and `label` are of everything below as well. `home` is the edge that decides its calls; empty: the centre. `seat` is
    that edge's incarnation; `recalled_at` is when it was called home, 0 while nobody has. See `domain.estate`.
    `trace` is the span that ended it, where traces are exported.
    """

    id: str
    purpose: str
    purpose_revision: str
    agent: str
    jkt: str
    goal: str
    parameters: Mapping[str, str]
    chain: Chain
    scope: Scope
    opened_at: int
    deadline: int
    max_calls: int
    calls: int = 0
    label: Label = Label()  # noqa: RUF009 - a frozen value
    uses: Mapping[str, int] = field(default_factory=dict)
    observed: int = 0
    parent: str = ""
    state: TaskState = TaskState.OPEN
    ended_at: int = 0
    end_reason: str = ""
    settled_at: int = 0
    check_at: int = 0
    handed: int = 0
    lent: int = 0
    home: str = ""
    seat: str = ""
    recalled_at: int = 0
    trace: str = ""
    version: int = 0

    @property
    def key(self) -> str:
        return self.id

    def held_by(self, caller: Caller) -> bool:
        """Whether this is its own agent, with the key that may act for it."""
        return caller.kind is CallerKind.AGENT and (self.agent, self.jkt) == (caller.name, caller.jkt)

    def acted_for_by(self, caller: Caller) -> bool:
        """Its own agent, or an enforcement point or an edge, which asks and acts on its behalf."""
        if caller.kind is CallerKind.EDGE:
            return not caller.purposes or self.purpose in caller.purposes
        return self.held_by(caller) or caller.kind is CallerKind.ENFORCER

    def must_be_at(self, place: str) -> None:
        """Only its home decides anything for it; `NotHome` says where that is. That it is over the centre says too."""
        if self.home != place and (place or self.state is TaskState.OPEN):
            raise NotHome(self.id, self.home)

    @property
    def root(self) -> str:
        """The task that its whole hand-off hangs from: its own id when nobody handed it on."""
        return self.chain.hops[0].task

    @property
    def memory(self) -> bytes:
        """The context of the key that digests what it reads: one for a whole hand-off, which is traced together."""
        return f"observations:{self.root}".encode()

    @property
    def left(self) -> int:
        """Calls it may still make or hand on."""
        return self.max_calls - self.calls - self.lent

    @property
    def initiator(self) -> Principal:
        return self.chain.initiator

    def open_at(self, now: int) -> bool:
        """Open, and before its deadline."""
        return self.state is TaskState.OPEN and now < self.deadline

    def settled(self, now: int) -> Task:
        """Every credential it held is dead; only an ended task settles, once."""
        self._needs_end()
        return replace(self, settled_at=now)

    def waits(self, now: int) -> Task:
        """Some credential is not confirmed dead yet: look again in a second at first, in a minute at most."""
        self._needs_end()
        return replace(self, check_at=now + min(60_000, max(1_000, now - self.ended_at)))

    def _needs_end(self) -> None:
        if self.state is TaskState.OPEN or self.settled_at:
            raise WrongState(f"task {self.id} is not waiting to settle")

    def spent(self, label: Label, used: str = "") -> Task:
        """After one more permit, which reads things of this label; `used` names a tool that changes something."""
        uses = {**self.uses, used: self.uses.get(used, 0) + 1} if used else self.uses
        return replace(self, calls=self.calls + 1, label=self.label | label, uses=uses)

    def hands_on(self, calls: int) -> Task:
        """After handing on so many of its calls; they do not come back."""
        if not 0 < calls <= self.left:
            raise WrongState(f"task {self.id} has {self.left} calls left and cannot hand on {calls}")
        return replace(self, handed=self.handed + 1, lent=self.lent + calls)

    def beneath(self, label: Label, used: str = "") -> Task:
        """After something below it read things of this label, or used a tool that changes something."""
        uses = {**self.uses, used: self.uses.get(used, 0) + 1} if used else self.uses
        return replace(self, label=self.label | label, uses=uses)

    def read(self, label: Label) -> Task:
        """After one more result of this label."""
        return replace(self, observed=self.observed + 1, label=self.label | label)

    def entrusted(self, edge: str, seat: str) -> Task:
        """From now on this edge decides its calls. Hand-offs stay at the centre, where all of one can be read."""
        if self.state is not TaskState.OPEN or self.home or self.parent or self.handed:
            raise WrongState(f"task {self.id} cannot be entrusted to an edge")
        return replace(self, home=edge, seat=seat, recalled_at=0)

    def recalled(self, now: int) -> Task:
        """Its edge is to return it."""
        if not self.home or self.recalled_at:
            raise WrongState(f"task {self.id} cannot be recalled")
        return replace(self, recalled_at=now)

    def returned(self) -> Task:
        """The centre decides its calls again."""
        if not self.home:
            raise WrongState(f"task {self.id} is at home")
        return replace(self, home="", seat="", recalled_at=0)

    def reported(self, there: Task) -> Task:
        """As its edge says it is, in what an edge decides: counters only grow, and the label only darkens."""
        grown = there.calls >= self.calls and there.observed >= self.observed
        used = all(there.uses.get(name, 0) >= count for name, count in self.uses.items())
        if there.id != self.id or not (grown and used and self.label | there.label == there.label):
            raise WrongState(f"task {self.id} cannot become what is reported")
        return replace(self, calls=there.calls, observed=there.observed, uses=there.uses, label=there.label)

    def ended(self, how: TaskState, now: int, reason: str, trace: str = "") -> Task:
        """End it; ending twice raises `WrongState`."""
        if self.state is not TaskState.OPEN or how is TaskState.OPEN:
            raise WrongState(f"task {self.id} is {self.state.value} and cannot become {how.value}")
        return replace(self, state=how, ended_at=now, end_reason=reason, trace=trace)
