"""Each source of what tasks are permitted in: hours, posture, findings, people who left, environments."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from remit.domain.approval import Approval
from remit.domain.caller import CallerKind
from remit.domain.chain import Principal, PrincipalKind
from remit.domain.decision import Access, Deny, Hold, Permit
from remit.domain.departure import Departure
from remit.domain.errors import Absent, BadCatalogue, BadField, Busy, Conflict, Denied, WrongState
from remit.domain.finding import Finding, Severity, Subject
from remit.domain.freeze import Reach
from remit.domain.lease import Lease
from remit.domain.posture import MOST as MOST_FACTS
from remit.domain.posture import Posture
from remit.domain.redecision import Redecision
from remit.domain.task import Task, TaskState
from remit.formats.catalogue import parse
from remit.store.memory import MemoryStore
from remit.store.replay import replay
from remit.verbs.apply import apply
from remit.verbs.approve import Given, answer
from remit.verbs.assess import assess
from remit.verbs.decide import decide
from remit.verbs.depart import come_back, depart
from remit.verbs.discover import EVIDENCE_LIMIT, Found, report, resolve
from remit.verbs.freeze import below, freeze, unfreeze
from remit.verbs.issue import issue
from remit.verbs.propose import Proposal, propose
from tests import delegating
from tests.verbs.test_decide import Meddling
from tests.work.test_redecide import LIST, operator, settle, state
from tests.world import EVER, FILES, changed, world

MINUTE = 60_000
PAY = FILES["purposes/pay.toml"]
DISK = 'needs = { disk_encrypted = "yes" }\n'
FRIDAY_MORNING = 'hours = "Fri 08:00-08:05, Mon 09:00-10:00 UTC"\n'
ASKS = (
    EVER
    + """@id("encrypted") forbid (principal, action == Remit::Action::"list", resource)
unless { context.posture.contains("disk_encrypted=yes") };"""
)


async def house(store=None, **files):
    w = await world(store, changed(**files))
    _, call = await w.proved()
    return w, call


def now(w, call):
    return replace(call, now=w.clock.now)


# --- hours ---


def test_a_task_ends_when_its_window_closes_and_none_is_begun_outside(run):
    async def main():
        w, call = await house(purposes__pay_dot_toml=FRIDAY_MORNING + PAY)
        task = await w.task(call)
        lease, _ = await issue(w.env, call, task.id, "db")
        assert task.deadline == w.clock.now + 5 * MINUTE and lease.expires_at == task.deadline
        w.clock.advance(5 * MINUTE)
        denied = await decide(w.env, now(w, call), Access(task.id, "list", LIST))
        assert denied.why[0].reason.value == "task_expired"
        await settle(w)
        assert (await state(w, task))[0] is TaskState.EXPIRED and not w.issuer.live
        with pytest.raises(Denied, match="it opens Mon 2027-01-18 09:00") as refused:
            await w.task(call)
        assert refused.value.reasons == ("out_of_hours",)
        w.clock.advance(3 * 24 * 60 * MINUTE)
        _, call = await w.proved()
        w.clock.advance(60 * MINUTE)
        assert (await w.task(call)).deadline == w.clock.now + 15 * MINUTE

    run(main())


def test_a_change_of_hours_ends_what_is_open(run):
    async def main():
        w, call = await house()
        task = await w.task(call)
        await apply(w.env, operator(w), changed(purposes__pay_dot_toml=FRIDAY_MORNING + PAY))
        await settle(w)
        assert (await state(w, task))[1].endswith(": hours.")

    run(main())


@pytest.mark.parametrize("hours", ["always", "Mon-Fri 08:00-18:00", "08:00-09:00 Mars/Olympus"])
def test_hours_that_cannot_be_read_are_refused_with_their_line(hours):
    with pytest.raises(BadCatalogue, match=r"purposes/pay\.toml:1: 'hours'"):
        parse(changed(purposes__pay_dot_toml=f'hours = "{hours}"\n' + PAY))


# --- posture ---


def test_what_a_purpose_needs_must_be_known_and_is_absent_otherwise(run):
    async def main():
        w, call = await house(purposes__pay_dot_toml=DISK + PAY)
        with pytest.raises(Denied, match="disk_encrypted=yes") as refused:
            await w.task(call)
        assert refused.value.reasons == ("posture_unmet",)
        await assess(w.env, operator(w), "bot", {"disk_encrypted": "no"}, w.clock.now + MINUTE)
        with pytest.raises(Denied):
            await w.task(call)
        await assess(w.env, operator(w), "other", {"disk_encrypted": "yes"}, w.clock.now + MINUTE)
        with pytest.raises(Denied):
            await w.task(call)
        await assess(w.env, operator(w), "bot", {"disk_encrypted": "yes"}, w.clock.now + MINUTE)
        assert (await w.task(call)).state is TaskState.OPEN

    run(main())


@pytest.mark.parametrize("how", ["changed", "lapsed"])
def test_a_posture_that_changes_or_lapses_ends_what_needs_it(run, how):
    async def main():
        w, call = await house(purposes__pay_dot_toml=DISK + PAY)
        until = w.clock.now + MINUTE
        await assess(w.env, operator(w), "bot", {"disk_encrypted": "yes", "os": "patched"}, until)
        task = await w.task(call)
        await issue(w.env, call, task.id, "db")
        assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Permit)
        if how == "changed":
            await assess(w.env, w.call(CallerKind.ENFORCER, "mdm"), "bot", {"disk_encrypted": "no"}, until)
        else:
            w.clock.advance(MINUTE)
        denied = await decide(w.env, now(w, call), Access(task.id, "list", LIST))
        assert isinstance(denied, Deny) and denied.why[0].reason.value == "posture_unmet"
        with pytest.raises(Denied, match="disk_encrypted"):
            await issue(w.env, now(w, call), task.id, "db")
        await settle(w)
        ended, why = await state(w, task)
        assert ended is TaskState.REVOKED and why.startswith("posture of bot ") and "disk_encrypted=yes" in why
        assert not w.issuer.live and not await replay(w.store)
        known = (await w.env.posture("bot")).at(w.clock.now)
        assert known == (("disk_encrypted=no", "os=patched") if how == "changed" else ())
        await settle(w)
        assert w.events().count("PostureLapsed") == (how == "lapsed")

    run(main())


def test_no_permit_is_committed_after_a_posture_that_forbids_it(run):
    async def main():
        w, call = await house(Meddling(MemoryStore()), purposes__pay_dot_toml=DISK + PAY)
        await assess(w.env, operator(w), "bot", {"disk_encrypted": "yes"}, w.clock.now + MINUTE)
        task = await w.task(call)
        no = {"disk_encrypted": "no"}
        w.store.meddle = lambda: assess(w.env, operator(w), "bot", no, w.clock.now + MINUTE)
        assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Deny)
        assert (await w.store.get(Task, task.id)).calls == 0

    run(main())


def test_policies_see_it_and_what_is_not_known_is_not_there(run):
    async def main():
        w, call = await house(policies__default_dot_cedar=ASKS)
        task = await w.task(call)
        denied = await decide(w.env, call, Access(task.id, "list", LIST))
        assert denied.why[0].policy == "encrypted"
        for value, permitted in (("no", False), ("yes", True)):
            await assess(w.env, operator(w), "bot", {"disk_encrypted": value}, w.clock.now + MINUTE)
            got = await decide(w.env, call, Access(task.id, "list", LIST))
            assert isinstance(got, Permit if permitted else Deny)
        w.clock.advance(MINUTE)
        assert isinstance(await decide(w.env, now(w, call), Access(task.id, "list", LIST)), Deny)

    run(main())


def test_whoever_lacks_it_hands_nothing_on(run):
    async def main():
        files = {**delegating.CATALOGUE, "purposes/lead.toml": DISK + delegating.LEAD}
        w = await delegating.house(files)
        _, lead = await w.proved()
        until = w.clock.now + MINUTE
        await assess(w.env, operator(w), "bot", {"disk_encrypted": "yes"}, until)
        task = await w.task(lead, "lead")
        assert await delegating.hand(w, lead, task)
        w.store.between = lambda: assess(w.env, operator(w), "bot", {"disk_encrypted": "no"}, until)
        with pytest.raises(Denied, match="disk_encrypted=yes"):
            await delegating.hand(w, lead, await w.store.get(Task, task.id))

    run(main())


def test_said_once_more_it_changes_nothing_and_reads_no_task(run):
    async def main():
        w, _ = await house()
        for minutes in (1, 2):
            await assess(w.env, operator(w), "bot", {"os": "patched"}, w.clock.now + minutes * MINUTE)
        assert len(await w.store.find(Redecision, {})) == 1
        (fact,) = (await w.env.posture("bot")).facts
        assert (fact.until, fact.by) == (w.clock.now + 2 * MINUTE, "operator:op")
        with pytest.raises(Absent):
            await assess(w.env, operator(w), "nobody", {"os": "patched"}, w.clock.now + MINUTE)

    run(main())


@pytest.mark.parametrize(
    ("facts", "until"),
    [({}, 5), ({"Disk": "yes"}, 5), ({"a=b": "c"}, 5), ({"a": ""}, 5), ({"a": "x" * 129}, 5), ({"a": "x\n"}, 5),
     ({"a": "b"}, 1), ({"a": "b"}, 31 * 86_400_000), ({f"f{i}": "x" for i in range(MOST_FACTS + 1)}, 5)],
)  # fmt: skip
def test_what_is_no_posture(facts, until):
    with pytest.raises(BadField):
        Posture("bot").told(facts, until, "operator:op", 1)


def test_needs_are_read_strictly():
    for needs in ('{ "Disk" = "yes" }', "{ disk = true }"):
        with pytest.raises(BadCatalogue, match=r"purposes/pay\.toml"):
            parse(changed(purposes__pay_dot_toml=f"needs = {needs}\n" + PAY))


# --- people who left ---


def test_what_they_began_ends_and_they_begin_nothing(run):
    async def main():
        w, call = await house()
        began = {}
        for who in ("dana", "gina"):
            asked = Proposal("pay", "goal", {"customer": "acme"})
            began[who] = await propose(w.env, call, asked, Principal(PrincipalKind.PERSON, who))
        own = await w.task(call)
        row, again = await depart(w.env, operator(w), "dana", "resigned")
        assert row.gone and again
        with pytest.raises(Denied, match="dana, who began it, has left") as refused:
            await propose(w.env, call, asked, Principal(PrincipalKind.PERSON, "dana"))
        assert refused.value.reasons == ("initiator_left",)
        await settle(w)
        assert await state(w, began["dana"]) == (
            TaskState.REVOKED,
            "dana left (resigned): dana, who began it, has left.",
        )
        assert [(await state(w, one))[0] for one in (began["gina"], own)] == [TaskState.OPEN] * 2
        assert (await w.store.get(Redecision, again)).ended == 1
        assert (await depart(w.env, operator(w), "dana", "again"))[1] == ""
        await come_back(w.env, operator(w), "dana")
        assert (await propose(w.env, call, asked, Principal(PrincipalKind.PERSON, "dana"))).state is TaskState.OPEN
        assert not await replay(w.store)

    run(main())


def test_a_proposal_that_races_with_a_departure_is_not_begun(run):
    async def main():
        w, call = await house(Meddling(MemoryStore()))
        w.store.meddle = lambda: depart(w.env, operator(w), "dana", "left")
        with pytest.raises(Conflict):
            await propose(w.env, call, Proposal("pay", "goal", {"customer": "acme"}), Principal(PrincipalKind.PERSON, "dana"))  # fmt: skip
        assert not await w.store.find(Task, {"state": "open"})

    run(main())


def test_what_they_answer_for_is_frozen_with_them_if_it_is_to_be(run):
    async def main():
        w, call = await house()
        task = await w.task(call)
        await depart(w.env, operator(w), "olga", "left")
        assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Permit)
        for _ in range(2):  # the second time nothing more is frozen
            await depart(w.env, operator(w), "olga", "left", estate=True)
        (one,) = (await w.env.frozen()).freezes
        assert one.target == "owner olga" and "olga left: left" in one.reason
        assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Deny)

    run(main())


def test_who_cannot_leave_or_come_back(run):
    async def main():
        w, _ = await house()
        with pytest.raises(Absent):
            await depart(w.env, operator(w), "nobody", "left")
        with pytest.raises(BadField):
            await depart(w.env, operator(w), "dana", "")
        with pytest.raises(Absent):
            await come_back(w.env, operator(w), "dana")
        await depart(w.env, operator(w), "dana", "left")
        files = changed(remit_dot_toml=FILES["remit.toml"].replace('[people.dana]\ngroups = ["billing"]\n', "").replace("[people.frank]", '[people.ed]\ngroups = ["billing"]\n[people.frank]'))  # fmt: skip
        await apply(w.env, operator(w), files)
        assert (await come_back(w.env, operator(w), "dana")).back_at
        with pytest.raises(WrongState):
            await come_back(w.env, operator(w), "dana")
        again, _ = await depart(w.env, operator(w), "dana", "left again")  # no longer in the catalogue, and known
        assert again.gone and again.reason == "left again"
        assert not Departure("dana").gone

    run(main())


class Losing(MemoryStore):
    """Somebody else is always first, where these rows are written."""

    loses = ()

    async def commit(self, change):
        if any(isinstance(put.row, self.loses) for put in change.puts):
            raise Conflict("lost")
        return await super().commit(change)


def test_who_always_loses_is_told_to_try_again(run):
    async def main():
        w, _ = await house(Losing())
        finding = await report(w.env, operator(w), Found(Severity.LOW, Subject.TOOL, "pay", "odd"))
        w.store.loses = (Departure, Posture, Finding)
        with pytest.raises(Busy):
            await depart(w.env, operator(w), "dana", "left")
        with pytest.raises(Busy):
            await assess(w.env, operator(w), "bot", {"os": "patched"}, w.clock.now + MINUTE)
        with pytest.raises(Busy):
            await report(w.env, operator(w), Found(Severity.HIGH, Subject.TOOL, "pay", "odd"))
        with pytest.raises(Busy):
            await resolve(w.env, operator(w), finding.id, "looked")

    run(main())


# --- findings ---

BOXED = PAY.replace('name = "secret"\nissuer = "box"\nttl = "10m"\n', 'name = "secret"\nissuer = "box"\nttl = "10m"\ngrants = { secret = "stripe" }\n')  # fmt: skip
ABOUT = [(Subject.AGENT, "bot"), (Subject.TOOL, "mail"), (Subject.SECRET, "stripe")]


@pytest.mark.parametrize(("subject", "name"), ABOUT)
def test_a_severe_finding_stops_what_it_is_about_until_it_is_resolved(run, subject, name):
    async def main():
        w, call = await house(purposes__pay_dot_toml=BOXED)
        task = await w.task(call)
        await issue(w.env, call, task.id, "db")
        row = await report(w.env, operator(w), Found(Severity.HIGH, subject, name, "it is odd", "canary-evidence"))
        assert row.stopped and row.evidence.startswith("hmac-sha256:")
        denied = await decide(w.env, call, Access(task.id, "list", LIST))
        assert "high finding: it is odd" in denied.why[0].sentence
        with pytest.raises(Denied):
            await w.task(call)
        await settle(w)
        assert await state(w, task) == (TaskState.REVOKED, "frozen: high finding: it is odd") and not w.issuer.live
        assert (await w.env.frozen()).freezes[0].reached_at
        second = await report(w.env, operator(w), Found(Severity.CRITICAL, subject, name, "worse", "canary-evidence"))
        assert second.evidence == row.evidence
        await resolve(w.env, operator(w), row.id, "a mistake")
        with pytest.raises(Denied, match="critical finding: worse"):  # the other one stops it still
            await w.task(call)
        await resolve(w.env, operator(w), second.id, "rotated")
        assert (await w.task(call)).state is TaskState.OPEN
        with pytest.raises(WrongState):
            await resolve(w.env, operator(w), second.id, "again")
        assert not await replay(w.store)
        assert b"canary-evidence" not in b"".join(leaf + body for leaf, body in w.store._events)

    run(main())


@pytest.mark.parametrize(("subject", "name"), ABOUT)
def test_no_permit_is_committed_after_a_finding_was_acknowledged(run, subject, name):
    async def main():
        w, call = await house(Meddling(MemoryStore()), purposes__pay_dot_toml=BOXED)
        task = await w.task(call)
        w.store.meddle = lambda: report(w.env, operator(w), Found(Severity.HIGH, subject, name, "odd"))
        assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Deny)
        assert (await w.store.get(Task, task.id)).calls == 0

    run(main())


def test_what_a_finding_is_not_about_goes_on(run):
    async def main():
        w, call = await house()
        task = await w.task(call)
        for subject, name in ((Subject.AGENT, "other"), (Subject.TOOL, "ungranted")):
            await report(w.env, operator(w), Found(Severity.CRITICAL, subject, name, "odd"))
        await report(w.env, operator(w), Found(Severity.MEDIUM, Subject.TOOL, "pay", "odd"))
        await settle(w)
        assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Permit)
        assert [row.name for row in await w.store.find(Finding, {"state": "open"})] == ["other", "ungranted", "pay"]

    run(main())


def test_a_finding_about_a_task_ends_it_and_what_it_handed_on(run):
    async def main():
        w = await delegating.house()
        _, lead = await w.proved()
        _, receiver = await w.proved("other")
        task = await w.task(lead, "lead")
        child = await delegating.below(w, lead, task, receiver)
        task = await w.store.get(Task, task.id)
        row = await report(w.env, operator(w), Found(Severity.HIGH, Subject.TASK, task.id, "exfiltrates"))
        assert await state(w, task) == (TaskState.REVOKED, "high finding: exfiltrates")
        denied = await decide(w.env, delegating.now(w, receiver), Access(child.id, "list", LIST))
        assert isinstance(denied, Deny) and denied.why[0].reason.value == "ancestor_ended"
        await settle(w)
        assert (await state(w, child))[0] is TaskState.REVOKED
        assert row.stopped and not (await w.env.frozen()).freezes
        again = await report(w.env, operator(w), Found(Severity.HIGH, Subject.TASK, task.id, "and more"))
        await resolve(w.env, operator(w), again.id, "ended")

    run(main())


def test_what_was_handed_on_ends_with_what_may_not_be_open_above_it(run):
    """The child's own purpose has not changed; the one above it has, and takes it along at once, by its branch."""

    async def main():
        w = await delegating.house()
        _, lead = await w.proved()
        _, receiver = await w.proved("other")
        task = await w.task(lead, "lead")
        child = await delegating.below(w, lead, task, receiver)
        files = {
            **delegating.CATALOGUE,
            "purposes/lead.toml": delegating.LEAD.replace("max_calls = 20", "max_calls = 19"),
        }
        _, planned = await apply(w.env, operator(w), files)
        assert planned.ends.count == 1  # and what it handed on
        await settle(w)
        assert "max_calls" in (await state(w, task))[1]
        assert await state(w, child) == (TaskState.REVOKED, f"{task.id} ended")

    run(main())


def test_a_freeze_that_is_let_go_while_something_is_found_is_there_afterwards(run):
    async def main():
        w, _ = await house(Meddling(MemoryStore()))
        await freeze(w.env, operator(w), Reach.TOOL, "pay", "for a moment")
        w.store.meddle = lambda: unfreeze(w.env, operator(w), Reach.TOOL, "pay", "over")
        await report(w.env, operator(w), Found(Severity.HIGH, Subject.TOOL, "pay", "odd"))
        assert (await w.env.frozen()).found(Reach.TOOL, "pay")

    run(main())


def test_the_catalogue_says_how_severe_is_severe(run):
    async def main():
        text = FILES["remit.toml"] + '[findings]\nstop = ["medium"]\n'
        w, _ = await house(remit_dot_toml=text)
        for severity in Severity:
            row = await report(w.env, operator(w), Found(severity, Subject.TOOL, "pay", "odd"))
            assert row.stopped is (severity is Severity.MEDIUM)
        for bad in ('stop = ["dire"]', "stop = 3", 'halt = ["high"]'):
            with pytest.raises(BadCatalogue, match=r"remit\.toml"):
                parse(changed(remit_dot_toml=FILES["remit.toml"] + f"[findings]\n{bad}\n"))

    run(main())


def test_findings_that_are_refused(run):
    async def main():
        w, _ = await house()
        for subject in Subject:
            with pytest.raises(Absent):
                await report(w.env, operator(w), Found(Severity.HIGH, subject, "nothing", "odd"))
        for title, evidence in (("", ""), ("x" * 201, ""), ("a\nb", ""), ("odd", "x" * (EVIDENCE_LIMIT + 1))):
            with pytest.raises(BadField):
                await report(w.env, operator(w), Found(Severity.HIGH, Subject.TOOL, "pay", title, evidence))
        with pytest.raises(Absent):
            await resolve(w.env, operator(w), "fnd_none", "x")
        with pytest.raises(BadField):
            await resolve(w.env, operator(w), "fnd_none", "")

    run(main())


# --- environments ---

STAGING = 'environments = ["production", "staging"]\n' + PAY.replace("ttl = \"10m\"\ngrants = { who", "ttl = \"10m\"\nenvironment = \"staging\"\ngrants = { who")  # fmt: skip


def test_a_closed_environment_is_read_only_and_its_credentials_die(run):
    async def main():
        w, call = await house(
            purposes__pay_dot_toml=STAGING,
            tools__pay_dot_toml='environment = "staging"\n' + FILES["tools/pay.toml"].replace("irreversible", "write"),
            tools__list_dot_toml='environment = "staging"\n' + FILES["tools/list.toml"],
        )
        task = await w.task(call)
        lease, _ = await issue(w.env, call, task.id, "db")
        found = await freeze(w.env, operator(w), Reach.ENVIRONMENT, "staging", "release")
        left = await below(w.env, found)
        assert (left.tasks, left.credentials) == ((), 1)
        paid = Access(task.id, "pay", {"customer": "acme", "invoice": 1, "amount": "5"})
        denied = await decide(w.env, call, paid)
        assert denied.why[0].reason.value == "environment_frozen" and "release" in denied.why[0].sentence
        assert isinstance(await decide(w.env, call, Access(task.id, "list", LIST)), Permit)
        with pytest.raises(Denied, match="environment staging is frozen"):
            await issue(w.env, call, task.id, "db")
        await settle(w)
        assert (await w.store.get(Lease, lease.id)).end_reason == "frozen: release" and not w.issuer.live
        assert (await state(w, task))[0] is TaskState.OPEN
        await settle(w)
        assert (await w.env.frozen()).freezes[0].reached_at
        await unfreeze(w.env, operator(w), Reach.ENVIRONMENT, "staging", "over")
        assert isinstance(await decide(w.env, call, paid), Permit)
        await freeze(w.env, operator(w), Reach.ENVIRONMENT, "production", "release")
        assert isinstance(await decide(w.env, call, paid), Permit)

    run(main())


def test_a_change_that_races_with_closing_is_not_made(run):
    async def main():
        w, call = await house(Meddling(MemoryStore()), tools__pay_dot_toml=FILES["tools/pay.toml"].replace("irreversible", "write"))  # fmt: skip
        task = await w.task(call)
        w.store.meddle = lambda: freeze(w.env, operator(w), Reach.ENVIRONMENT, "production", "release")
        paid = Access(task.id, "pay", {"customer": "acme", "invoice": 1, "amount": "5"})
        assert isinstance(await decide(w.env, call, paid), Deny)
        assert (await w.store.get(Task, task.id)).calls == 0

    run(main())


def test_a_mint_that_was_under_way_when_it_closed_is_thrown_away(run):

    async def main():
        w, call = await house()
        task = await w.task(call)
        w.issuer.mint_gate = asyncio.Event()
        asked = asyncio.create_task(issue(w.env, call, task.id, "db"))
        await w.issuer.minting.wait()
        await freeze(w.env, operator(w), Reach.ENVIRONMENT, "production", "release")
        w.issuer.mint_gate.set()
        with pytest.raises(Denied):
            await asked
        await settle(w)
        assert not w.issuer.live

    run(main())


@pytest.mark.parametrize(("reach", "name"), [(Reach.TOOL, "pay"), (Reach.SECRET, "stripe"), (Reach.ENVIRONMENT, "production")])  # fmt: skip
def test_who_may_freeze_them_and_what_is_there(run, reach, name):
    async def main():
        w, _ = await house(purposes__pay_dot_toml=BOXED)
        with pytest.raises(Absent):
            await freeze(w.env, w.person("olga"), reach, name, "mine")
        with pytest.raises(Absent):
            await freeze(w.env, operator(w), reach, "nothing", "odd")
        assert (await freeze(w.env, operator(w), reach, name, "odd")).target == f"{reach.value} {name}"

    run(main())


# --- what people agreed to ---


def test_a_yes_under_another_context_is_void(run):
    """How careful policies are depends on the agent's tier and the purpose's profile: a yes is for those alone."""

    async def main():
        w, call = await house()
        task = await w.task(call)
        paid = Access(task.id, "pay", {"customer": "acme", "invoice": 1, "amount": "5"})
        held = await decide(w.env, call, paid)
        assert isinstance(held, Hold)
        row = await w.store.get(Approval, held.approval)
        await answer(w.env, w.call(CallerKind.PERSON, "frank", groups=("finance",)), row.id, Given(row.digest, True))
        await apply(
            w.env, operator(w), changed(agents__bot_dot_toml='tier = "autonomous"\n' + FILES["agents/bot.toml"])
        )
        await settle(w)
        assert (await state(w, task))[0] is TaskState.OPEN
        again = await decide(w.env, call, paid)
        assert isinstance(again, Hold) and again.approval != held.approval

    run(main())
