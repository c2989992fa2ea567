"""That a shadow was dismissed is in the log, once, by whoever said it first."""

from __future__ import annotations

import asyncio

from remit.domain.caller import CallerKind
from remit.domain.shadow import Dismissal, Shadow, ShadowKind
from remit.verbs.dismiss import dismiss
from tests.world import world


def test_the_first_who_dismisses_is_named():
    async def main():
        there = await world()
        shadow = Shadow("shw-1", ShadowKind.CLIENT, "ghost", "/oauth/token", 1, 2, 3)
        first = await dismiss(there.env, there.call(CallerKind.OPERATOR, "ops"), shadow, "an old script")
        again = await dismiss(there.env, there.call(CallerKind.OPERATOR, "other"), shadow, "something else")
        kept = await there.env.store.get(Dismissal, "shw-1")
        assert kept == again and (first.note, again.note) == ("an old script", "an old script")
        assert there.events().count("ShadowDismissed") == 1 and first.dismissed_by == "operator:ops"

    asyncio.run(main())
