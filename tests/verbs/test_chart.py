"""What exports say, taken in by name: whole, replaced, bounded, and gone when it was removed."""

from __future__ import annotations

import asyncio

import pytest

from remit.domain.caller import CallerKind
from remit.domain.chart import Chart, Charts
from remit.domain.errors import Absent, BadField, Conflict
from remit.verbs import chart as verb
from tests.world import world


def run(steps):
    return asyncio.run(steps)


def test_an_import_is_replaced_by_name_and_the_same_again_is_nothing_new() -> None:
    async def steps():
        w = await world()
        one = await verb.chart(w.env, w.call(CallerKind.OPERATOR, "op"), "production", "text", 2, 1)
        again = await verb.chart(w.env, w.call(CallerKind.OPERATOR, "op"), "production", "text", 2, 1)
        other = await verb.chart(w.env, w.call(CallerKind.OPERATOR, "op"), "production", "other", 3, 2)
        await verb.chart(w.env, w.call(CallerKind.OPERATOR, "op"), "a", "text", 2, 1)
        held = await verb.charts(w.env)
        assert (one, [row.name for row in held.imported], held.steps) == (again, ["a", "production"], 3)
        assert held.named("production") == other
        assert (await w.env.store.get(Chart, "production")).text == "other"
        assert [kind for kind in w.events() if kind.startswith("Chart")] == ["ChartImported"] * 3

    run(steps())


def test_what_is_removed_is_gone_and_what_is_not_there_is_absent() -> None:
    async def steps():
        w = await world()
        await verb.chart(w.env, w.call(CallerKind.OPERATOR, "op"), "production", "text", 2, 1)
        await verb.remove(w.env, w.call(CallerKind.OPERATOR, "op"), "production")
        assert (await w.env.store.get(Chart, "production")).text == ""
        assert (await verb.charts(w.env)).imported == ()
        for name in ("production", "never", "x" * 300):
            with pytest.raises(Absent):
                await verb.remove(w.env, w.call(CallerKind.OPERATOR, "op"), name)
        await verb.chart(w.env, w.call(CallerKind.OPERATOR, "op"), "production", "text", 2, 1)
        assert (await w.env.store.get(Chart, "production")).text == "text"

    run(steps())


@pytest.mark.parametrize("name", ["", "A", "a/b", "../a", "a" * 65, "-a", "a\n"])
def test_a_name_is_a_plain_word(name) -> None:
    async def steps():
        w = await world()
        with pytest.raises(BadField):
            await verb.chart(w.env, w.call(CallerKind.OPERATOR, "op"), name, "text", 2, 1)

    run(steps())


def test_there_is_an_end_to_how_many_and_how_much(monkeypatch) -> None:
    async def steps():
        w = await world()
        monkeypatch.setattr(verb, "MOST", 2)
        monkeypatch.setattr(verb, "STEPS", 10)
        await verb.chart(w.env, w.call(CallerKind.OPERATOR, "op"), "a", "text", 2, 5)
        await verb.chart(w.env, w.call(CallerKind.OPERATOR, "op"), "b", "text", 2, 5)
        with pytest.raises(BadField, match="imports"):
            await verb.chart(w.env, w.call(CallerKind.OPERATOR, "op"), "c", "text", 2, 0)
        with pytest.raises(BadField, match="together"):
            await verb.chart(w.env, w.call(CallerKind.OPERATOR, "op"), "b", "more", 2, 6)
        await verb.chart(w.env, w.call(CallerKind.OPERATOR, "op"), "b", "less", 2, 4)

    run(steps())


def test_two_at_once_lose_nothing() -> None:
    async def steps():
        w = await world()
        names = [f"n{n}" for n in range(8)]
        done = await asyncio.gather(
            *(verb.chart(w.env, w.call(CallerKind.OPERATOR, "op"), name, name, 1, 1) for name in names),
            return_exceptions=True,
        )
        held = {one.name for one in (await w.env.store.get(Charts, "charts")).imported}
        assert held == {name for name, one in zip(names, done, strict=True) if not isinstance(one, Conflict)}
        assert held

    run(steps())
