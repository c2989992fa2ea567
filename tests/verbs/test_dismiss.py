"""That a shadow was dismissed is in the log, once, by whoever said it first."""

from __future__ import annotations

import asyncio

import pytest

from remit.domain.caller import CallerKind
from remit.domain.errors import BadField
from remit.domain.shadow import Dismissal, Shadow, ShadowKind
from remit.store.memory import MemoryStore
from remit.verbs.dismiss import dismiss
from tests.verbs.test_decide import Meddling
from tests.world import world

GHOST = Shadow("shw-1", ShadowKind.CLIENT, "ghost", "/oauth/token", "", 1, 2, 3)


def test_the_first_who_dismisses_is_named():
    async def main():
        there = await world()
        first = await dismiss(there.env, there.call(CallerKind.OPERATOR, "ops"), GHOST, "an old script")
        again = await dismiss(there.env, there.call(CallerKind.OPERATOR, "other"), GHOST, "something else")
        kept = await there.env.store.get(Dismissal, "shw-1")
        assert kept == again and (first.note, again.note) == ("an old script", "an old script")
        assert there.events().count("ShadowDismissed") == 1 and first.dismissed_by == "operator:ops"

    asyncio.run(main())


def test_of_two_at_once_the_first_is_named():
    async def main():
        store = Meddling(MemoryStore())
        there = await world(store)

        async def another():
            await dismiss(there.env, there.call(CallerKind.OPERATOR, "ops"), GHOST, "an old script")

        store.meddle = another
        late = await dismiss(there.env, there.call(CallerKind.OPERATOR, "late"), GHOST, "mine")
        assert (late.dismissed_by, late.note) == ("operator:ops", "an old script")
        assert there.events().count("ShadowDismissed") == 1

    asyncio.run(main())


@pytest.mark.parametrize("note", ["", "x" * 1001])
def test_it_says_why(note):
    async def main():
        there = await world()
        with pytest.raises(BadField):
            await dismiss(there.env, there.call(CallerKind.OPERATOR, "ops"), GHOST, note)
        assert await there.env.store.get(Dismissal, "shw-1") is None

    asyncio.run(main())
