"""Each mechanism is seen to be in force where it is, and is caught out where it was switched off, weakened or left behind.

The base world is the control: there each one is in force, so whatever says "off" below says so for what was planted.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import wraps

import pytest

from remit.domain import events
from remit.domain.caller import AccessKey, CallerKind
from remit.domain.catalogue import CatalogueHead
from remit.domain.change import Change
from remit.domain.departure import Departure
from remit.domain.estate import EdgeSeat
from remit.domain.finding import Finding, Severity, Subject
from remit.domain.freeze import Freeze, Reach
from remit.domain.lease import Lease, LeaseState
from remit.domain.redecision import Redecision
from remit.domain.restore import Restored
from remit.domain.secret import SealedSecret
from remit.domain.stream import Stream, StreamState
from remit.domain.task import Task
from remit.formats.log_words import words
from remit.govern.evidence import acts, present
from remit.govern.evidence.frameworks import MECHANISMS, NAMES, framework
from remit.govern.evidence.mechanism import State
from remit.govern.evidence.of_access import serving
from remit.verbs.apply import apply

from .evidence_world import DAY, FILES, LOG, files, good, one_of, outage, put, settled

ALL = {**MECHANISMS, "policies:ASI01": serving("ASI01")}
ON, PARTLY, OFF = State.ON, State.PARTLY, State.OFF
NO_HOLDS = '@id("all") permit (principal, action, resource);\n'
NO_FRANK = files(remit_dot_toml=('groups = ["approvers"]', "groups = []"), policies__default_dot_cedar=(
    NO_HOLDS + '@id("h") @approvers("approvers") forbid (principal, action, resource) unless { context.approved };'
))  # fmt: skip


def at_once(test):
    """Run it to its end."""

    @wraps(test)
    def whole(**given):
        asyncio.run(test(**given))

    return whole


async def standing(w, name):
    return ALL[name].now(await present.read(w.env, w.store, LOG, w.clock.now))


async def change(w, because, kind, key, **fields):
    """Write a row that is there in another way."""
    row = await w.store.get(kind, key)
    await w.store.commit(Change(because, w.call(CallerKind.SYSTEM, "test")).put(replace(row, **fields), was=row))


async def lease(w, **fields):
    now = w.clock.now
    row = Lease("lse_1", "tsk_1", "bot", "db", "pg", "h", now, now, now + DAY, state=LeaseState.LIVE, minted_at=now)
    await put(w, one_of("is LeaseMinted"), replace(row, **fields))


async def late_lease(w):
    await lease(w, expires_at=w.clock.now - 600_000)


async def stuck_kill(w):
    now = w.clock.now
    await lease(w, state=LeaseState.ENDING, ending_at=now - 2 * 3_600_000, retry_at=now + 1000)


async def late_task(w):
    _, call = await w.proved()
    facts = {"disk_encrypted": "yes"}
    from remit.verbs.assess import assess

    await assess(w.env, w.call(CallerKind.OPERATOR, "op"), "bot", facts, w.clock.now + DAY)
    task = await w.task(call, customer="acme")
    await change(w, one_of("is TaskWaits"), Task, task.id, deadline=w.clock.now - 600_000)


async def slow_redecision(w):
    row = Redecision("rdc_1", "a change", w.clock.now - 600_000, (("agent", "bot"),), {})
    await put(w, one_of("is TasksRedecided"), row)


async def owner_left(w):
    await put(w, events.PersonLeft("olga", "gone", False), Departure("olga", w.clock.now, "op", "gone"))


async def long_key(w):
    key = AccessKey("d" * 64, CallerKind.AUDITOR, "anna", w.clock.now, w.clock.now + 400 * DAY)
    await put(w, one_of("is AccessKeyCreated"), key)


async def retired(w):
    await change(w, one_of("is SecretRetired"), SealedSecret, "chat", state=SealedSecret("", "", 0, "").state.RETIRED)


async def no_rotation(w):
    await change(w, one_of("is SecretSealed"), SealedSecret, "chat", rotate_after=0, rotate_at=0)


async def overdue_secret(w):
    await change(w, one_of("is SecretOverdue"), SealedSecret, "chat", reminded_at=w.clock.now)


async def restoring(w):
    await put(w, one_of("is StoreRestored"), Restored(w.clock.now, 1))


async def sweeping(w):
    await put(w, one_of("is StoreRestored"), Restored(w.clock.now, 1, voided_at=w.clock.now))


async def old_keys(w):
    w.clock.now += 60 * DAY


async def rollout(w):
    await change(w, one_of("is RolloutSet"), CatalogueHead, "head", rollout="sha256:" + "0" * 64, share=10)


async def slow_freeze(w):
    freeze = Freeze(Reach.AGENT, "bot", w.clock.now - 600_000, "so", "op")
    was = await w.env.frozen()
    await w.store.commit(Change(one_of("is Froze"), w.call()).put(was.began(freeze), was=was if was.version else None))


async def old_finding(w):
    row = Finding("fnd_1", Severity.HIGH, Subject.TOOL, "list", "odd", w.clock.now - 30 * DAY, "op")
    await put(w, one_of("is FindingReported"), row)


async def stream_gone(w):
    await change(w, one_of("is StreamTurned"), Stream, "hub", state=StreamState.GONE)


async def stream_fails(w):
    await change(w, one_of("is StreamFailing"), Stream, "hub", failing=w.clock.now - 600_000)


async def edge_gone(w):
    await change(w, one_of("is EdgeForgotten"), EdgeSeat, "west", seat="")


async def edge_silent(w):
    w.clock.now += DAY


async def only_hooks(w):
    await put(w, one_of("decided permit"), call=w.call(name="bot"))
    await settled(w)


async def tree_edited(w):
    hashes = w.store._tiles[(0, 0)]
    w.store._tiles[(0, 0)] = bytes([hashes[0] ^ 1]) + hashes[1:]


async def signed_by_another(w):
    size, note = w.store._head
    head, _, _ = note.rpartition("— ")
    w.store._head = (size, head + "— test/log AAAAAAAA\n")


async def nobody_sequences(w):
    await put(w, one_of(""))
    w.clock.now += 600_000


def purpose(old, new):
    return files(purposes__pay_dot_toml=(old, new))


def config(old, new=""):
    return files(remit_dot_toml=(old, new))


PLANTED = [
    ("decisions", purpose("max_calls = 5", 'max_calls = 5\nprofile = "watch"'), OFF, "under the profile watch"),
    ("decisions", files(purposes__pay_dot_toml=None), OFF, "no purpose"),
    ("tasks", files(purposes__pay_dot_toml=None), OFF, "no purpose"),
    ("scope", purpose('resource = "customer/{customer}"', ""), OFF, "list in pay"),
    ("budgets", purpose('"15m"', '"48h"'), OFF, "longer than a day: pay"),
    ("holds", files(policies__default_dot_cedar=NO_HOLDS), OFF, "no policy"),
    ("approvals", files(policies__default_dot_cedar=NO_HOLDS), OFF, "nobody is asked"),
    ("approvals", NO_FRANK, OFF, "too few people"),
    ("passkeys", purpose("passkey = true, ", ""), OFF, "needs no passkey in: pay"),
    ("escalation", purpose(', escalate_after = "5m"', ""), PARTLY, "nobody else is asked"),
    ("escalation", config('[notifications.chat]\nsecret = "chat"\n'), PARTLY, "nobody is told"),
    ("tool-review", files(tools__list_dot_toml=(f'pin = "sha256:{"a" * 64}"', "")), PARTLY, "reviewed: list"),
    ("origins", files(policies__default_dot_cedar=NO_HOLDS), OFF, "no policy asks"),
    ("delegation", purpose(
        "[parameters.customer]",
        'max_depth = 1\n[[delegations]]\nagents = ["bot"]\npurposes = ["pay"]\nagain = true\n[parameters.customer]',
    ), PARTLY, "twice in a chain in pay"),
    ("environments", files(tools__try_dot_toml=('"staging"', '"production"')), OFF, "nothing is kept apart"),
    ("environments", purpose("max_calls = 5", 'max_calls = 5\nenvironments = ["production", "staging"]'), OFF, "several"),
    ("enforcement", only_hooks, OFF, "own process"),
    ("inventory", owner_left, OFF, "bot (olga)"),
    ("attestation", files(agents__bot_dot_toml=None, purposes__pay_dot_toml=None), OFF, "no agent"),
    ("bound-tokens", files(agents__bot_dot_toml='owner = "olga"\n[[attestations]]\nmethod = "client_metadata"\n'
        'client_id = "https://app.example/c.json"\ngateways = ["https://gw.example/mcp"]\nbearer = true\n',
    ), OFF, "bound to no key: bot"),
    ("sign-in", config('[sign_in.company]\nissuer = "https://id.example"\nclient_id = "remit"\nperson = "sub"\npeople = { u1 = "frank" }\n'), PARTLY, "no identity provider"),
    ("departures", config('[signals.company]\nissuer = "https://id.example"\naudience = "https://remit.test"\npeople = { u1 = "frank" }\n'), PARTLY, "an operator has to say"),
    ("posture", purpose('needs = { disk_encrypted = "yes" }', ""), OFF, "surroundings"),
    ("leases", config('kind = "fake"', 'kind = "static"'), OFF, "lives on: pg"),
    ("kills", late_lease, OFF, "reconcilers do not run"),
    ("kills", outage, OFF, "confirm no kill: pg"),
    ("revocation", late_task, OFF, "reconcilers do not run"),
    ("revocation", slow_redecision, PARTLY, "every open task"),
    ("secrets", retired, OFF, "no static secret"),
    ("secrets", no_rotation, PARTLY, "no time is set"),
    ("restore", restoring, PARTLY, "made safe"),
    ("restore", sweeping, PARTLY, "compared"),
    ("log", tree_edited, OFF, "root"),
    ("log", signed_by_another, OFF, "checkpoint does not hold"),
    ("log", nobody_sequences, OFF, "nobody sequences"),
    ("signing-keys", old_keys, PARTLY, "should have been replaced"),
    ("change-control", rollout, PARTLY, "10 % of the edges"),
    ("freeze", slow_freeze, PARTLY, "still lives: agent bot"),
    ("findings", files(remit_dot_toml=FILES["remit.toml"] + "[findings]\nstop = []\n"), OFF, "no severity"),
    ("told-elsewhere", stream_gone, OFF, "no other system"),
    ("told-elsewhere", stream_fails, OFF, "do not take"),
    ("edges", config('[edges.west]\nurl = "https://west.example"\nowner = "olga"\n'), OFF, "no edge"),
    ("edges", edge_gone, OFF, "not come yet: west"),
    ("edges", edge_silent, OFF, "not asked for"),
    ("policies:ASI01", files(policies__default_dot_cedar=NO_HOLDS), OFF, "ASI01"),
]  # fmt: skip


@at_once
async def test_where_everything_is_as_it_should_be_everything_is_in_force():
    w = await good()
    there = await present.read(w.env, w.store, LOG, w.clock.now)
    found = {name: one.now(there) for name, one in ALL.items()}
    assert {name: one for name, one in found.items() if one.state is not ON or one.overdue} == {}


@pytest.mark.parametrize(("name", "plant", "state", "says"), PLANTED)
@at_once
async def test_what_was_switched_off_is_seen(name, plant, state, says):
    w = await good()
    if callable(plant):
        await plant(w)
    else:
        await apply(w.env, w.call(CallerKind.OPERATOR, "op"), plant)
    found = await standing(w, name)
    assert found.state is state and says in found.says


def test_every_mechanism_has_been_switched_off():
    assert {name for name, *_ in PLANTED} == ALL.keys()


@pytest.mark.parametrize(
    ("name", "plant", "says"),
    [
        ("leases", stuck_kill, "pg: a credential waits to die since 2 hours"),
        ("secrets", overdue_secret, "secret chat should have had a newer version"),
        ("sign-in", long_key, "the key of auditor anna is good for more than a year"),
        ("departures", owner_left, "olga left, and what they answer for is not frozen"),
        ("findings", old_finding, "high finding about tool list is open since 30 days"),
        ("signing-keys", old_keys, "the token key"),
    ],
)
@at_once
async def test_what_is_overdue_is_said(name, plant, says):
    w = await good()
    await plant(w)
    assert says in (await standing(w, name)).overdue


@pytest.mark.parametrize("indexed", [True, False], ids=["by the index", "read"])
@at_once
async def test_an_act_of_each_kind_is_counted_once_and_where_it_is(indexed):
    w = await good()
    wanted = sorted({word for one in ALL.values() for word in one.acts})
    before = (await w.store.head())[0]
    counted = await acts.acts(w.store, wanted, before, before)
    assert {one.count for one in counted.values()} == {0}
    for word in wanted:
        await put(w, one_of(word))
    await settled(w, indexed)
    start, end = before, (await w.store.head())[0]
    leaves = await w.store.entries(0, end)
    found = await acts.acts(w.store, wanted, start, end)
    for word in wanted:
        places = [place for place in range(end) if not word or word in words(leaves[place])]
        assert found[word].count == len([place for place in places if place >= start]) >= 1
        assert found[word].newest == tuple(places[::-1][: acts.NEWEST])


@at_once
async def test_nothing_that_is_said_in_an_event_is_counted():
    w = await good()
    end = (await w.store.head())[0]
    said = one_of("decided permit")
    for tool in ("is LeaseEnded", "LeaseEnded", "refused out_of_scope", "control ASI02"):
        await put(w, replace(said, tool=tool, decision="deny", reasons=("tool_unknown",)))
    await settled(w)
    wanted = ["is LeaseEnded", "refused out_of_scope", "control ASI02", "refused tool_unknown"]
    found = await acts.acts(w.store, wanted, end, (await w.store.head())[0])
    assert [found[word].count for word in wanted] == [0, 0, 0, 4]


@at_once
async def test_no_event_counts_twice_for_one_mechanism():
    for mechanism in ALL.values():
        w = await good()
        for word in mechanism.acts:
            await put(w, one_of(word))
        await settled(w)
        for leaf in await w.store.entries(0, (await w.store.head())[0]):
            assert sum(acts.has(word, leaf) for word in mechanism.acts) <= 1, (mechanism.id, leaf)


@at_once
async def test_what_is_counted_begins_when_it_was_asked_to_and_ends_where_the_index_can_go(monkeypatch):
    w = await good()
    at = w.clock.now
    w.clock.now += 1000
    await put(w, one_of(""))
    await settled(w, indexed=False)
    size = (await w.store.head())[0]
    assert await acts.stretch(w.store, 0) == (0, size)
    assert await acts.stretch(w.store, at + 1) == (size - 1, size)
    assert await acts.stretch(w.store, at + 5000) == (size, size)
    monkeypatch.setattr(acts, "TAIL", 0)
    assert await acts.stretch(w.store, 0) == (0, await w.store.indexed()) != (0, size)


def test_frameworks_name_each_control_once_and_say_why_where_nothing_enforces_it():
    sizes = {name: len(framework(name).controls) for name in NAMES}
    assert sizes == {"csf": 106, "ai-rmf": 19, "asi": 10, "nhi": 10, "maestro": 7}
    for name in NAMES:
        one = framework(name)
        assert len({control.id for control in one.controls}) == len(one.controls) and one.source and one.scope
        for control in one.controls:
            assert bool(control.by) != bool(control.why_not) and not (control.remains and not control.by)
    assert [control.id for control in framework("asi").controls] == [f"ASI{n:02}" for n in range(1, 11)]
