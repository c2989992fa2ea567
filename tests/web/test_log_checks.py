"""What the console says of a checkpoint that somebody kept, and how many may take the log away at once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from remit.domain.caller import CallerKind
from remit.domain.errors import Busy
from remit.formats.tlog import Checkpoint, note_key, sign_checkpoint
from remit.store.memory import MemoryStore
from remit.verbs.attest import invite
from remit.web.console import export
from remit.web.console.log import extends
from remit.work.sequence import sequence
from tests.world import world


def test_a_log_that_was_cut_or_rewritten_is_told_from_one_that_grew(run):
    async def main():
        ours = MemoryStore()
        w = await world(ours)
        await sequence(ours, w.env.signer, "test/log")
        house = SimpleNamespace(env=w.env, log=ours, log_name="test/log")
        size, kept = await ours.head()
        await invite(w.env, w.call(CallerKind.OPERATOR, "op"), "bot", 1000)
        await sequence(ours, w.env.signer, "test/log")
        good = await extends(house, kept)
        assert (good["ok"], good["older"], good["newer"]) == (True, size, size + 1)
        key = w.env.signer.public("log")[0]
        signers = [(note_key("test/log", key), lambda data: w.env.signer.sign("log", data, key["kid"]).value)]
        rewritten = await extends(house, sign_checkpoint(Checkpoint("test/log", size, b"r" * 32), signers))
        assert not rewritten["ok"] and rewritten["says"].startswith("History was rewritten")
        longer = await extends(house, sign_checkpoint(Checkpoint("test/log", size + 9, b"r" * 32), signers))
        assert not longer["ok"] and "cut short" in longer["says"]
        elsewhere = [(note_key("other/log", key), signers[0][1])]
        foreign = await extends(house, sign_checkpoint(Checkpoint("other/log", size, b"r" * 32), elsewhere))
        assert not foreign["ok"] and "no checkpoint that this log signed" in foreign["says"]

    run(main())


def test_exports_are_few_at_once_and_give_their_place_back(server):
    async def main():
        w = await world()
        house = SimpleNamespace(log=w.store, log_name="test/log")
        asked = SimpleNamespace(query={"format": "csv"}, whole=lambda *_, **__: 0)
        running = [(await export.export(house, None, asked)).body_iterator for _ in range(export.AT_ONCE)]
        for lines in running:
            await anext(lines)
        with pytest.raises(Busy):
            await export.export(house, None, asked)
        for lines in running:
            await lines.aclose()
        assert (await export.export(house, None, asked)).status_code == 200

    asyncio.run(main())
