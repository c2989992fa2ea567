"""A bearer key that is taken away, and a catalogue that is applied over what it was planned against."""

from __future__ import annotations

from dataclasses import replace

import pytest

from remit.domain.caller import AccessKey, CallerKind
from remit.domain.catalogue import CatalogueHead
from remit.domain.errors import Absent, BadField, Conflict, NotAsPlanned
from remit.verbs.admit import admit, end
from remit.verbs.apply import apply
from tests.world import FILES, changed, world


def test_a_key_ends_once_and_for_good(run):
    async def main():
        w = await world()
        operator = w.call(CallerKind.OPERATOR, "op")
        _, row = await admit(w.env, operator, CallerKind.AUDITOR, "anna", 1000)
        with pytest.raises(BadField):
            await end(w.env, operator, row.digest, "x" * 501)
        with pytest.raises(Absent):
            await end(w.env, operator, "nothing", "")
        ended = await end(w.env, operator, row.digest, "leaked")
        assert ended.expires_at == w.clock.now and w.events().count("AccessKeyEnded") == 1
        w.clock.now += 5
        again = await end(w.env, w.call(CallerKind.OPERATOR, "op"), row.digest, "leaked")
        assert again.expires_at == ended.expires_at and w.events().count("AccessKeyEnded") == 1
        assert (await w.store.get(AccessKey, row.digest)).ended(0).expires_at == 0

    run(main())


def test_a_plan_is_applied_over_what_it_was_made_against(run):
    async def main():
        w = await world()
        operator, more = w.call(CallerKind.OPERATOR, "op"), changed(tools__more_dot_toml='effect = "read"\n')
        head = await w.store.get(CatalogueHead, "head")
        with pytest.raises(NotAsPlanned, match=r"revision 1, by operator:op"):
            await apply(w.env, operator, more, ("sha256:other",))
        new, changes = await apply(w.env, operator, more, (head.digest, "sha256:other"))
        assert new.number == 2 and changes
        assert await apply(w.env, operator, more, (head.digest,)) == (await w.store.get(CatalogueHead, "head"), ())

        class Late:
            """Somebody else's change comes in between."""

            def __getattr__(self, name):
                return getattr(w.store, name)

            async def commit(self, change):
                raise Conflict("changed")

        late = replace(w.env, store=Late())
        with pytest.raises(NotAsPlanned):
            await apply(late, operator, FILES, (new.digest,))
        with pytest.raises(Conflict):
            await apply(late, operator, FILES)

    run(main())


def test_before_the_first_catalogue_nothing_was_planned_against(run):
    async def main():
        w = await world()

        class Empty:
            async def get(self, kind, key):
                return None

        with pytest.raises(NotAsPlanned, match="nothing"):
            await apply(replace(w.env, store=Empty()), w.call(CallerKind.OPERATOR, "op"), FILES, ("sha256:x",))

    run(main())
