"""Tasks between places, edges, their logs, and shares of them: laws and vectors."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.domain.caller import Caller, CallerKind
from remit.domain.catalogue import CatalogueHead
from remit.domain.errors import NotHome, WrongState
from remit.domain.estate import STALE_AFTER, Edge, EdgeLog, EdgeSeat
from remit.domain.flow import Label, Sensitivity, Trust
from remit.domain.task import TaskState
from remit.domain.tool import Effect

from .test_states import TASK

HEAD = CatalogueHead("sha256:old", 3, 0, "operator:op", "sha256:new", 30)
names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=20)


@given(names, st.integers(1, 99))
def test_whoever_is_in_a_share_is_in_every_larger_one(name, share):
    small, large = replace(HEAD, share=share), replace(HEAD, share=share + 1)
    assert small.at(name) == HEAD.digest or large.at(name) == HEAD.rollout
    assert replace(HEAD, share=100).at(name) == HEAD.rollout
    assert replace(HEAD, share=0).at(name) == small.at("") == HEAD.digest


def test_a_share_is_about_as_large_as_it_says():
    have = sum(HEAD.at(f"edge-{n}") == HEAD.rollout for n in range(2000))
    assert 500 < have < 700


def test_a_task_has_one_home():
    there = TASK.entrusted("west", "seat")
    assert (there.home, there.seat) == ("west", "seat")
    for task in (there, replace(TASK, parent="tsk_0"), replace(TASK, handed=1), TASK.ended(TaskState.CLOSED, 1, "")):
        with pytest.raises(WrongState):
            task.entrusted("east", "seat")
    called = there.recalled(5)
    assert called.recalled_at == 5 and called.returned() == TASK
    for broken in (called.recalled, TASK.recalled):
        with pytest.raises(WrongState):
            broken(6)
    with pytest.raises(WrongState):
        TASK.returned()
    there.must_be_at("west")
    TASK.must_be_at("")
    for task, place in ((there, ""), (there, "east"), (TASK, "west"), (there.ended(TaskState.CLOSED, 1, ""), "east")):
        with pytest.raises(NotHome):
            task.must_be_at(place)
    there.ended(TaskState.CLOSED, 1, "").must_be_at("")  # that it is over the centre says


DARK = Label(Trust.UNTRUSTED, Sensitivity.CONFIDENTIAL, ("mail",))
HERE = replace(TASK, calls=2, observed=1, uses={"pay": 1}, label=DARK)
LESS = {
    "calls": {"calls": 1},
    "observed": {"observed": 0},
    "uses": {"uses": {"pay": 0}},
    "a use": {"uses": {"mail": 4}},
    "trust": {"label": replace(DARK, trust=Trust.TRUSTED)},
    "sensitivity": {"label": replace(DARK, sensitivity=Sensitivity.PUBLIC)},
    "a source": {"label": replace(DARK, sources=())},
    "another task": {"id": "tsk_other"},
}


@pytest.mark.parametrize("what", LESS)
def test_nothing_that_is_reported_makes_a_task_lighter(what):
    with pytest.raises(WrongState):
        HERE.reported(replace(HERE, **LESS[what]))


def test_what_is_reported_is_what_an_edge_decides_and_nothing_else():
    more = replace(HERE, calls=3, observed=2, uses={"pay": 2, "mail": 1}, label=DARK | Label(sources=("list",)))
    forged = replace(more, agent="other", deadline=10**15, max_calls=10**6, home="east", state=TaskState.REVOKED)
    assert HERE.reported(forged) == more


def test_whom_an_edge_acts_for():
    edge = Caller(CallerKind.EDGE, "west")
    assert TASK.acted_for_by(edge) and TASK.acted_for_by(replace(edge, purposes=(TASK.purpose,)))
    assert not TASK.acted_for_by(replace(edge, purposes=("another",)))
    assert not TASK.acted_for_by(Caller(CallerKind.PERSON, "dana", purposes=(TASK.purpose,)))


def test_an_edge_has_a_bound_for_each_effect_and_takes_its_purposes():
    edge = Edge("west", "https://west.example", "olga", ("pay",), {Effect.READ: 60_000})
    assert (edge.bound(Effect.READ), edge.bound(Effect.IRREVERSIBLE)) == (60_000, STALE_AFTER)
    assert edge.takes("pay") and not edge.takes("ask") and replace(edge, purposes=()).takes("ask")


def test_a_log_is_taken_in_once_and_forward():
    log = EdgeLog("west", "seat", 0)
    assert (log.key, EdgeSeat("west", "seat", 0).key) == ("west/seat", "west")
    stopped = log.took(0).stopped("why", 7)
    assert (stopped.received, stopped.refused, stopped.refused_at) == (1, "why", 7)
    assert stopped.took(1) == replace(log, received=2)
    for index in (0, 2):  # neither twice, nor with a gap
        with pytest.raises(WrongState):
            stopped.took(index)
