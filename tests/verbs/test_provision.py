"""What a directory says of accounts, in races with itself and with others; who it is of, and what it may take back."""

from __future__ import annotations

import pytest

from remit.domain.caller import CallerKind
from remit.domain.chain import Principal, PrincipalKind
from remit.domain.directory import Account, DirectoryUser
from remit.domain.errors import Absent, Busy, Conflict, WrongState
from remit.domain.freeze import Reach
from remit.domain.task import Task, TaskState
from remit.formats import scim
from remit.store.memory import MemoryStore
from remit.verbs.apply import apply
from remit.verbs.depart import depart
from remit.verbs.propose import Proposal, propose
from remit.verbs.provision import found, named, provision, remove
from remit.verbs.succeed import digest, succeed
from remit.work.redecide import redecide
from remit.work.tend_successions import tend_successions
from tests.delegating import Between
from tests.work.test_reviews import BOT
from tests.world import FILES, changed, world

HR = FILES["remit.toml"] + '[directories.hr]\npeople = { olga = "Olga@Example.com" }\n[directories.plain]\n'
PATCH = b'{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[%s]}'
RENAMED = PATCH % b'{"op":"replace","path":"displayName","value":"O"}'
INACTIVE = PATCH % b'{"op":"replace","path":"active","value":false}'


async def house(store=None):
    return await world(store or Between(), changed(remit_dot_toml=HR, agents__bot_dot_toml=BOT))


def hr(w, name="hr"):
    return w.call(CallerKind.DIRECTORY, name)


def is_(name, active=True):
    return lambda _: Account(name, active)


def by(body):
    return lambda was: scim.patched(body, was)


async def gone(w, person="olga"):
    return (await w.env.departure(person)).gone


def test_whoever_is_inactive_has_left_and_what_they_began_ends(run):
    async def main():
        w = await house()
        _, call = await w.proved()
        task = await propose(w.env, call, Proposal("pay", "goal", {"customer": "acme"}), Principal(PrincipalKind.PERSON, "olga"))  # fmt: skip
        row = await provision(w.env, hr(w), is_("OLGA@example.com"))
        assert not await gone(w) and (await named(w.env, hr(w), "olga@EXAMPLE.com")).id == row.id
        await provision(w.env, hr(w), is_("olga@example.com", active=False), row.id)
        assert await gone(w)
        await redecide(w.env, w.clock.now)
        assert (await w.store.get(Task, task.id)).state is TaskState.REVOKED
        await provision(w.env, hr(w), is_("olga@example.com"), row.id)
        assert not await gone(w)
        await remove(w.env, hr(w), row.id)
        assert await gone(w)
        with pytest.raises(Absent):
            await found(w.env, hr(w), row.id)

    run(main())


def test_a_new_name_said_at_the_same_moment_does_not_take_back_that_somebody_left(run):
    async def main():
        w = await house()
        row = await provision(w.env, hr(w), is_("olga@example.com"))

        async def between():
            await provision(w.env, hr(w), by(INACTIVE), row.id)

        w.store.between = between
        after = await provision(w.env, hr(w), by(RENAMED), row.id)
        assert after.account == Account("olga@example.com", False, "", "O") and await gone(w)

    run(main())


def test_it_brings_back_only_whom_it_said_had_left(run):
    async def main():
        w = await house()
        row = await provision(w.env, hr(w), is_("olga@example.com"))
        await depart(w.env, w.call(CallerKind.OPERATOR, "op"), "olga", "for cause")
        for active in (False, True):
            await provision(w.env, hr(w), is_("olga@example.com", active), row.id)
            assert await gone(w)
        plain = await provision(w.env, hr(w, "plain"), is_("Frank", active=False))
        assert await gone(w, "frank")  # without a table a userName is a name
        await provision(w.env, hr(w), is_("frank"))  # and with one it is nobody's
        assert await gone(w, "frank")
        await provision(w.env, hr(w, "plain"), is_("Not A Name"), plain.id)
        assert await gone(w, "frank")  # whose account is another's now has said nothing of frank

    run(main())


def test_two_accounts_have_two_names_and_directories_know_nothing_of_each_other(run):
    async def main():
        w = await house()
        row = await provision(w.env, hr(w), is_("olga@example.com"))
        with pytest.raises(WrongState):
            await provision(w.env, hr(w), is_("Olga@example.com"))
        for act in (provision(w.env, hr(w, "plain"), is_("x"), row.id), remove(w.env, hr(w, "plain"), row.id)):
            with pytest.raises(Absent):
                await act
        await apply(w.env, w.call(CallerKind.OPERATOR, "op"), FILES)
        for act in (provision(w.env, hr(w), is_("x"), row.id), remove(w.env, hr(w), row.id)):
            with pytest.raises(Absent):  # it is no directory any more
                await act

    run(main())


class Moving(MemoryStore):
    moves = False

    async def commit(self, change):
        if self.moves:
            raise Conflict("It moved.")
        return await super().commit(change)


def test_an_account_that_moves_all_the_time_is_busy(run):
    async def main():
        w = await house(Moving())
        row = await provision(w.env, hr(w), is_("olga@example.com"))
        w.store.moves = True
        for act in (provision(w.env, hr(w), is_("olga@example.com", False), row.id), remove(w.env, hr(w), row.id)):
            with pytest.raises(Busy):
                await act
        assert not await gone(w) and not (await w.store.get(DirectoryUser, row.key)).deleted_at
        w.store.moves = False
        await depart(w.env, w.call(CallerKind.OPERATOR, "op"), "olga", "left")
        await tend_successions(w.env, w.clock.now)
        rows, (head, _) = await w.env.successions(), await w.env.in_force()
        shown, w.store.moves = digest(rows["agent bot"], head), True
        with pytest.raises(Busy):  # and so is taking over what moves all the time
            await succeed(w.env, w.person("gina"), Reach.AGENT, "bot", shown)

    run(main())
