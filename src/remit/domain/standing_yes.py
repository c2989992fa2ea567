"""A standing yes: "this, and the next few like it, within this task, until then".

It is one row with limits of its own and never wider than what a person saw: the same task, tool, resource and policy,
the same values but for those they released, nothing that cannot be undone, no value of a worse origin, no task that has
read darker things since, and held for no other reason. Each use takes one away, in the commit of the permit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .approval import Again, Approval, Shown
from .errors import BadField, WrongState
from .flow import Json, Label, Sensitivity, Trust
from .origin import Origin, Provenance, Traced
from .tool import Effect, Tool, as_decimal

MOST = 100


@dataclass(frozen=True, slots=True)
class Use:
    """What is attempted now, as it would be shown; `held_by` are the policies that hold it."""

    tool: Tool
    resource: str
    arguments: Mapping[str, Json]
    provenance: Provenance
    label: Label
    policy_revision: str
    held_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StandingYes:
    """Row. `arguments` are those that were shown; `until` and `ended_at` in ms, `ended_at` 0 while it may be used."""

    id: str
    approval: str
    task: str
    people: tuple[str, ...]
    shown: Shown
    arguments: Mapping[str, Json]
    tool_revision: str
    policy_revision: str
    terms: Again
    left: int
    ended_at: int = 0
    end_reason: str = ""
    version: int = 0

    @property
    def key(self) -> str:
        return self.id

    @property
    def open(self) -> bool:
        """Whether any of it is left, if its time is not over."""
        return self.left > 0 and not self.ended_at

    def misfit(self, use: Use, now: int) -> str:
        """Why it does not cover this; empty when it does."""
        shown = self.shown
        if not self.open or now >= self.terms.until:
            return "it is over"
        if use.tool.effect is Effect.IRREVERSIBLE:
            return "this cannot be undone"
        same = (shown.tool, shown.resource, self.tool_revision, self.policy_revision)
        if same != (use.tool.name, use.resource, use.tool.revision, use.policy_revision):
            return "it is for another tool, resource or policy"
        if not set(use.held_by) <= set(shown.policies):
            return "this is held for another reason"
        # What each use reads itself was part of what was agreed to.
        foreseen = Label(Trust[shown.trust.upper()], Sensitivity[shown.sensitivity.upper()]) | use.tool.label()
        if use.label.trust < foreseen.trust or use.label.sensitivity > foreseen.sensitivity:
            return "the task has read darker things since"
        return self._other_values(use) or self._worse_origins(use.provenance)

    def _other_values(self, use: Use) -> str:
        if use.arguments.keys() != self.arguments.keys():
            return "it has other arguments"
        for name, value in use.arguments.items():
            was = self.arguments[name]
            if (value == was and type(value) is type(was)) or (
                name in self.terms.released and _within(value, was, name in use.tool.decisive())
            ):
                continue
            return f"{name} is not what was agreed to"
        return ""

    def _worse_origins(self, provenance: Provenance) -> str:
        came = {one.argument: Origin[one.origin.upper()] for one in self.shown.origins}
        for name, traced in provenance.arguments.items():
            if name not in came or traced.origin > came[name]:
                return f"{name} comes from somewhere worse"
        if _rank(provenance.carried) > (-1 if self.shown.carries == "none" else Origin[self.shown.carries.upper()]):
            return "its text carries something from somewhere worse"
        return ""

    def used(self, now: int) -> StandingYes:
        """After one more use; the last one ends it."""
        if not self.open:
            raise WrongState(f"standing yes {self.id} is over")
        return replace(self, left=self.left - 1)

    def ended(self, now: int, reason: str) -> StandingYes:
        """It covers nothing from now on."""
        return replace(self, ended_at=now, end_reason=reason)


def standing_yes(approval: Approval, arguments: Mapping[str, Json], terms: Again) -> StandingYes:
    """What an approval that was granted on these terms lets happen beside it."""
    people = tuple(answer.person for answer in approval.answers if answer.yes)
    return StandingYes(
        "sty_" + approval.id.removeprefix("apv_"),
        approval.id,
        approval.task,
        people,
        approval.shown,
        arguments,
        approval.tool_revision,
        approval.policy_revision,
        terms,
        terms.count,
    )


def checked(
    terms: Again, approval: Approval, tool: Tool, arguments: Mapping[str, Json], most: int, latest: int
) -> None:
    """Raise `BadField` for terms that nobody may agree to; `most` and `latest` (ms) are the purpose's limits."""
    if approval.shown.effect == Effect.IRREVERSIBLE.word:
        raise BadField("again", "what cannot be undone is agreed to one by one")
    if not 0 < terms.count <= most:
        raise BadField("again.count", f"must be 1 to {most}" if most else "this purpose allows no standing yes")
    if not terms.until <= latest:
        raise BadField("again.until", f"must be at most {latest} (ms)")
    for name in terms.released:
        if name not in arguments:
            raise BadField("again.released", f"there is no argument {name!r}")
        if name in tool.decisive() and as_decimal(arguments[name]) is None:
            raise BadField("again.released", f"{name!r} says what happens to whom, so it stays as it was shown")


def _within(value: Json, was: Json, decisive: bool) -> bool:
    """A number: not above what was shown, and not below nothing. Anything else: only if it decides nothing."""
    now, then = as_decimal(value), as_decimal(was)
    if then is not None:
        return now is not None and 0 <= now <= then and type(value) is type(was)
    return not decisive and type(value) is type(was)


def _rank(carried: Traced | None) -> int:
    return -1 if carried is None else int(carried.origin)
