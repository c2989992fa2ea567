"""Random trees of hand-offs, approvals, reads, ends, expiries and crashes, some in each other's middle (THREATS row 14).

What holds at every step is read from the log and the rows, never from what the verbs say; and with each defence taken
away the machine finds it out.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from remit.domain.above import Above
from remit.domain.approval import Approval
from remit.domain.caller import CallerKind
from remit.domain.decision import Access
from remit.domain.errors import Absent, Refusal
from remit.domain.flow import Sensitivity
from remit.domain.freeze import Reach
from remit.domain.lease import Lease
from remit.domain.purpose import CredentialRule
from remit.domain.scope import Attempt
from remit.domain.task import Task
from remit.verbs.approve import Given, answer
from remit.verbs.decide import decide
from remit.verbs.freeze import freeze, unfreeze
from remit.verbs.issue import issue
from remit.verbs.observe import observe
from remit.verbs.revoke import end_task
from remit.work.end_leases import end_leases
from tests.delegating import CATALOGUE, Between, accept, hand, now
from tests.world import world

AGENTS = ("bot", "other", "third")
TOOLS = ("list", "pay", "note", "web", "mail")
CUSTOMERS = ("acme", "globex")
ACTS = frozenset({"TaskProposed", "TaskDelegated", "LeaseReserved", "LeaseMinted", "ResultObserved"})
which = st.integers(0, 30)
agents, customers, tools = st.sampled_from(AGENTS), st.sampled_from(CUSTOMERS), st.sampled_from(TOOLS)
races = st.sampled_from([*["none"] * 7, "root", "parent", "own", "giver frozen"])


def arguments(tool, customer):
    return {
        "list": {"customer": customer},
        "pay": {"customer": customer, "invoice": 1, "amount": "9.00"},
        "note": {"to": customer},
    }.get(tool, {})


# So few calls that two hand-offs, each within its rule, would be more than there are.
SMALL = {**CATALOGUE, "purposes/lead.toml": CATALOGUE["purposes/lead.toml"].replace("max_calls = 20", "max_calls = 7")}


class Killed(BaseException):
    """`kill -9`: nothing of this process runs any more, its own clearing up included."""


class Mortal(Between):
    """The process dies at its next commit, before or after it is durable; then nothing answers until it is started."""

    fate, dead = "", False

    async def get(self, kind, key):
        self._alive()
        return await super().get(kind, key)

    async def find(self, kind, where, **more):
        self._alive()
        return await super().find(kind, where, **more)

    async def commit(self, change):
        self._alive()
        fate, self.fate = self.fate, ""
        self.dead = fate in ("lost", "persisted")
        if fate == "lost":
            raise Killed
        number = await super().commit(change)
        self._alive()
        return number

    def _alive(self):
        if self.dead:
            raise Killed


class HandOffs(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.loop = asyncio.new_event_loop()
        self.w = self.do(world(Mortal(), SMALL))
        self.calls = {name: self.do(self.w.proved(name))[1] for name in AGENTS}
        self.tokens = []
        self.opened = []
        self.seen, self.ended, self.chains, self.within = 0, set(), {}, set()
        self.opened.append(self.do(self.w.task(self.calls["bot"], "lead", customer="acme")).id)
        self.delegate(0, "other", "acme", 6, "none", "dig", True)
        self.delegate(1, "third", "acme", 2, "none", "dig", True)
        assert len(self.opened) == 3

    def do(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def started(self):
        """Another process, with what was durable; it knows of tasks that nobody was told of."""
        if not self.w.store.dead:
            self.w.store.fate = ""
            return
        self.w.store.dead = False
        rows = self.do(self.w.store.find(Task, {}, limit=1000))
        self.opened += [task.id for task in rows if task.id not in self.opened]

    def teardown(self):
        if hasattr(self, "loop"):
            self.loop.close()

    def pick(self, n):
        return self.opened[n % len(self.opened)]

    def pick_open(self, n):
        tasks = [self.task(key) for key in self.opened]
        alive = [task.id for task in tasks if not self.ended & {hop.task for hop in task.chain.hops}]
        return alive[n % len(alive)] if alive else self.pick(n)

    def task(self, key):
        return self.do(self.w.store.get(Task, key))

    def tried(self, task, race, doing):
        """Do it, with something happening after everything was read and before the commit."""
        operator = self.w.call(CallerKind.OPERATOR, "op")
        victim = {"root": task.root, "parent": task.parent or task.id, "own": task.id}.get(race)

        async def between():
            if victim:
                await end_task(self.w.env, operator, victim, race)
            else:
                await freeze(self.w.env, operator, Reach.AGENT, task.chain.hops[0].agent, race)

        self.w.store.between = None if race == "none" else between
        with suppress(Refusal, Killed):
            self.do(doing)
        self.w.store.between = None
        self.started()
        for agent in AGENTS:
            with suppress(Absent):
                self.do(unfreeze(self.w.env, operator, Reach.AGENT, agent, "fine"))

    @rule(customer=customers)
    def propose(self, customer):
        with suppress(Refusal):
            self.opened.append(self.do(self.w.task(self.calls["bot"], "lead", customer=customer)).id)

    @rule(
        n=which,
        to=st.sampled_from(["other", "third", "other", "third", "bot"]),
        customer=st.sampled_from(["acme", "acme", "globex"]),
        calls=st.integers(0, 7),
        race=races,
        purpose=st.sampled_from(["dig", "dig", "watched"]),
        opens=st.booleans(),
    )
    def delegate(self, n, to, customer, calls, race, purpose, opens):
        task = self.task(self.pick_open(n))
        made = []

        async def doing():
            more = {"purpose": purpose, "parameters": {"customer": customer}, "max_calls": calls}
            made.append(await hand(self.w, self.calls[task.agent], task, to, **more))

        self.tried(task, race, doing())
        self.tokens += made
        if made and opens:
            self.accept(len(self.tokens) - 1, to, "none")

    @rule(n=which, by=agents, race=races)
    def accept(self, n, by, race):
        if self.tokens:
            text = self.tokens[n % len(self.tokens)]

            async def doing():
                self.opened.append((await accept(self.w, self.calls[by], text)).id)

            self.tried(self.task(self.opened[0]), race, doing())

    @rule(n=which, tool=tools, customer=customers, race=races)
    def call(self, n, tool, customer, race):
        key = self.pick_open(n) if n % 3 else self.pick(n)
        task = self.task(key)
        access = Access(key, tool, arguments(tool, customer))
        self.tried(task, race, decide(self.w.env, now(self.w, self.calls[task.agent]), access))

    @rule(n=which, race=races)
    def read(self, n, race):
        key = self.pick_open(n) if n % 3 else self.pick(n)
        task = self.task(key)
        self.tried(
            task, race, observe(self.w.env, now(self.w, self.calls[task.agent]), key, "web", {"a": "x@y.example"})
        )

    @rule(n=which, name=st.sampled_from(["db", "other_db"]), race=races)
    def issue(self, n, name, race):
        key = self.pick_open(n) if n % 3 else self.pick(n)
        task = self.task(key)
        self.tried(task, race, issue(self.w.env, now(self.w, self.calls[task.agent]), key, name))

    @rule(person=st.sampled_from(["frank", "gina"]), yes=st.booleans())
    def approve(self, person, yes):
        for approval in self.do(self.w.store.find(Approval, {"state": "pending"})):
            with suppress(Refusal):
                self.do(answer(self.w.env, self.w.person(person), approval.id, Given(approval.digest, yes)))

    @rule(n=which, really=st.sampled_from([True, False, False]))
    def end(self, n, really):
        if really:
            self.do(end_task(self.w.env, self.w.call(CallerKind.OPERATOR, "op"), self.pick(n), "stop"))

    @rule(ms=st.sampled_from([1_000, 1_000, 60_000]))
    def wait(self, ms):
        self.w.clock.advance(ms)

    @rule()
    def reconcile(self):
        while not self.do(end_leases(self.w.env, self.w.clock.now)).idle:
            pass
        for key in self.opened:
            task = self.task(key)
            if any(self.task(hop.task).state.value != "open" for hop in task.chain.hops):
                assert task.state.value != "open", "something below an ended task is open"
        held = self.w.issuer.live
        leases = [msgspec.json.decode(put.body) for (table, _), put in self.w.store._rows.items() if table == "leases"]
        for lease in leases:
            if lease["handle"] in held:
                task = self.task(lease["task"])
                ended = any(self.task(hop.task).state.value != "open" for hop in task.chain.hops)
                assert not ended or not lease.get("minted_at"), "a credential below an ended task lives"

    @invariant()
    def nothing_happens_below_an_ended_task(self):
        if not hasattr(self, "w"):
            return
        ended, chains = self.ended, self.chains
        start, self.seen = self.seen, len(self.w.store._events)
        for leaf, _ in self.w.store._events[start:]:
            event = msgspec.json.decode(leaf)
            kind, data = event["type"], event["data"]
            if kind == "TaskProposed":
                chains[data["task"]] = {*data["chain"], data["task"]}
            if kind == "TaskEnded":
                ended.add(data["task"])
            acts = kind in ACTS or (kind == "AccessDecided" and data["decision"] == "permit")
            assert not acts or not ended & chains[data["task"]], f"{kind} below an ended task"

    @invariant()
    def a_child_is_within_everybody_above(self):
        if not hasattr(self, "w"):
            return
        made = {}
        for key in self.opened:
            task = self.task(key)
            chain = [self.task(hop.task) for hop in task.chain.hops]
            assert [one.agent for one in chain] == list(task.chain.agents()) and chain[-1] == task
            assert len({one.initiator for one in chain}) == 1
            assert task.chain.depth <= 2, "a depth bomb"
            for above, below in pairwise(chain):
                assert below.parent == above.id and below.chain.hops[:-1] == above.chain.hops
                assert below.deadline <= above.deadline
                assert above.label | below.label == above.label, "the parent does not know what its child read"
            made[task.id] = made.get(task.id, 0) + task.calls
            made[task.parent] = made.get(task.parent, 0) + task.max_calls
            if task.parent and key not in self.within:
                self.within.add(key)
                self.judged_within(task, chain)
        for key in self.opened:
            assert made[key] <= self.task(key).max_calls, "a fan-out multiplied its budget"

    def judged_within(self, task, chain):
        effective = self.do(self.w.env.above(task.chain.hops[:-1])).scope(task)
        for tool in TOOLS:
            for customer in CUSTOMERS:
                resource = {"list": f"customer/{customer}", "pay": f"customer/{customer}/1"}.get(tool, tool)
                attempt = Attempt(
                    tool, resource, arguments(tool, customer), Sensitivity.INTERNAL, "production", self.w.clock.now
                )
                if effective.permits(attempt):
                    assert all(one.scope.permits(attempt) for one in chain), "a child may do more than its parent"

    @invariant()
    def a_credential_is_one_that_the_first_task_could_have_had(self):
        if not hasattr(self, "w"):
            return
        for (table, _), put in self.w.store._rows.items():
            if table == "leases":
                lease = msgspec.json.decode(put.body)
                root = self.task(self.task(lease["task"]).root)
                assert lease["grants"] == {"who": root.parameters["customer"]}, "a credential that is wider below"


class Crashes(HandOffs):
    """The same, and the process dies in the middle of things."""

    @initialize()
    def begin(self):
        super().begin()
        self.late, self.mint, self.mints = [], self.w.issuer.mint, ""
        self.w.issuer.mint = self.minted

    async def minted(self, lease):
        """The process dies while it waits for the issuer, or just when it has the answer."""
        how, self.mints = self.mints, ""
        found = await self.mint(lease) if how in ("", "after", "settling") else None
        if how == "settling":
            self.w.store.fate = "lost"
        elif how:
            self.w.store.dead = True
            self.late += [lease] if how == "on its way" else []
            raise Killed
        return found

    @rule(n=which, at=st.sampled_from(["lost", "persisted"]), what=st.sampled_from(["call", "hand", "accept", "end"]))
    def at_a_commit(self, n, at, what):
        self.w.store.fate = at
        match what:
            case "call":
                self.call(n, "list", "acme", "none")
            case "hand":
                self.delegate(n, "other", "acme", 1, "none", "dig", False)
            case "accept":
                self.accept(n, "other", "none")
            case "end":
                operator = self.w.call(CallerKind.OPERATOR, "op")
                self.tried(self.task(self.pick(n)), "none", end_task(self.w.env, operator, self.pick(n), "stop"))

    @rule(n=which, how=st.sampled_from(["before", "after", "on its way", "settling"]), ends=st.booleans())
    def between_reserve_and_settle(self, n, how, ends):
        """What was reserved is durable; the credential may live, and nobody is left who knows its secret."""
        self.mints, key = how, self.pick_open(n)
        task = self.task(key)
        self.tried(task, "none", issue(self.w.env, now(self.w, self.calls[task.agent]), key, "db"))
        self.mints = ""
        if ends:
            self.do(end_task(self.w.env, self.w.call(CallerKind.OPERATOR, "op"), key, "stop"))

    @rule()
    def reconcile(self):
        """Twice: what was on its way arrives in between, as long as its issuer would still do it."""
        super().reconcile()
        while self.late:
            lease = self.late.pop()
            if self.w.clock.now < lease.mint_until:
                self.do(self.mint(lease))
        self.every_live_credential_has_a_lease_that_has_not_ended()
        super().reconcile()

    @invariant()
    def every_live_credential_has_a_lease_that_has_not_ended(self):
        if not hasattr(self, "mint"):
            return
        leases = [msgspec.json.decode(put.body) for (table, _), put in self.w.store._rows.items() if table == "leases"]
        kept = {lease["handle"] for lease in leases if lease.get("state") != "ended"}
        assert self.w.issuer.live <= kept, "an orphan"


FAST = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
FIND = settings(FAST, max_examples=300, phases=[Phase.generate], derandomize=True, database=None)


def test_whatever_agents_hand_each_other_nothing_grows_and_nothing_outlives():
    run_state_machine_as_test(HandOffs, settings=FAST)


def test_nothing_is_lost_or_lives_on_when_the_process_dies():
    run_state_machine_as_test(Crashes, settings=settings(FAST, max_examples=15))


@pytest.mark.parametrize("how", ["before", "after", "on its way", "settling"])
def test_what_a_dead_process_had_minted_is_killed(how, monkeypatch):
    def crash():
        machine = Crashes()
        machine.begin()
        machine.between_reserve_and_settle(0, how, True)
        machine.reconcile()
        assert not machine.w.issuer.live or how == "on its way"
        machine.wait(60_000)
        machine.reconcile()
        assert not machine.w.issuer.live
        assert bool(machine.w.issuer.ever) is (how != "before")
        machine.teardown()

    crash()
    if how == "on its way":
        monkeypatch.setattr(Lease, "may_end_at", lambda self, now: True)
        with pytest.raises(AssertionError, match="an orphan"):
            crash()


BUGS = {
    "nobody looks up at the commit": (Above, "guard", lambda self, change: change),
    "nobody looks up": (Above, "flaw", lambda self, catalogue, now: None),
    "a child has its own scope": (Above, "scope", lambda self, task: task.scope),
    "what is read below stays there": (Above, "darken", lambda self, change, label, used="": change),
    "what is handed on is not taken": (Task, "hands_on", lambda self, calls: replace(self, handed=self.handed + 1)),
    "any credential of its purpose": (CredentialRule, "within", lambda self, other, mine, others: True),
}


@pytest.mark.soak
@pytest.mark.parametrize("bug", BUGS)
def test_the_machine_finds_each_defence_that_is_gone(bug, monkeypatch):
    where, name, without = BUGS[bug]
    monkeypatch.setattr(where, name, without)
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        run_state_machine_as_test(HandOffs, settings=FIND)
