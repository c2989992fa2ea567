"""Witnesses cosign the log's checkpoints, one after another; a fork or a rollback that they see is an alarm."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest

from remit.attest.fetch import believing
from remit.domain import events
from remit.domain.caller import CallerKind
from remit.domain.change import Change
from remit.domain.errors import ProofInvalid
from remit.formats import tlog, tlog_witness
from remit.govern.out import cosigned, witnesses
from remit.store.memory import MemoryStore
from remit.verbs.apply import apply
from remit.work.sequence import sequence
from remit.work.witness import Witnessing, best
from tests import witness
from tests.world import FILES, world

LOG = "remit.test/log"
KINDS = ["ours", pytest.param("aics", marks=pytest.mark.soak)]


class House:
    def __init__(self, w):
        self.w, self.witnessing = w, Witnessing(w.env, w.store, believing)

    @classmethod
    async def open(cls):
        w = await world(now=int(time.time()) * 1000)
        h = cls(w)
        await h.happens(3)
        return h

    @property
    def log_key(self):
        signer = self.w.env.signer
        return str(tlog.note_key(LOG, signer.public("log")[0]))

    async def watched_by(self, *found):
        entries = [
            f'[witness.w{n}]\nurl = "{one.url}"\nkey = "{one.key}"\nallow_private_network = true\n'
            for n, one in enumerate(found)
        ]
        files = {**FILES, "remit.toml": FILES["remit.toml"] + "".join(entries)}
        await apply(self.w.env, self.w.call(CallerKind.OPERATOR, "op"), files)
        await self.sequenced()

    async def happens(self, count=1):
        for n in range(count):
            because = events.OutTurned("siem", "running", f"{n}")
            await self.w.store.commit(Change(because, self.w.call(CallerKind.OPERATOR, "op")))
        await self.sequenced()

    async def sequenced(self):
        while await sequence(self.w.store, self.w.env.signer, LOG):
            pass
        self.size, self.note = await self.w.store.head()

    async def round(self):
        await self.witnessing.once()
        return await witnesses(self.w.env, self.w.store)


def served(kind, stack, folder, name, log_key):
    if kind == "aics" and not witness.AICS.exists():
        said = "aics-witness is missing: make witness"
        pytest.fail(said) if os.environ.get("REMIT_NEEDS_WITNESS") else pytest.skip(said)
    folder.mkdir()
    return stack.enter_context(getattr(witness, kind)(folder, name, log_key))


@pytest.mark.parametrize("kind", KINDS)
def test_each_checkpoint_is_cosigned_and_the_cosignatures_of_a_round_come_together(tmp_path, kind):
    async def test():
        h = await House.open()
        with ExitStack() as stack:
            found = [served(kind, stack, tmp_path / f"w{n}", f"w{n}.example", h.log_key) for n in range(2)]
            await h.watched_by(*found)
            rows = await h.round()
            assert [(row.size, row.behind, row.error) for row in rows] == [(h.size, 0, "")] * 2
            await h.happens(300)
            rows = await h.round()
            assert [row.size for row in rows] == [h.size] * 2
            note = await cosigned(h.w.env, h.w.store, 2)
            assert note.startswith(h.note)
            keys = [tlog.NoteKey.parse(one.key, tlog.COSIGNATURE) for one in found]
            assert tlog_witness.need(note, keys, 2) == 2
            assert await cosigned(h.w.env, h.w.store, 3) == ""
            (tmp_path / "note").write_text(note)
            log = tmp_path / "log"
            log.write_bytes(b"".join(leaf + b"\n" for leaf in await h.w.store.entries(0, h.size)))
            tool = [sys.executable, "tools/verify_log.py", str(log), "--checkpoint", str(tmp_path / "note")]
            tool += ["--key", h.log_key, "--witness", found[0].key, "--witness", found[1].key, "--quorum"]
            assert subprocess.run([*tool, "2"], check=False).returncode == 0
            assert subprocess.run([*tool, "3"], check=False).returncode != 0

    asyncio.run(test())


@pytest.mark.parametrize("kind", KINDS)
def test_a_fork_and_a_rollback_are_refused_and_are_an_alarm_said_once(tmp_path, kind):
    async def test():
        h = await House.open()
        with ExitStack() as stack:
            one = served(kind, stack, tmp_path / "w", "w.example", h.log_key)
            await h.watched_by(one)
            older = fork_of(h.w.store)
            await h.happens(5)
            assert (await h.round())[0].refused == 0
            before = h.size
            # The store is put back to what it was: a shorter log …
            h.w.store.__dict__.update(fork_of(older).__dict__)
            await h.sequenced()
            assert h.size < before
            row = (await h.round())[0]
            assert row.refused and f"it has cosigned {before} events" in row.error
            await h.sequenced()
            h.w.clock.now += 120_000
            await h.round()
            assert h.w.events().count("WitnessRefused") == 1
            # … that goes on otherwise, as a fork of the same key.
            await h.happens(20)
            h.w.clock.now += 120_000
            row = (await h.round())[0]
            assert row.refused and "another history" in row.error

    asyncio.run(test())


def fork_of(store):
    other = MemoryStore()
    for name, value in store.__dict__.items():
        other.__dict__[name] = value.copy() if isinstance(value, dict | list) else value
    return other


def test_what_a_witness_lost_is_asked_for_from_what_it_knows(tmp_path):
    async def test():
        h = await House.open()
        with witness.ours(tmp_path, "w.example", h.log_key) as one:
            await h.watched_by(one)
            await h.round()
            mark = (await h.w.store.marks())["witness:w0"]
            await h.w.store.mark(replace(mark, position=0))  # the mark is older than what it has cosigned
            await h.happens(3)
            assert (await h.round())[0].size == h.size and len(one.asked) == 3

    asyncio.run(test())


def test_only_a_cosignature_of_its_key_over_this_checkpoint_made_now_is_kept(tmp_path):
    async def test():
        h = await House.open()
        with (
            witness.ours(tmp_path, "w.example", h.log_key) as one,
            witness.ours(tmp_path, "w.example", h.log_key) as other,
        ):
            await h.watched_by(one)
            text = h.note.rpartition("\n\n")[0] + "\n"
            old = one.clock
            one.clock = lambda: old() - 3600
            stale = one._line(text)
            one.clock = old
            raw = base64.b64decode(one._line(text).split(" ")[2])
            flipped = base64.b64encode(raw[:-1] + bytes([raw[-1] ^ 1])).decode()
            for forged in (
                other._line(text),
                one._line(text.replace(f"\n{h.size}\n", f"\n{h.size + 1}\n")),
                stale,
                f"— w.example {flipped}\n",
                "— w.example AAAA\n",
                h.note.splitlines()[-1] + "\n",
                "\x00",
                "x" * 300_000,
            ):
                one.forged = forged
                row = (await h.round())[0]
                assert row.failing and not row.size, forged[:80]
                assert await cosigned(h.w.env, h.w.store, 1) == ""
                one._persist({"size": 0, "root": ""})
                h.w.clock.now += 60_001
            one.forged = None
            one.clock = lambda: h.w.clock.now / 1000
            assert (await h.round())[0].size == h.size

    asyncio.run(test())


def test_a_witness_that_is_away_keeps_nobody_waiting_and_is_asked_again(tmp_path):
    async def test():
        h = await House.open()
        with witness.ours(tmp_path, "w.example", h.log_key) as one:
            (tmp_path / "x").mkdir()
            with witness.ours(tmp_path / "x", "x.example", h.log_key) as gone:
                pass
            await h.watched_by(one, gone)
            rows = await h.round()
            assert rows[0].size == h.size and rows[1].failing and rows[1].error
            assert await cosigned(h.w.env, h.w.store, 1) and not await cosigned(h.w.env, h.w.store, 2)

    asyncio.run(test())


def test_the_best_of_each_number_of_cosignatures_is_kept():
    def note(size, *names):
        return f"o\n{size}\nroot\n\n— log x\n" + "".join(f"— {name} y\n" for name in names)

    kept = best((note(9, "a"), note(7, "a", "b"), note(5, "a", "b"), note(4, "a"), note(3, "a", "b", "c")))
    assert kept == (note(9, "a"), note(7, "a", "b"), note(3, "a", "b", "c"))


def test_a_key_of_a_log_is_no_witness_and_one_witness_is_no_quorum_of_two(tmp_path):
    async def test():
        h = await House.open()
        with witness.ours(tmp_path, "w.example", h.log_key) as one:
            text = h.note.rpartition("\n\n")[0] + "\n"
            key = tlog.NoteKey.parse(one.key, tlog.COSIGNATURE)
            twice = tlog_witness.joined(h.note, [one._line(text), one._line(text)])
            with pytest.raises(ProofInvalid, match="1 of the 1 witnesses"):
                tlog_witness.need(twice, [key], 2)
            with pytest.raises(ProofInvalid, match="no witness"):
                tlog_witness.need(h.note, [tlog.NoteKey.parse(h.log_key)], 1)
            with pytest.raises(ProofInvalid):
                tlog.NoteKey.parse(one.key)
            with pytest.raises(ProofInvalid):
                tlog.parse_checkpoint(twice.replace("— remit.test/log", "— other"), [tlog.NoteKey.parse(h.log_key)])

    asyncio.run(test())
