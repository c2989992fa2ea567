"""Provision: a directory says of an account that it is there, active or not, or is gone; of people here that counts.

In one commit: what it said, and that they left, or are here again. It brings back only whom it said had left itself:
what an operator or an identity provider said stands until they take it back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from remit.domain import events
from remit.domain.accountability import Directory
from remit.domain.caller import Call
from remit.domain.change import Change
from remit.domain.departure import Departure, written
from remit.domain.directory import Account, DirectoryUser
from remit.domain.errors import Absent, Busy, Conflict, WrongState
from remit.ports import Env

ROUNDS = 24


Said = Callable[[Account | None], Account]


async def provision(env: Env, call: Call, becomes: Said, user: str = "") -> DirectoryUser:
    """Keep what the directory says, of a new account or of the one with this id, and let it have its effect.

    `becomes` says what the account is now by what it was, None for a new one; it is asked again when another said
    something meanwhile, so that a new name does not take back that somebody left. `WrongState` when another account of
    it has the `userName` already, `Absent` when there is none with this id.
    """
    for _ in range(ROUNDS):
        directory = await _directory(env, call)
        before = await found(env, call, user) if user else None
        account = becomes(before.account if before else None)
        after = replace(before, account=account, changed_at=call.now) if before else _new(env, call, account)
        same = await named(env, call, account.user_name)
        if same is not None and same.id != after.id:
            raise WrongState(f"There is an account {account.user_name[:100]} already.")
        said = "active" if account.active else "inactive"
        if await _said(env, call, directory, after, before, said):
            return after
    raise Busy("What is said of this account keeps changing.", next_step="Say it again.")


async def remove(env: Env, call: Call, user: str) -> None:
    """There is no such account any more; a person here whose it was has left."""
    for _ in range(ROUNDS):
        directory, before = await _directory(env, call), await found(env, call, user)
        if await _said(env, call, directory, replace(before, deleted_at=call.now), before, "deleted"):
            return
    raise Busy("What is said of this account keeps changing.", next_step="Say it again.")


async def found(env: Env, call: Call, user: str) -> DirectoryUser:
    """One account of this directory; those of others are `Absent` (law 11)."""
    row = await env.store.get(DirectoryUser, f"{call.caller.name}/{user}")
    if row is None or row.deleted_at:
        raise Absent(inside=f"user {user[:100]} of {call.caller}")
    return row


async def named(env: Env, call: Call, user_name: str) -> DirectoryUser | None:
    """The account of this directory with this `userName`."""
    where = {"directory": call.caller.name, "folded": user_name.casefold()}
    return next(iter(await env.store.find(DirectoryUser, where, limit=1)), None)


async def _directory(env: Env, call: Call) -> Directory:
    _, force = await env.in_force()
    directory = force.catalogue.directories.get(call.caller.name)
    if directory is None:
        raise Absent(inside=f"{call.caller} is not in the catalogue")
    return directory


def _new(env: Env, call: Call, account: Account) -> DirectoryUser:
    return DirectoryUser(env.new_id("usr"), call.caller.name, account, call.now, call.now)


async def _said(
    env: Env, call: Call, directory: Directory, after: DirectoryUser, before: DirectoryUser | None, said: str
) -> bool:
    _, force = await env.in_force()
    person = directory.person(after.account.user_name, force.catalogue.people)
    because = events.DirectorySaid(directory.name, after.id, person, said)
    change = Change(because, call).put(after, was=before)
    if person:
        left = await env.departure(person)
        now = _moved(call, left, said)
        if now is not left:
            change = written(
                change, left, now, env.new_id("rdc"), f"{directory.name} says {person} is {said}", call.now
            )
    try:
        await env.store.commit(change)
    except Conflict:
        return False
    env.nudge()
    return True


def _moved(call: Call, row: Departure, said: str) -> Departure:
    if said != "active":
        return row if row.gone else row.left(call.now, str(call.caller), f"the directory says {said}")
    return row.returned(call.now) if row.gone and row.by == str(call.caller) else row
