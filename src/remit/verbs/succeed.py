"""Succeed: one of those who are asked answers for what nobody answers for."""

from __future__ import annotations

from remit.domain import events
from remit.domain.caller import Call
from remit.domain.catalogue import CatalogueHead
from remit.domain.change import Change
from remit.domain.errors import Absent, BadField, Busy, Conflict, Denied, WrongState
from remit.domain.freeze import Reach
from remit.domain.succession import Missing, Succession, Thing
from remit.formats.jcs import digest as digest_of
from remit.ports import Env, InForce

ROUNDS = 24


def digest(row: Succession, head: CatalogueHead) -> str:
    """What somebody is shown who is asked: what it is about, whose it was, and every file of the catalogue then."""
    shown = [row.reach.value, row.name, row.owner, row.missing.value, row.began_at, head.digest]
    return digest_of(shown)


async def succeed(env: Env, call: Call, reach: Reach, name: str, shown: str) -> Succession:
    """The caller answers for it from here on; what is frozen stays so until an operator lets it go.

    `Absent` for what is not there, or not asked of them (law 11). `Denied` when they left, or their own estate is
    frozen. `BadField` when the digest is of something else than is there now.
    """
    for _ in range(ROUNDS):
        head, force = await env.in_force()
        row, person = await env.store.get(Succession, f"{reach.value} {name}"), force.catalogue.person(call.caller)
        thing = _thing(force, reach, name)
        if row is None or person is None or thing is None or not row.may_take(person):
            raise Absent(inside=f"succession of {reach.value} {name} for {call.caller}")
        mine, theirs, frozen = await env.departure(person.name), await env.departure(row.owner), await env.frozen()
        if mine.gone or frozen.found(Reach.OWNER, person.name) is not None:
            raise Denied("You left, or what you answer for is frozen.", reasons=("not_here",))
        if thing.owner != row.owner or (row.missing is Missing.LEFT and not theirs.gone):
            raise WrongState(f"{row.owner} is not missing any more, or the catalogue names somebody else.")
        if shown != digest(row, head):
            raise BadField(
                "digest", "is not of what is there now", next_step="Look at it again before you take it over."
            )
        because = events.SuccessionTaken(reach.value, name, row.owner, person.name, shown)
        change = Change(because, call).put(row.taken(person.name, call.now), was=row)
        try:
            await env.store.commit(change.check(head).check(frozen).check(mine).check(theirs))
        except Conflict:
            continue
        return row.taken(person.name, call.now)
    raise Busy("This keeps changing.", next_step="Try again in a moment.")


def _thing(force: InForce, reach: Reach, name: str) -> Thing | None:
    return force.catalogue.agents.get(name) if reach is Reach.AGENT else force.catalogue.purposes.get(name)
