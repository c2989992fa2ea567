"""What must hold whatever happens, told from what the database, the issuers and the callers saw, never by the code itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from remit.domain.approval import Approval, ApprovalState
from remit.domain.lease import Lease, LeaseState
from remit.domain.task import Task, TaskState
from remit.formats.record import KIND_OF, EncodedPut
from remit.formats.row_body import decode
from remit.formats.tlog import parse_checkpoint
from remit.log.audit import Head, audit
from remit.store.replay import replay

from .database import Database
from .outside import Outside

ACTS = frozenset({"TaskProposed", "TaskDelegated", "LeaseReserved", "LeaseMinted", "ResultObserved"})


class Broken(AssertionError):
    """A law does not hold. `law` is its number."""

    def __init__(self, law: str, what: str) -> None:
        super().__init__(f"law {law}: {what}")
        self.law = law


class Asked:
    """One request that is on its way: what had been acknowledged when it began."""

    def __init__(self, ended: frozenset[str], frozen: frozenset[str]) -> None:
        self.ended, self.frozen = ended, frozen


class Witness:
    """Sees every event when it becomes visible, every mint, every acknowledgement and every answer."""

    def __init__(self, database: Database, outside: Outside, say: Callable[[str], None]) -> None:
        self.database, self.outside, self.say = database, outside, say
        self.ended: set[str] = set()
        self.chain: dict[str, tuple[str, ...]] = {}
        self.agent: dict[str, str] = {}
        self.frozen: set[str] = set()
        self.most: dict[str, int] = {}
        self.lent: Counter[str] = Counter()
        self.used: Counter[str] = Counter()
        self.permits: Counter[tuple[str, str]] = Counter()
        self.answered: Counter[tuple[str, str]] = Counter()
        self.leases: dict[str, str] = {}  # handle → lease
        self.dead: set[str] = set()  # handles of ENDED leases
        self.minted: set[str] = set()
        self.acknowledged: set[str] = set()
        self.thawing: set[str] = set()
        self.acknowledged_at: dict[str, float] = {}
        self.reported: Counter[str] = Counter()
        self.edges: list[Any] = []
        self.clock: Callable[[], float] = lambda: 0.0
        self.stopped: frozenset[str] = frozenset()
        self.heads: list[tuple[int, str]] = []
        self.counts: Counter[str] = Counter()
        self.broken: Broken | None = None
        database.committed, outside.minted = self.committed, self.alive

    # --- the database ---

    def committed(self, number: int, leaf: bytes, rows: Sequence[EncodedPut]) -> None:
        event = msgspec.json.decode(leaf)
        kind, data = event["type"], event["data"]
        self.counts[kind] += 1
        self.say(f"#{number} {kind} {_short(data)}")
        task = data.get("task", "")
        if kind == "TaskProposed":
            self._proposed(data)
        elif kind == "TaskEnded" or (kind == "FindingContained" and task):
            self.ended.add(task)
        elif kind == "TaskDelegated":
            self.lent[task] += data["calls"]
        elif kind == "Froze":
            self.frozen.add(data["name"])
        elif kind == "Unfroze":
            self.frozen.discard(data["name"])
        elif kind == "LeaseReserved":
            self.leases[data["handle"]] = data["lease"]
        elif kind == "LeaseMinted":
            self.minted.add(data["lease"])
        elif kind == "LeaseEnded":
            self._lease_ended(data["lease"])
        elif kind == "EdgeReportRefused":
            self._must("9", False, f"an honest edge was refused: {data}")
        permit = kind == "AccessDecided" and data["decision"] == "permit"
        via = event.get("via")
        if via:
            self.reported[via["edge"]] += 1
        elif kind in ACTS or permit:  # what an edge decided is bound by what it was told
            self._acts(kind, task)
        if permit:
            self._permitted(task, data)

    def _proposed(self, data: dict[str, Any]) -> None:
        task = data["task"]
        self.chain[task] = (*data["chain"], task)
        self.agent[task] = data["agent"]
        row = self._row(Task, task)
        self.most[task] = row.max_calls
        if row.parent:
            parent = self._row(Task, row.parent)
            self._must("2", row.deadline <= parent.deadline, f"{_id(task)} outlives its parent")
            self._must("2", row.initiator == parent.initiator, f"{_id(task)} was begun by somebody else")
            given = sum(self.most[other] for other, chain in self.chain.items() if chain[-2:-1] == (row.parent,))
            self._must("2", given <= self.lent[row.parent], f"{_id(row.parent)} handed on more than it lent")

    def _acts(self, kind: str, task: str) -> None:
        over = self.ended & set(self.chain.get(task, ()))
        self._must("6", not over, f"{kind} of {_id(task)} after the end of {_id(next(iter(over), ''))}")
        stopped = self.frozen & {self.agent.get(one, "") for one in self.chain.get(task, ())}
        self._must("6", not stopped, f"{kind} of {_id(task)} while {stopped} is frozen")

    def _permitted(self, task: str, data: dict[str, Any]) -> None:
        self.permits[(task, data["tool"])] += 1
        made = sum(count for (of, _), count in self.permits.items() if of == task)
        self._must("1", task in self.chain, f"a permit for {_id(task)}, which nobody proposed")
        self._must(
            "2", made + self.lent[task] <= self.most[task], f"{_id(task)} made {made} calls: more than its budget"
        )
        if data["approval"]:
            approval = self._row(Approval, data["approval"])
            self.used[approval.id] += 1
            self._must("7", self.used[approval.id] == 1, f"approval {_id(approval.id)} was used twice")
            self._must("7", approval.access == data["access"], f"approval {_id(approval.id)} was for something else")
            self._must("7", approval.state is ApprovalState.USED, f"approval {_id(approval.id)} was not consumed")
            yes = [one for one in approval.answers if one.yes and "finance" in one.groups]
            self._must("7", bool(yes), f"approval {_id(approval.id)} has no yes")

    def _lease_ended(self, lease: str) -> None:
        row = self._row(Lease, lease)
        self.dead.add(row.handle)
        self._must("5", row.handle not in self.outside.live, f"{_id(lease)} ended while its credential lives")

    def acknowledged_event(self, number: int) -> None:
        self._must("6", number in self.database.visible, f"event {number} was acknowledged and is not durable")

    # --- issuers ---

    def alive(self, handle: str) -> None:
        self._must("4", handle in self.leases, f"{_id(handle)} was minted without a lease")
        self._must("5", handle not in self.dead, f"{_id(handle)} came to life after its lease ended")

    # --- callers ---

    def asks(self) -> Asked:
        return Asked(frozenset(self.acknowledged), self.stopped)

    def ended_for(self, task: str) -> None:
        """Whoever ended it was told so."""
        self._must("6", task in self.ended, f"the end of {_id(task)} was acknowledged before it was durable")
        self.acknowledged.add(task)
        self.acknowledged_at.setdefault(task, self.clock() * 1000)

    def froze(self, agent: str) -> None:
        self.stopped |= {agent}

    def thaws(self, agent: str) -> None:
        self.stopped -= {agent}
        self.thawing.add(agent)

    def permitted(self, asked: Asked, task: str, tool: str) -> None:
        """An agent was told yes."""
        self._allowed(asked, task, f"a permit for {tool}")
        key = (task, tool)
        self.answered[key] += 1
        if self.answered[key] > self.permits[key]:
            self._must("4", False, f"{_id(task)} was told yes for {tool} more often than the log says")

    def edge_permits(self, edge: str, task: str, tool: str, at: float, bound: float) -> None:
        """An edge lets a permit out."""
        self.counts["permit at an edge"] += 1
        since = self.acknowledged_at.get(task)
        late = at - since if since is not None else 0.0
        self._must(
            "6", late <= bound, f"{edge} permits {tool} of {_id(task)} {late:.0f} ms after its end was acknowledged"
        )

    def handed_out(self, asked: Asked, task: str, handle: str) -> None:
        """An agent was given a secret."""
        self._allowed(asked, task, "a secret")
        lease = self.leases.get(handle, "")
        self._must("4", lease in self.minted, f"the secret of {_id(handle)} left before its event")

    def _allowed(self, asked: Asked, task: str, what: str) -> None:
        chain = set(self.chain.get(task, ()))
        self._must("1", bool(chain), f"{what} without a task")
        self._must("6", not chain & asked.ended, f"{what} for {_id(task)}, asked after its end was acknowledged")
        agents = {self.agent[one] for one in chain}
        still = asked.frozen - self.thawing
        self._must("6", not agents & still, f"{what} for {_id(task)}, asked after a freeze was acknowledged")

    def lead(self, task: str) -> bool:
        """Whether its first task is of the purpose that lists one customer alone."""
        return self._row(Task, self.chain[task][0]).purpose == "lead"

    # --- in the end ---

    async def at_rest(self, note_keys: Any) -> None:
        database = self.database
        self._must("5", not self.outside.live, f"orphans: {sorted(map(_id, self.outside.live))}")
        for put in database._of(KIND_OF[Lease]):
            row = decode(Lease, put.body)
            self._must("5", row.state is LeaseState.ENDED, f"{_id(row.id)} is {row.state.value} for ever")
        for put in database._of(KIND_OF[Task]):
            task = decode(Task, put.body)
            self._must("5", task.state is not TaskState.OPEN and task.settled_at > 0, f"{_id(task.id)} never settles")
        for edge in self.edges:
            told = f"{edge.name} decided {edge.reportable} things, and the centre has {self.reported[edge.name]}"
            self._must("9", edge.reportable == self.reported[edge.name], told)
        problems = await replay(database)
        self._must("9", not problems, "; ".join(problems[:3]))
        sequenced = database._sequenced
        self._must("9", len(set(sequenced)) == len(sequenced) == len(database.visible), "the log lacks events")
        entries = await database.entries(0, len(sequenced))
        heads = [Head(c.size, c.root) for c in (parse_checkpoint(note, note_keys) for _, note in self.heads)]
        newest = parse_checkpoint(database._head[1], note_keys)
        found = audit(entries, Head(newest.size, newest.root), heads)
        self._must("9", found.ok, found.problem)

    def _row(self, kind: Any, key: str) -> Any:
        put = self.database.raw(KIND_OF[kind], key)
        if put is None:
            self._must("9", False, f"{kind.__name__} {key} is told of and not there")
            raise AssertionError
        return decode(kind, put.body)

    def _must(self, law: str, holds: bool, what: str) -> None:
        if not holds and self.broken is None:
            self.say(f"BROKEN law {law}: {what}")
            self.broken = Broken(law, what)


def _id(text: str) -> str:
    kind, _, rest = text.rpartition("_")
    return f"{kind}_{rest[-4:]}"


def _short(data: dict[str, Any]) -> str:
    named = ("task", "lease", "tool", "decision", "reasons", "how", "agent", "name", "child", "approval", "state")
    parts = []
    for name in named:
        value = data.get(name)
        if value:
            text = ",".join(value) if isinstance(value, list) else str(value)
            parts.append(_id(text) if "_0" in text or len(text) > 30 else text)
    return " ".join(parts)
