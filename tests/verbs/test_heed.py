"""What an identity provider says of a person takes effect, once, before it is acknowledged."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from hashlib import sha256

import pytest

from remit.domain.caller import AccessKey, CallerKind
from remit.domain.chain import Principal, PrincipalKind
from remit.domain.decision import Access, Deny
from remit.domain.departure import Departure
from remit.domain.errors import BadCatalogue, Busy, Denied, StoreUnavailable
from remit.domain.freeze import Reach
from remit.domain.session import Session
from remit.domain.signal import CAEP, KINDS, LATE, RISC, SSF, Effect, HeardSignal, SecurityEvent
from remit.domain.task import Task, TaskState
from remit.formats.catalogue import parse
from remit.verbs import sign_in, sign_out
from remit.verbs.admit import admit
from remit.verbs.decide import decide
from remit.verbs.freeze import unfreeze
from remit.verbs.heed import heed
from remit.verbs.issue import issue
from remit.verbs.propose import Proposal, propose
from remit.work.redecide import redecide
from tests.delegating import CATALOGUE, Between, below, last
from tests.world import world

IDP = "https://idp.example"
ENTRY = f"""
[signals.idp]
issuer = "{IDP}"
audience = "https://remit.test/signals/idp"
people = {{ dana = "00u1", olga = "00u2" }}
"""
WITH = {**CATALOGUE, "remit.toml": CATALOGUE["remit.toml"] + ENTRY}
DANA = {"format": "iss_sub", "iss": IDP, "sub": "00u1"}
OLGA = {"format": "opaque", "id": "00u2"}
REVOKED = CAEP + "session-revoked"


class House:
    """A world in which dana began two tasks and is signed in, frank began one, and bot one of its own."""

    def __init__(self, w, call, tasks):
        self.w, self.call, self.tasks = w, call, tasks
        self.count = 0

    def event(self, kind=REVOKED, subject=DANA, at=0, **details):
        self.count += 1
        return SecurityEvent(f"j{self.count}", at or self.w.clock.now, kind, subject, details)

    async def hears(self, said):
        _, force = await self.w.env.in_force()
        call = self.w.call(CallerKind.SYSTEM, "signals/idp")
        row = await heed(self.w.env, call, force.catalogue.transmitters["idp"], said)
        while await redecide(self.w.env, self.w.clock.now):
            pass
        return row

    async def open(self):
        rows = {name: await self.w.store.get(Task, task) for name, task in self.tasks.items()}
        return {name for name, row in rows.items() if row.state is TaskState.OPEN}

    async def sessions(self, name="dana"):
        return list(await self.w.store.find(Session, {"name": name, "state": "open"}))

    async def begin(self, name, who, purpose="lead"):
        by = Principal(PrincipalKind.PERSON, who) if who else None
        asked = Proposal(purpose, "goal", {"customer": "acme"})
        task = await propose(self.w.env, replace(self.call, now=self.w.clock.now), asked, by)
        self.tasks[name] = task.id
        return task


async def house(store=None, files=WITH):
    w = await world(store or Between(), files)
    _, call = await w.proved()
    h = House(w, call, {})
    for name, who in (("first", "dana"), ("second", "dana"), ("franks", "frank"), ("own", "")):
        await h.begin(name, who)
    for name in ("dana", "frank"):
        operator = w.call(CallerKind.OPERATOR, "op")
        text, _ = await sign_in.link(w.env, operator, name, (CallerKind.PERSON,))
        await sign_in.by_link(w.env, operator, text)
    return h


def test_a_session_that_was_revoked_there_ends_what_was_begun_here(run):
    async def main():
        h = await house()
        _, other = await h.w.proved("other")
        part = await below(h.w, h.call, await h.w.store.get(Task, h.tasks["first"]), other)
        row = await h.hears(h.event())
        assert await h.open() == {"franks", "own"} and not await h.sessions() and await h.sessions("frank")
        told = last(h.w, "SignalHeeded")
        assert told == {
            "transmitter": "idp",
            "jti": "j1",
            "signal": REVOKED,
            "person": "dana",
            "effects": ["sessions", "begun"],
            "tasks": 3,
            "sessions": 1,
        }
        ended = await h.w.store.get(Task, h.tasks["first"])
        assert last(h.w, "SessionEnded")["reason"] == "idp says session-revoked"
        over = "idp says session-revoked: What dana began before they were signed out is over."
        assert ended.end_reason == over
        assert (await h.w.store.get(Task, part.id)).state is TaskState.REVOKED
        assert (row.person, row.kind) == ("dana", REVOKED) and h.w.nudges
        assert not (await h.w.env.frozen()).freezes

    run(main())


@pytest.mark.parametrize("kind", ["account-disabled", "account-purged"])
def test_whose_account_is_gone_has_left_and_their_keys_end(run, kind):
    async def main():
        h = await house()
        operator = h.w.call(CallerKind.OPERATOR, "op")
        keys = [(await admit(h.w.env, operator, k, "olga", 60_000))[0] for k in (CallerKind.PERSON, CallerKind.AUDITOR)]
        spare, _ = await admit(h.w.env, operator, CallerKind.PERSON, "dana", 60_000)
        gate, _ = await admit(h.w.env, operator, CallerKind.ENFORCER, "olga", 60_000)
        await h.hears(h.event(RISC + kind, OLGA))
        left = await h.w.env.departure("olga")
        assert left.gone and left.reason == f"idp says {kind}" and left.by == "system:signals/idp"
        assert not (await h.w.env.frozen()).freezes

        async def good(text):
            row = await h.w.store.get(AccessKey, sha256(text.encode()).hexdigest())
            return h.w.clock.now < row.expires_at

        assert [await good(text) for text in (*keys, spare, gate)] == [False, False, True, True]
        assert h.w.events().count("AccessKeyEnded") == 2
        await h.hears(h.event(RISC + kind, OLGA))  # again, by another event: nothing is left
        assert h.w.events().count("AccessKeyEnded") == 2 and (await h.w.env.departure("olga")) == left

    run(main())


def test_what_comes_twice_has_its_effect_once(run):
    async def main():
        h = await house()
        said = h.event()
        first = await asyncio.gather(*(h.hears(said) for _ in range(8)))
        assert len({row.at for row in first}) == 1 and h.w.events().count("SignalHeeded") == 1
        h.w.clock.now += LATE + 1
        await h.begin("later", "dana")
        operator = h.w.call(CallerKind.OPERATOR, "op")
        text, _ = await sign_in.link(h.w.env, operator, "dana", (CallerKind.PERSON,))
        await sign_in.by_link(h.w.env, operator, text)
        await h.hears(said)
        assert "later" in await h.open() and await h.sessions()
        await h.hears(replace(said, jti="late"))  # said before, given late: what began since stays
        assert "later" in await h.open() and await h.sessions()
        assert last(h.w, "SignalHeeded")["tasks"] == last(h.w, "SignalHeeded")["sessions"] == 0
        await h.hears(h.event())
        assert "later" not in await h.open() and not await h.sessions()

    run(main())


def test_what_comes_at_two_replicas_at_once_is_heard_at_one(run):
    async def main():
        h = await house()
        said, heard = h.event(), []

        async def at_the_other():
            heard.append(await h.hears(said))

        h.w.store.between = at_the_other
        heard.append(await h.hears(said))
        assert heard[0].at == heard[1].at and h.w.events().count("SignalHeeded") == 1

    run(main())


def test_what_an_operator_thawed_is_not_frozen_again_by_the_same_event_twice(run):
    async def main():
        h = await house()
        said = h.event(RISC + "account-disabled", reason="hijacking")
        await h.hears(said)
        await unfreeze(h.w.env, h.w.call(CallerKind.OPERATOR, "op"), Reach.OWNER, "dana", "she is back")
        await h.hears(said)
        assert not (await h.w.env.frozen()).freezes
        await h.hears(h.event(RISC + "account-disabled"))
        assert not (await h.w.env.frozen()).freezes
        await h.hears(h.event(RISC + "account-disabled", reason="hijacking"))
        (freeze,) = (await h.w.env.frozen()).freezes
        assert freeze.reason == "idp says account-disabled" and freeze.by == "system:signals/idp"

    run(main())


@pytest.mark.parametrize(
    ("kind", "details", "ends"),
    [
        (CAEP + "credential-change", {"change_type": "revoke", "credential_type": "password"}, True),
        (CAEP + "credential-change", {"change_type": "delete"}, True),
        (CAEP + "credential-change", {"change_type": "create"}, False),
        (CAEP + "credential-change", {"change_type": "update"}, False),
        (CAEP + "credential-change", {}, False),
        (RISC + "credential-compromise", {"credential_type": "password"}, True),
        (RISC + "sessions-revoked", {}, True),
        (RISC + "account-enabled", {}, False),
        (CAEP + "device-compliance-change", {"current_status": "not-compliant"}, False),
        (CAEP + "risk-level-change", {"current_level": "HIGH"}, False),
        (CAEP + "assurance-level-change", {"change_direction": "decrease"}, False),
        (CAEP + "session-established", {}, False),
        (SSF + "verification", {"state": "x"}, False),
        ("https://example.com/what-is-this", {"a": 1}, False),
    ],
)
def test_what_each_kind_of_event_does(kind, details, ends):
    by = parse({"remit.toml": "[people.dana]\n[people.olga]\n" + ENTRY}).transmitters["idp"]
    assert bool(by.effects_of(SecurityEvent("j", 0, kind, DANA, details))) is ends


def test_what_has_no_effect_is_recorded(run):
    async def main():
        h = await house()
        for kind, details in (
            (SSF + "verification", {"state": "x"}),
            ("https://example.com/what-is-this", {"a": 1}),
            (CAEP + "credential-change", {"change_type": "create"}),
        ):
            await h.hears(h.event(kind, **details))
            told = last(h.w, "SignalHeeded")
            assert (told["signal"], told["person"], told["effects"]) == (kind, "dana", [])
        await h.hears(h.event(subject={"format": "email", "email": "nobody"}))
        assert last(h.w, "SignalHeeded")["person"] == ""
        assert len(await h.open()) == 4 and await h.sessions()

    run(main())


@pytest.mark.parametrize(
    ("kind", "worse", "better"),
    [
        ("device-compliance-change", {"current_status": "not-compliant"}, {"current_status": "compliant"}),
        ("risk-level-change", {"current_level": "HIGH"}, {"current_level": "LOW"}),
        ("assurance-level-change", {"change_direction": "decrease"}, {"change_direction": "increase"}),
    ],
)
def test_an_entry_gives_an_event_its_effects(run, kind, worse, better):
    async def main():
        more = f'[signals.idp.effects]\n{kind} = ["begun"]\nsession-revoked = []\n'
        h = await house(files={**WITH, "remit.toml": WITH["remit.toml"] + more})
        await h.hears(h.event(KINDS[kind], **better))
        await h.hears(h.event())
        assert len(await h.open()) == 4
        await h.hears(h.event(KINDS[kind], **worse))
        assert await h.open() == {"franks", "own"} and await h.sessions()

    run(main())


@pytest.mark.parametrize(
    ("subject", "who"),
    [
        (DANA, "dana"),
        ({"format": "email", "email": "00u1"}, "dana"),
        ({"format": "opaque", "id": "00u1"}, "dana"),
        ({"format": "complex", "user": DANA, "session": {"format": "opaque", "id": "s"}}, "dana"),
        ({**DANA, "iss": "https://other.example"}, ""),
        ({**DANA, "sub": "dana"}, ""),
        ({**DANA, "sub": "00U1"}, ""),
        ({**DANA, "sub": ""}, ""),
        ({**DANA, "sub": 7}, ""),
        ({"format": "iss_sub", "sub": "00u1"}, ""),
        ({"format": "complex", "session": DANA}, ""),
        ({"format": "complex", "user": "00u1"}, ""),
        ({"format": "phone_number", "phone_number": "00u1"}, ""),
        ({"id": "00u1"}, ""),
        ({}, ""),
    ],
)
def test_who_it_is_about(subject, who):
    by = parse({"remit.toml": "[people.dana]\n[people.olga]\n" + ENTRY}).transmitters["idp"]
    assert by.person(subject, {"dana", "olga"}) == who


SIGN_IN = """
[sign_in.corp]
issuer = "https://sign-in.example"
client_id = "remit"
person = "{claim}"
[sign_in.corp.people]
dana = "dana@example.com"
[signals.idp]
issuer = "https://idp.example"
audience = "a"
sign_in = "corp"
"""


def test_people_are_who_they_are_when_they_sign_in():
    def read(text):
        return parse({"remit.toml": "[people.dana]\n" + text}).transmitters["idp"]

    mail = read(SIGN_IN.format(claim="email"))
    assert mail.person({"format": "email", "email": "dana@example.com"}, {"dana"}) == "dana"
    assert mail.person({"format": "opaque", "id": "dana@example.com"}, {"dana"}) == ""
    assert mail.person({"format": "email", "email": "dana@example.com"}, set()) == ""
    sub = read(SIGN_IN.format(claim="sub").replace("dana@example.com", "00u1"))
    found = {"format": "iss_sub", "iss": "https://sign-in.example", "sub": "00u1"}
    assert sub.person(found, {"dana"}) == "dana"
    bare = read(SIGN_IN.format(claim="sub").replace('[sign_in.corp.people]\ndana = "dana@example.com"\n', ""))
    assert bare.person({**found, "sub": "dana"}, {"dana"}) == "dana"
    assert bare.person({**found, "sub": "Dana Danowitz"}, {"Dana Danowitz"}) == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (SIGN_IN.format(claim="preferred_username"), "which no event has"),
        (SIGN_IN.format(claim="sub").replace('sign_in = "corp"', ""), "say who is who"),
        (SIGN_IN.format(claim="sub").replace('sign_in = "corp"', 'sign_in = "other"'), "no sign-in provider"),
        (ENTRY.replace("https://idp", "http://idp"), "must be an https:// URL"),
        (ENTRY.replace("00u2", "00u1"), "two people"),
        (ENTRY + 'poll_url = "http://169.254.169.254/x"', "must be an https:// URL"),
        (ENTRY + '[signals.idp.effects]\nsession-revoke = ["begun"]', "no such event"),
        (ENTRY + '[signals.idp.effects]\nsession-revoked = ["everything"]', "effects are some of"),
        (ENTRY + "colour = 1", "unknown key"),
    ],
)
def test_entries_that_are_wrong(text, problem):
    with pytest.raises(BadCatalogue, match=problem):
        parse({"remit.toml": "[people.dana]\n" + text})


def test_nothing_is_permitted_once_it_was_acknowledged_though_the_task_is_open_still(run):
    async def main():
        h = await house()
        task = await h.w.store.get(Task, h.tasks["first"])
        _, force = await h.w.env.in_force()
        system = h.w.call(CallerKind.SYSTEM, "signals/idp")
        await heed(h.w.env, system, force.catalogue.transmitters["idp"], h.event())
        assert "first" in await h.open()
        for decision in (await decide(h.w.env, h.call, Access(task.id, "list", {"customer": "acme"})),):
            assert isinstance(decision, Deny) and decision.why[0].reason.value == "initiator_left"
        with pytest.raises(Denied, match="began before they were signed out"):
            await issue(h.w.env, h.call, task.id, "db")
        own = Access(h.tasks["own"], "list", {"customer": "acme"})
        assert not isinstance(await decide(h.w.env, h.call, own), Deny)

    run(main())


def test_no_permit_is_committed_after_it_was_acknowledged(run):
    """Between the reads of a decision and its commit the event is heeded."""

    async def main():
        h = await house()
        told = h.event()

        async def meanwhile():
            await h.hears(told)

        h.w.store.between = meanwhile
        decision = await decide(h.w.env, h.call, Access(h.tasks["first"], "list", {"customer": "acme"}))
        assert isinstance(decision, Deny)

    run(main())


def test_whoever_signs_out_at_the_same_moment_is_signed_out_once(run):
    async def main():
        h = await house()
        (mine,) = await h.sessions()

        async def signs_out():
            await sign_out.end(h.w.env, h.w.call(CallerKind.OPERATOR, "op"), mine.digest, "bye")

        h.w.store.between = signs_out
        await h.hears(h.event())
        assert last(h.w, "SignalHeeded")["sessions"] == 0 and last(h.w, "SessionEnded")["reason"] == "bye"

    run(main())


def test_what_keeps_changing_is_not_acknowledged(run):
    async def main():
        h = await house()

        class Busier:
            def __getattr__(self, name):
                return getattr(h.w.store, name)

            async def get(self, kind, key):
                row = await h.w.store.get(kind, key)
                return replace(row or Departure(key), version=7) if kind is Departure else row

        h.w.env = replace(h.w.env, store=Busier())
        with pytest.raises(Busy):
            await h.hears(h.event())
        assert "SignalHeeded" not in h.w.events()

    run(main())


@pytest.mark.parametrize("after", range(2))
def test_after_a_crash_anywhere_it_comes_again_and_is_done(run, after):
    async def main():
        h = await house()
        said, left = h.event(RISC + "account-disabled", DANA), after
        commit = h.w.store.commit

        async def fails(change):
            nonlocal left
            if not left:
                raise StoreUnavailable("gone")
            left -= 1
            return await commit(change)

        h.w.store.commit = fails
        with pytest.raises(StoreUnavailable):
            await h.hears(said)
        h.w.store.commit = commit
        assert await h.w.store.get(HeardSignal, "idp/j1") is None
        await h.hears(said)
        assert await h.open() == {"franks", "own"} and not await h.sessions()
        assert (await h.w.env.departure("dana")).gone and await h.w.store.get(HeardSignal, "idp/j1")

    run(main())


def test_the_effects_have_words():
    assert [effect.value for effect in Effect] == ["keys", "sessions", "begun", "left", "estate"]
