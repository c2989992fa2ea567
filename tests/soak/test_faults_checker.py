"""The checker of `make soak ONLY=faults` finds each kind of bad history, and nothing in a good one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from remit.log.merkle import leaf_hash, root_of
from tests.soak.faults.bans import MS
from tests.soak.faults.checker import check, prefix_roots
from tests.soak.faults.evidence import Entry, Evidence, Head, Sighting, Violation
from tests.soak.faults.history import Op, Writer, read
from tests.soak.faults.nemesis import Hosts, schedule
from tests.soak.faults.story import availability, story

BOUND = {"read": 5_000, "write": 5_000, "irreversible": 5_000}


class Books:
    """A small history that is as it should be, to be spoilt: one task, its calls, a yes, a credential, its end."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.leaves: list[bytes] = []
        self.clock, self.version = 0, 0
        self.opened = self.tell("open", "ok", event=("TaskProposed", {}), agent="bot", purpose="steady")
        self.first = self.call()
        self.yes = self.tell(
            "answer", "ok", event=("ApprovalAnswered", {"approval": "apr_1", "yes": True, "state": "granted"})
        )
        self.paid = self.call("pay", approval="apr_1")
        self.held = self.call(said="hold")
        self.lease = self.tell("credential", "ok", event=("LeaseMinted", {"lease": "lse_1"}))
        self.end = self.tell("end", "ok", event=("TaskEnded", {"how": "revoked"}))
        self.late = self.call(said="deny")
        self.row = {"state": "revoked", "settled_at": 9, "calls": 2, "max_calls": 5, "deadline": 100_000}
        self.leases = [{"id": "lse_1", "handle": "remit_a", "task": "tsk_1", "state": "ended", "last_error": ""}]

    def tell(
        self, kind: str, said: str, *, event=None, door: str = "r1", trace: str = "", writes: bool = True, **more
    ) -> Op:
        self.clock += 10
        trace = trace or f"{len(self.ops):032x}"
        op = Op(
            kind,
            "bot",
            door,
            self.clock * MS,
            (self.clock + 5) * MS if said != "unknown" else 0,
            said,
            "tsk_1",
            trace,
            self.clock,
            more,
        )
        self.ops.append(op)
        if event is not None:
            self.write(trace, *event, writes=writes)
        return op

    def write(self, trace: str, kind: str, data, *, writes: bool = True, **more) -> None:
        self.version += writes
        rows = [["Task", "tsk_1", self.version, "00"]] if writes else []
        data = {"task": "tsk_1", "agent": "bot", **data}
        self.leaves.append(json.dumps({"type": kind, "at": 0, "by": "agent:bot", "trace": trace, "data": data, "writes": rows, **more}).encode())  # fmt: skip

    def call(self, tool: str = "look", said: str = "permit", approval: str = "", **more) -> Op:
        event = ("AccessDecided", {"decision": said, "approval": approval})
        return self.tell("call", said, event=event, writes=said == "permit", tool=tool, **more)

    def at_edge(self, place: int) -> Entry:
        """That event was an edge's; returns it as it is in that edge's own log."""
        leaf = self.leaves[place]
        self.leaves[place] = json.dumps({**json.loads(leaf), "via": {"edge": "e1", "index": 0}}).encode()
        return Entry(0, leaf)

    def found(self, **more) -> Evidence:
        entries = [Entry(place, leaf) for place, leaf in enumerate(self.leaves)]
        head = Head(len(entries), root_of([leaf_hash(leaf) for leaf in self.leaves]))
        known = {"tasks": {"tsk_1": self.row}, "leases": self.leases, "recovered": {"r1": 1.0}, "head": head}
        return Evidence(ops=self.ops, log=entries, replicas=("r1",), **{**known, **more})


def rules(found: Evidence) -> set[str]:
    return {one.rule for one in check(found)}


def test_a_good_history_is_good():
    books = Books()
    books.tell("end", "unknown")
    books.tell("replay", "refused")
    assert check(books.found()) == []
    assert availability(books.found()) == {"r1": (4, 4)}


def test_a_permit_after_the_end_was_acknowledged():
    books = Books()
    late = books.call()
    books.row["calls"] += 1
    found = books.found()
    assert {one.rule for one in check(found)} == {"no permit after", "no permit committed after"}
    broken = next(one for one in check(found) if one.rule == "no permit after")
    assert broken.op is late
    told = "\n".join(story(found, broken))
    assert "TaskEnded" in told and "sent 15.0 ms after" in told and "4 other calls" in told


def test_a_permit_that_was_sent_before_the_acknowledgement_is_none_of_it():
    books = Books()
    overlapping = replace(books.first, sent=books.end.answered - 1, answered=books.end.answered + 50)
    books.ops[books.ops.index(books.first)] = overlapping
    assert check(books.found()) == []
    books.ops[books.ops.index(overlapping)] = replace(overlapping, sent=books.end.answered + 1)
    assert rules(books.found()) == {"no permit after"}


@pytest.mark.parametrize(("late", "good"), [(4_990, True), (5_010, False)])
def test_an_edge_has_its_bound(late, good):
    books = Books()
    books.ops[books.ops.index(books.first)] = replace(
        books.first, door="e1", sent=books.end.answered + late * MS, answered=books.end.answered + (late + 3) * MS
    )
    found = books.found(edges={"e1": BOUND}, edge_logs={"e1": [books.at_edge(1)]})
    assert rules(found) == (set() if good else {"no permit after"})


def test_a_permit_while_its_agent_is_frozen():
    books = Books()
    books.ops, books.leaves = books.ops[:-2], books.leaves[:-2]
    books.tell("freeze", "ok", event=("Froze", {"reach": "agent", "name": "bot"}), reach="agent", name="bot")
    books.call()
    books.row["calls"] += 1
    lifted = {"reach": "agent", "name": "bot"}
    books.tell("unfreeze", "ok", event=("Unfroze", lifted), **lifted)
    assert rules(books.found()) == {"no permit after", "no permit committed after"}
    stale = books.ops.pop()  # the freeze was lifted by a request of before it, which arrived late
    books.ops.insert(0, replace(stale, sent=0, answered=0, said="unknown"))
    assert "no permit after" not in rules(books.found())


def test_a_permit_after_its_purpose_was_changed():
    books = Books()
    books.ops[0] = replace(books.opened, more={"agent": "bot", "purpose": "moving"})
    change = ("CatalogueApplied", {"digest": "b"})
    books.ops.insert(1, replace(books.tell("apply", "ok", event=change, number=1), sent=16 * MS, answered=17 * MS))
    books.ops.pop()
    assert rules(books.found()) == {"no permit after"}


def test_a_permit_committed_after_the_end():
    books = Books()
    books.write("", "AccessDecided", {"decision": "permit", "approval": ""})
    books.row["calls"] += 1
    assert rules(books.found()) == {"no permit committed after"}


def test_a_permit_out_of_time():
    books = Books()
    books.row["deadline"] = books.first.at - 90_000
    assert rules(books.found()) == set()
    books.row["deadline"] -= 5_000
    assert rules(books.found()) == {"no permit out of time"}


def test_a_copied_request_that_is_taken():
    books = Books()
    books.tell("replay", "ok")
    assert rules(books.found()) == {"no request twice"}


@pytest.mark.parametrize("which", ["first", "held", "late", "opened", "yes", "lease", "end"])
def test_an_acknowledged_event_that_is_not_in_the_log(which):
    books = Books()
    place = [op.trace for op in books.ops].index(getattr(books, which).trace)
    books.leaves[place] = json.dumps({"type": "Other", "trace": "", "data": {}, "writes": []}).encode()
    assert "recorded" in rules(books.found())


@pytest.mark.parametrize("which", [0, 1, 2, 4, 5, 6])
def test_an_event_that_is_there_twice(which):
    books = Books()
    books.leaves.insert(which, books.leaves[which])
    assert "recorded" in rules(books.found())


def test_an_answer_that_is_not_what_was_recorded():
    books = Books()
    books.leaves[1] = books.leaves[1].replace(b'"permit"', b'"deny"')
    assert "recorded" in rules(books.found())


def test_events_without_a_place():
    assert rules(Books().found(unplaced=3)) == {"recorded"}


@pytest.mark.parametrize("state", [{"state": "open"}, {"settled_at": 0}])
def test_a_task_that_does_not_settle(state):
    books = Books()
    books.row.update(state)
    assert rules(books.found()) == {"nothing left"}


def test_a_credential_that_outlives_its_lease():
    books = Books()
    assert rules(books.found(roles=frozenset({"remit_a"}))) == {"no orphan"}
    assert rules(books.found(roles=frozenset({"remit_unknown"}))) == {"no orphan"}
    assert rules(books.found(sightings=[Sighting("remit_a", "lse_1")])) == {"no orphan"}
    books.leases[0]["state"] = "ending"
    assert rules(books.found(roles=frozenset({"remit_a"}))) == {"nothing left"}


def test_a_budget_that_is_overspent_or_not_counted():
    books = Books()
    books.row["max_calls"] = 1
    assert rules(books.found()) == {"within budget"}
    books.row.update(max_calls=5, calls=1)
    assert rules(books.found()) == {"within budget"}


def test_a_yes_that_is_used_twice_or_was_never_said():
    books = Books()
    books.leaves[1] = books.leaves[3].replace(books.paid.trace.encode(), books.first.trace.encode())
    assert rules(books.found()) == {"within budget"}
    books = Books()
    books.leaves[2] = books.leaves[2].replace(b"true", b"false")
    assert rules(books.found()) == {"within budget"}


def test_a_history_that_was_rewritten():
    books = Books()
    hashes = [leaf_hash(leaf) for leaf in books.leaves]
    seen = [(f"anna {size}", Head(size, root_of(hashes[:size]))) for size in range(len(hashes) + 1)]
    assert check(books.found(heads=seen)) == []
    other = Head(3, b"\0" * 32)
    assert rules(books.found(heads=[*seen, ("anna", other)])) == {"one history"}
    assert rules(books.found(heads=[("anna", Head(99, b"\0" * 32))])) == {"one history"}
    books.leaves[1], books.leaves[3] = books.leaves[3], books.leaves[1]
    assert "one history" in rules(books.found(heads=seen))
    assert rules(Books().found(replayed=["Task tsk_1 was changed"])) == {"one history"}
    assert "one history" in rules(Books().found(head=Head(99, b"\0" * 32)))


def test_a_door_that_stays_shut():
    assert rules(Books().found(recovered={"r1": 1.0, "r2": None})) == {"comes back"}
    assert rules(Books().found(recovered={"r1": 121.0})) == {"comes back"}


def test_an_edge_that_answers_what_it_did_not_write_or_is_heard_twice():
    books = Books()
    books.ops[1] = replace(books.first, door="e1")
    own = books.at_edge(1)
    assert check(books.found(edges={"e1": BOUND}, edge_logs={"e1": [own]})) == []
    assert rules(books.found(edges={"e1": BOUND}, edge_logs={"e1": []})) == {"edges reported"}
    other = Entry(1, own.leaf.replace(own.trace.encode(), b"f" * 32))
    assert rules(books.found(edges={"e1": BOUND}, edge_logs={"e1": [own, other]})) == {"edges reported"}
    told = Entry(0, own.leaf.replace(b'"approval": ""', b'"approval": "a"'))
    assert rules(books.found(edges={"e1": BOUND}, edge_logs={"e1": [told]})) == {"edges reported"}
    books.leaves.append(books.leaves[1])
    assert "edges reported" in rules(books.found(edges={"e1": BOUND}, edge_logs={"e1": [own]}))


def test_a_permit_that_became_too_old_at_an_edge_did_not_leave():
    books = Books()
    books.ops[3] = replace(books.paid, door="e1", said="deny")
    books.write(books.paid.trace, "AccessDecided", {"decision": "deny", "approval": ""}, writes=False)
    assert rules(books.found(edges={"e1": BOUND})) == set()
    assert rules(books.found()) == {"recorded"}


def test_prefixes_have_the_roots_of_trees_of_their_own():
    leaves = [bytes([number]) for number in range(20)]
    wanted = {size: root_of([leaf_hash(leaf) for leaf in leaves[:size]]) for size in range(21)}
    assert prefix_roots(leaves, set(wanted)) == wanted


def test_a_line_cut_short_is_nobodys(tmp_path):
    file = tmp_path / "history"
    op = Op("call", "bot", "r1", 1, 2, "permit", more={"tool": "look"})
    Writer(file).write(op)
    with file.open("a") as more:
        more.write('{"kind": "ca')
    assert list(read(file)) == [op]
    assert Violation("a", "b") == Violation("a", "b")


def test_a_seed_gives_a_schedule():
    found = Hosts(("r1", "r2", "r3"), ("e1",), ("db",), ("nats",), (("r1", "db"), ("e1", "r1")))
    assert schedule(7, 600, found) == schedule(7, 600, found) != schedule(8, 600, found)
    faults = schedule(7, 600, found)
    assert {fault.what for fault in faults} == {
        "kill", "restart", "pause", "isolate", "cut off", "cut", "cut one way", "lose", "slow", "skew", "fill"
    }  # fmt: skip
    assert max(fault.at + fault.lasts for fault in faults) < 600
