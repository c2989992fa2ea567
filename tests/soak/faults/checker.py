"""Did the laws hold? Pure functions over what everybody was told, the logs, and what is alive: one rule each.

A rule believes only acknowledgements. What was not answered may have happened or not, and may still happen for a while.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from remit.log.merkle import EMPTY_ROOT, leaf_hash, node_hash

from .bans import no_permit_after
from .evidence import Evidence, Violation
from .nemesis import BEHIND

REPORTED = ("AccessDecided", "ResultObserved")
RECOVERY = 120.0  # seconds after the last fault, on a machine that does much else
SLACK = 2_000  # ms: proofs and deadlines are in whole seconds, and a skew takes a second to be believed


Rule = Callable[[Evidence], Iterator[Violation]]


def check(found: Evidence) -> list[Violation]:
    """Every rule; nothing is what one hopes for."""
    return [violation for rule in RULES for violation in rule(found)]


# --- 1: no permit after an acknowledged end, freeze or change; see `bans` for what was acknowledged ---


def no_permit_committed_after_the_end(found: Evidence) -> Iterator[Violation]:
    """In the log every permit of a task wrote an earlier version of it than its end did."""
    for task, entries in found.by_task.items():
        end = next((entry.wrote("Task") for entry in entries if entry.kind == "TaskEnded"), 0)
        for entry in entries:
            if end and entry.permits and not entry.said.get("via") and entry.wrote("Task") > end:
                yield Violation("no permit committed after", f"place {entry.place} permits after the end", task)


def no_permit_committed_while_frozen(found: Evidence) -> Iterator[Violation]:
    """In the log no permit of an agent or a purpose stands between a freeze of it and the end of that freeze.

    Commits that conflict have their places in the order in which they were made: the later waits for the earlier's row.
    """
    frozen: set[tuple[str, str]] = set()
    for entry in found.log:
        if entry.kind in ("Froze", "Unfroze"):
            one = (entry.data["reach"], entry.data["name"])
            frozen = frozen | {one} if entry.kind == "Froze" else frozen - {one}
        elif frozen and entry.permits and not entry.said.get("via"):
            opened = found.opened.get(entry.data["task"])
            mine = {("agent", entry.data["agent"]), ("purpose", opened.more["purpose"] if opened else "")}
            if stopped := frozen & mine:
                said = f"place {entry.place} permits while {' '.join(stopped.pop())} is frozen"
                yield Violation("no permit committed after", said, entry.data["task"])


def no_permit_out_of_time(found: Evidence) -> Iterator[Violation]:
    """None for a call sent after the task's deadline, by more than any clock was behind."""
    for call in found.ops:
        row = found.tasks.get(call.task)
        if call.kind == "call" and call.said == "permit" and row is not None:
            late = call.at - int(row["deadline"])
            if late > BEHIND * 1000 + SLACK:
                yield Violation("no permit out of time", f"{call.door} permitted {late} ms late", call.task, call)


def no_request_twice(found: Evidence) -> Iterator[Violation]:
    """What somebody copied on the way and sent again is refused at every door, at once and later."""
    for op in found.ops:
        if op.kind == "replay" and op.said == "ok":
            yield Violation("no request twice", f"{op.door} took a request that was answered before", op.task, op)


# --- 2: nothing acknowledged is lost, and nothing is there twice ---

_WORDS = ("permit", "deny", "hold")
_EVENT = {"open": "TaskProposed", "answer": "ApprovalAnswered", "credential": "LeaseMinted"}


def recorded(found: Evidence) -> Iterator[Violation]:
    """Every answer is explained by exactly one event, and what nobody heard by one at most."""
    ends = Counter(entry.data["task"] for entry in found.log if entry.kind == "TaskEnded")
    yield from (
        Violation("recorded", f"ended {count} times", task) for task, count in sorted(ends.items()) if count > 1
    )
    for op in found.ops:
        if op.kind == "end" and op.said == "ok" and not ends[op.task]:
            yield Violation("recorded", "its acknowledged end is not in the log", op.task, op)
        if op.kind == "call":
            words = [entry.data["decision"] for entry in found.events(op, "AccessDecided")]
            if op.door in found.edges and op.said in ("deny", "unknown") and words == ["permit", "deny"]:
                continue  # while it was made durable the edge had become stale: it did not leave
            if (op.said in _WORDS and words != [op.said]) or len(words) > 1:
                yield Violation("recorded", f"{op.door} answered {op.said}, the log has {words}", op.task, op)
        kind = _EVENT.get(op.kind)
        if kind is not None:
            there = len(found.events(op, kind))
            if (op.said == "ok" and there != 1) or there > 1:
                yield Violation(
                    "recorded", f"{op.kind} answered {op.said}, {kind} is in the log {there} times", op.task, op
                )
    if found.unplaced:
        yield Violation("recorded", f"{found.unplaced} events never got a place in the log")


# --- 3: nothing is left ---


def nothing_left(found: Evidence) -> Iterator[Violation]:
    """At rest every task is over and settled, every lease is ENDED, and the issuer's own server knows of nobody."""
    for task, row in found.tasks.items():
        if row["state"] == "open" or not row["settled_at"]:
            yield Violation("nothing left", f"is {row['state']}, settled at {row['settled_at']}", task)
    states = {lease["handle"]: lease for lease in found.leases}
    for lease in found.leases:
        if lease["state"] != "ended":
            yield Violation(
                "nothing left", f"lease {lease['id']} is {lease['state']}: {lease['last_error']}", lease["task"]
            )
    for role in sorted(found.roles):
        lease = states.get(role)
        if lease is None or lease["state"] == "ended":
            yield Violation("no orphan", f"role {role} exists, its lease does not", lease["task"] if lease else "")
    for seen in found.sightings:
        lease = states.get(seen.role)
        said = f"role {seen.role} was alive while lease {seen.lease or '(none)'} was over"
        yield Violation("no orphan", said, lease["task"] if lease else "")


# --- 4: budgets and approvals ---


def within_budget(found: Evidence) -> Iterator[Violation]:
    """No task has more permits than calls, and its counter says how many; a yes is used once, and was said."""
    yes = {entry.data["approval"] for entry in found.log if entry.kind == "ApprovalAnswered" and entry.data["yes"]}
    used = Counter(entry.data["approval"] for entry in found.log if entry.permits and entry.data["approval"])
    for approval, count in used.items():
        if count > 1 or approval not in yes:
            task = next(e.data["task"] for e in found.log if e.permits and e.data["approval"] == approval)
            yield Violation("within budget", f"{approval} was used {count} times, said yes: {approval in yes}", task)
    for task, row in found.tasks.items():
        permits = sum(entry.permits for entry in found.by_task.get(task, ()))
        if permits > row["max_calls"] or permits != row["calls"]:
            said = f"{permits} permits in the log, {row['calls']} counted, {row['max_calls']} allowed"
            yield Violation("within budget", said, task)


# --- 5: one history ---


def one_history(found: Evidence) -> Iterator[Violation]:
    """Every checkpoint anybody ever saw covers a beginning of the final log; events alone rebuild the tables."""
    if len(found.log) < found.head.size:
        yield Violation("one history", f"{found.head.size} events signed, {len(found.log)} there")
    wanted = {head.size for _, head in (*found.heads, ("the end", found.head))}
    roots = prefix_roots([entry.leaf for entry in found.log], wanted)
    for who, head in (*found.heads, ("the end", found.head)):
        if head.size > len(found.log):
            yield Violation("one history", f"{who} saw {head.size} events signed, the log has {len(found.log)}")
        elif roots[head.size] != head.root:
            yield Violation("one history", f"{who} saw another beginning of {head.size} events")
    yield from (Violation("one history", f"replay: {problem}") for problem in found.replayed)


def prefix_roots(leaves: list[bytes], sizes: set[int]) -> dict[int, bytes]:
    """The root of each of these prefixes, in one pass (RFC 6962 section 2.1)."""
    roots, stack = {0: EMPTY_ROOT}, list[tuple[int, bytes]]()
    for number, leaf in enumerate(leaves, 1):
        height, node = 0, leaf_hash(leaf)
        while stack and stack[-1][0] == height:
            node, height = node_hash(stack.pop()[1], node), height + 1
        stack.append((height, node))
        if number in sizes:
            root = stack[-1][1]
            for _, left in reversed(stack[:-1]):
                root = node_hash(left, root)
            roots[number] = root
    return roots


# --- 6: it comes back ---


def comes_back(found: Evidence) -> Iterator[Violation]:
    """Every door permits calls again soon after the last fault."""
    for door, seconds in found.recovered.items():
        if seconds is None or seconds > RECOVERY:
            yield Violation(
                "comes back", f"{door} permitted nothing for {RECOVERY if seconds is None else seconds:.0f} s"
            )


# --- edges ---


def edges_reported(found: Evidence) -> Iterator[Violation]:
    """What an edge answered is in its own log, and every place of that log is taken in once at the centre."""
    traces = {edge: Counter(entry.trace for entry in log) for edge, log in found.edge_logs.items()}
    for op in found.ops:
        own = traces.get(op.door)
        if own is None or op.kind != "call" or op.said != "permit" or own[op.trace]:
            continue
        # It may have passed the call on to the centre, whose own rule looks at it then.
        if all(entry.said.get("via") for entry in found.events(op, "AccessDecided")):
            yield Violation("edges reported", f"{op.door} answered what its log does not have", op.task, op)
    for edge, log in found.edge_logs.items():
        told = [entry for entry in found.log if (entry.said.get("via") or {}).get("edge") == edge]
        taken = Counter(int(entry.said["via"]["index"]) for entry in told)
        twice = [place for place, count in taken.items() if count > 1]
        missed = [entry.place for entry in log if entry.kind in REPORTED and entry.place not in taken]
        if twice or missed:
            yield Violation(
                "edges reported", f"of the log of {edge}, {twice[:5]} were taken in twice and {missed[:5]} not"
            )
        own = {entry.place: entry for entry in log}
        for entry in told:
            place = int(entry.said["via"]["index"])
            said = own.get(place)
            if said is None or (said.kind, said.data, said.trace) != (entry.kind, entry.data, entry.trace):
                yield Violation("edges reported", f"place {place} of {edge} is told otherwise", entry.data["task"])


RULES: tuple[Rule, ...] = (
    no_permit_after,
    no_permit_committed_after_the_end,
    no_permit_committed_while_frozen,
    no_permit_out_of_time,
    no_request_twice,
    recorded,
    nothing_left,
    within_budget,
    one_history,
    comes_back,
    edges_reported,
)
