"""Task, approval, lease, decision and change: the state machines and their missing arrows."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.domain.approval import Answer, Approval, ApprovalState, Shown
from remit.domain.caller import Call, Caller, CallerKind
from remit.domain.catalogue import CatalogueHead
from remit.domain.chain import Chain, Hop, Principal, PrincipalKind
from remit.domain.change import Change, Check
from remit.domain.decision import Deny, Hold, Permit, Reason, Requirement, Why, combine, word
from remit.domain.errors import Denied, WrongState
from remit.domain.events import TaskEnded
from remit.domain.flow import Label, Sensitivity, Trust
from remit.domain.lease import IssuerOutage, Lease, LeaseState, Minted, Waiting, Waits, alive
from remit.domain.scope import NOTHING
from remit.domain.task import Task, TaskState

CHAIN = Chain(Principal(PrincipalKind.PERSON, "dana"), (Hop("bot", "tsk_1"),))
TASK = Task("tsk_1", "pay", "r1", "bot", "jkt", "goal", {}, CHAIN, NOTHING, 0, 100, 5)
SHOWN = Shown("s", "t", "{}", "r", "read", "g", (), (), ())
APPROVAL = Approval("apv_1", "d", "a", 0, "tsk_1", CHAIN, "olga", SHOWN, (Requirement(("finance", "gina"), 2),), 0, 100)
LEASE = Lease("lse_1", "tsk_1", "bot", "db", "pg", "remit_1", 0, 30, 100)


def test_a_task_is_open_until_it_is_not():
    assert TASK.open_at(99) and not TASK.open_at(100)
    closed = TASK.ended(TaskState.CLOSED, 5, "done")
    assert not closed.open_at(6)
    assert (closed.ended_at, closed.end_reason, closed.initiator.name) == (5, "done", "dana")
    for how in TaskState:
        with pytest.raises(WrongState):
            closed.ended(how, 6, "again")
    with pytest.raises(WrongState):
        TASK.ended(TaskState.OPEN, 5, "")


def test_only_an_ended_task_settles_once():
    with pytest.raises(WrongState):
        TASK.settled(5)
    settled = TASK.ended(TaskState.REVOKED, 5, "").settled(6)
    assert settled.settled_at == 6
    with pytest.raises(WrongState):
        settled.settled(7)


def test_a_task_that_waits_is_looked_at_less_and_less_often():
    ended = TASK.ended(TaskState.REVOKED, 5, "")
    assert [ended.waits(now).check_at - now for now in (5, 5_005, 10_000_000)] == [1_000, 5_000, 60_000]
    for task in (TASK, ended.settled(6)):
        with pytest.raises(WrongState):
            task.waits(7)


def test_spending_counts_and_darkens():
    spent = TASK.spent(Label(Trust.UNTRUSTED, Sensitivity.INTERNAL, ("t",)))
    assert (spent.calls, spent.label.trust, spent.uses) == (1, Trust.UNTRUSTED, {})
    assert spent.spent(Label(), "pay").spent(Label(), "pay").uses == {"pay": 2}


def test_two_different_people_grant_and_one_use_uses_it_up():
    once = APPROVAL.answered(Answer("frank", True, 1, "", ("finance",)))
    assert once.state is ApprovalState.PENDING and not once.usable_at(1)
    granted = once.answered(Answer("gina", True, 2, "", ()))
    assert granted.usable_at(3) and not granted.usable_at(100)
    used = granted.used(3)
    with pytest.raises(WrongState):
        used.used(4)
    with pytest.raises(WrongState):
        used.expired()
    assert granted.expired().state is ApprovalState.EXPIRED


@pytest.mark.parametrize(
    ("person", "groups", "reason"),
    [
        ("dana", ("finance",), "self_approval"),
        ("bot", ("finance",), "self_approval"),
        ("eve", ("sales",), "not_an_approver"),
        ("eve", (), "not_an_approver"),
    ],
)
def test_who_may_not_approve(person, groups, reason):
    with pytest.raises(Denied) as denied:
        APPROVAL.answered(Answer(person, True, 1, "", groups))
    assert denied.value.reasons == (reason,)


def test_nobody_answers_twice_and_one_no_is_enough():
    once = APPROVAL.answered(Answer("frank", True, 1, "", ("finance",)))
    with pytest.raises(Denied):
        once.answered(Answer("frank", True, 2, "", ("finance",)))
    refused = once.answered(Answer("gina", False, 2, "not this one", ()))
    assert refused.state is ApprovalState.REFUSED
    for state in (refused, APPROVAL):
        with pytest.raises(WrongState):
            state.used(3)
    with pytest.raises(WrongState):
        refused.answered(Answer("hans", True, 3, "", ("finance",)))
    with pytest.raises(WrongState):
        APPROVAL.answered(Answer("frank", True, 100, "", ("finance",)))


def test_a_lease_walks_one_way():
    live = LEASE.live(10)
    assert live.state is LeaseState.LIVE
    ending = live.ending(20, "closed")
    assert ending.ended(21).state is LeaseState.ENDED
    for lease in (live, ending, ending.ended(21)):
        with pytest.raises(WrongState):
            lease.live(22)
    with pytest.raises(WrongState):
        live.ended(21)
    with pytest.raises(WrongState):
        LEASE.kill_failed(1, "x")


def test_an_unminted_lease_cannot_end_before_its_mint_window_closes():
    ending = LEASE.ending(10, "revoked")
    assert not ending.may_end_at(29)
    with pytest.raises(WrongState):
        ending.ended(29)
    assert ending.killed_early().retry_at == LEASE.mint_until
    assert ending.ended(30).state is LeaseState.ENDED


def test_a_failed_kill_is_retried_for_ever_with_growing_pauses():
    lease = LEASE.live(1).ending(10, "closed")
    pauses = []
    for _ in range(9):
        lease = lease.kill_failed(10, "e" * 500)
        pauses.append(lease.retry_at - 10)
    assert pauses == [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000]
    assert (lease.attempts, len(lease.last_error)) == (9, 200)


@pytest.mark.parametrize(
    ("lease", "now", "due"),
    [
        (LEASE, 29, False),
        (LEASE, 30, True),
        (LEASE.live(1), 30, False),
        (LEASE.live(1), 100, True),
        (LEASE.ending(10, ""), 10, True),
        (LEASE.ending(10, "").kill_failed(10, ""), 500, False),
        (LEASE.live(1).ending(10, "").ended(11), 10_000, False),
    ],
)
def test_when_a_lease_is_due(lease, now, due):
    assert lease.due_at(now) is due


def test_a_minted_secret_has_no_repr():
    minted = Minted({"password": "canary-7f3a"})
    assert "canary" not in repr(minted) + str(minted) + f"{minted}"


WHY = (Why(Reason.POLICY_FORBIDS, "because"),)
VERDICTS = {
    "permit": Permit(),
    "finance": Hold(WHY, (Requirement(("finance", "owner")),)),
    "security": Hold(WHY, (Requirement(("security",), 2),)),
    "deny": Deny(WHY),
}


@given(st.lists(st.sampled_from(sorted(VERDICTS)), max_size=5))
def test_a_permit_needs_every_verdict(names):
    verdicts = [VERDICTS[name] for name in names]
    decision = combine(verdicts)
    assert isinstance(decision, Permit) == (bool(verdicts) and all(isinstance(v, Permit) for v in verdicts))
    if any(isinstance(v, Deny) for v in verdicts):
        assert isinstance(decision, Deny)


def test_holds_add_up_to_all_their_needs():
    both = combine([VERDICTS["finance"], VERDICTS["security"], VERDICTS["finance"]])
    assert isinstance(both, Hold)
    assert both.needs == (Requirement(("finance", "owner")), Requirement(("security",), 2))
    assert word(both) == "hold"
    assert isinstance(combine([]), Deny)


def test_every_need_must_be_met():
    approval = replace(APPROVAL, needs=(Requirement(("finance",)), Requirement(("security",))))
    assert approval.approvers == ("finance", "security")
    once = approval.answered(Answer("frank", True, 1, "", ("finance",)))
    assert once.state is ApprovalState.PENDING
    assert once.answered(Answer("sam", True, 2, "", ("security",))).state is ApprovalState.GRANTED
    assert approval.answered(Answer("both", True, 1, "", ("finance", "security"))).state is ApprovalState.GRANTED


def test_order_of_verdicts_does_not_matter():
    for a, b in product(VERDICTS.values(), repeat=2):
        assert word(combine([a, b])) == word(combine([b, a]))


def test_a_change_carries_its_event_and_expectations():
    call = Call(Caller(CallerKind.AGENT, "bot"), 5)
    change = Change(TaskEnded("tsk_1", "bot", "closed", ""), call).put(TASK, was=None)
    assert (change.puts[0].expected, change.puts[0].row.version) == (0, 1)
    head = CatalogueHead("d", 1, 0, "x", version=3)
    checked = change.check(head).check(replace(TASK, id="tsk_2"))
    assert checked.checks == (Check(CatalogueHead, "head", 3), Check(Task, "tsk_2", 0))
    assert checked.puts == change.puts


def test_what_an_ending_lease_waits_for():
    killing = LEASE.live(1).ending(10, "closed", since=7)
    assert (killing.ending_at, killing.waits()) == (7, Waits.KILL)
    assert LEASE.waits() is LEASE.live(1).waits() is Waits.OPEN
    assert killing.kill_failed(10, "no").waits() is Waits.RETRY
    assert killing.outlives(99, "no").waits() is Waits.ITSELF
    assert LEASE.ending(10, "closed").killed_early().waits() is Waits.MINT
    leases = [killing, killing.kill_failed(10, "a"), killing.kill_failed(20, "b"), killing.ended(20)]
    assert alive(leases) == (
        Waiting(killing.issuer, Waits.KILL, 1, 0, ""),
        Waiting(killing.issuer, Waits.RETRY, 2, 1_020, "b"),
    )
    assert IssuerOutage("pg", 1).key == "pg"
