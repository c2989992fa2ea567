"""Discover: something was found out. If it is severe enough, what it is about stops in the same commit."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from hmac import digest as keyed

from remit.domain import events
from remit.domain.above import Branch
from remit.domain.approval import Approval, ApprovalState
from remit.domain.caller import AccessKey, Call
from remit.domain.catalogue import Catalogue
from remit.domain.change import Change
from remit.domain.errors import Absent, BadField, Busy, Conflict
from remit.domain.finding import Finding, FindingState, Severity, Subject
from remit.domain.freeze import Freeze, Frozen, Reach
from remit.domain.leak import Leak
from remit.domain.task import Task, TaskState
from remit.ports import Env

ROUNDS = 64
EVIDENCE_LIMIT = 65_536
_REACH = {Subject.AGENT: Reach.AGENT, Subject.TOOL: Reach.TOOL, Subject.SECRET: Reach.SECRET}


@dataclass(frozen=True, slots=True)
class Recognised:
    """What was known by its bytes: their print, and where a scan saw them."""

    leak: Leak
    print: str
    place: str


@dataclass(frozen=True, slots=True)
class Found:
    """What is reported. `evidence` is digested under a key of this Remit's, and forgotten."""

    severity: Severity
    subject: Subject
    name: str
    title: str
    evidence: str = ""
    recognised: Recognised | None = None


async def report(env: Env, call: Call, found: Found) -> Finding:
    """Write it down. When this returns, what a severe one is about is permitted nothing any more (law 6).

    `Absent` for what is not there.
    """
    if not 0 < len(found.title) <= 200 or not found.title.isprintable():
        raise BadField("title", "say in 1 to 200 characters what was found")
    if len(found.evidence) > EVIDENCE_LIMIT:
        raise BadField("evidence", f"is longer than {EVIDENCE_LIMIT} characters")
    evidence = _fingerprint(env, found.evidence) if found.evidence else ""
    known = found.recognised
    leak, evidence, place = (str(known.leak), known.print, known.place) if known else ("", evidence, "")
    for _ in range(ROUNDS):
        _, force = await env.in_force()
        task = await env.store.get(Task, found.name) if found.subject is Subject.TASK else None
        if task is None and known is None and not _there(force.catalogue, found):
            raise Absent(inside=f"{found.subject.value} {found.name[:200]}")
        stops = found.severity in force.catalogue.stop
        before = await _same(env, found, leak, evidence) if known else []
        if before and before[-1].state is FindingState.OPEN:
            return before[-1]
        id_ = _again(leak, evidence, len(before)) if known else env.new_id("fnd")
        row = Finding(
            id_, found.severity, found.subject, found.name, found.title, call.now, str(call.caller), evidence, stops,
            leak=leak, place=place,
        )  # fmt: skip
        said = events.FindingReported(
            row.id, row.severity.word, row.subject.value, row.name, row.title, evidence, stops
        )
        try:
            if stops and task is not None and task.state is TaskState.OPEN:
                # First, so that should we stop in between, it is reported again, and this is done already.
                await _end(env, call, task, row)
            change = _stopping(Change(said, call).put(row, was=None), row, await env.frozen())
            key = await env.store.get(AccessKey, row.name) if stops and row.subject is Subject.KEY else None
            if key is not None and call.now < key.expires_at:
                change = change.put(key.ended(call.now), was=key)
            await env.store.commit(change)
        except Conflict:
            continue
        if stops:
            env.nudge()
        return row
    raise Busy("What it is about keeps changing.", next_step="Report it again.")


async def resolve(env: Env, call: Call, finding_id: str, note: str) -> Finding:
    """It counts no more: what it stopped may act again, in new tasks, unless another open finding stops it too."""
    if not note or len(note) > 500:
        raise BadField("note", "say in 1 to 500 characters how it was resolved")
    for _ in range(ROUNDS):
        row = await env.store.get(Finding, finding_id)
        if row is None:
            raise Absent(inside=f"finding {finding_id}")
        after = row.resolved(call.now, str(call.caller), note)
        change = Change(events.FindingResolved(row.id, row.subject.value, row.name, note), call).put(after, was=row)
        approval = await env.store.get(Approval, row.approval) if row.approval else None
        if approval is not None and approval.state is ApprovalState.PENDING:  # nobody is to be asked about what is over
            change = change.put(approval.expired(), was=approval)
        frozen = await env.frozen()
        freeze = next((one for one in frozen.freezes if one.by == row.mark), None)
        if freeze is not None:
            left = frozen.ended(freeze)
            others = await env.store.find(Finding, {"about": row.about, "state": FindingState.OPEN.value}, limit=1000)
            stopping = [one for one in others if one.stopped and one.id != row.id and one.subject in _REACH]
            other = next(iter(stopping), None)
            change = change.put(left.began(_freeze(other, freeze.since)) if other else left, was=frozen)
        try:
            await env.store.commit(change)
        except Conflict:
            continue
        return after
    raise Busy("What is frozen keeps changing.", next_step="Try again at once.")


def _fingerprint(env: Env, evidence: str) -> str:
    key = env.sealer.derive(b"findings")
    return "hmac-sha256:" + keyed(key, evidence.encode("utf-8", "surrogatepass"), "sha256").hex()


async def _same(env: Env, found: Found, leak: str, evidence: str) -> list[Finding]:
    """What was found of this leak before, the newest last."""
    about = f"{found.subject.value} {found.name}"
    rows: list[Finding] = []
    after = ""
    while page := await env.store.find(Finding, {"about": about}, after=after, limit=1000):
        rows += [row for row in page if (row.leak, row.evidence) == (leak, evidence)]
        after = page[-1].key
    return sorted(rows, key=lambda row: (row.state is FindingState.OPEN, row.found_at))


def _again(leak: str, evidence: str, before: int) -> str:
    """The same for two who find it at once: one of them loses the compare-and-swap, and sees the other's."""
    return f"fnd_{sha256(f'{leak} {evidence} {before}'.encode()).hexdigest()[:32]}"


def _there(catalogue: Catalogue, found: Found) -> bool:
    match found.subject:
        case Subject.AGENT:
            return found.name in catalogue.agents
        case Subject.TOOL:
            return found.name in catalogue.tools
        case Subject.SECRET:
            return any(found.name in purpose.secrets for purpose in catalogue.purposes.values())
    return False


def _freeze(row: Finding, since: int) -> Freeze:
    return Freeze(_REACH[row.subject], row.name, since, f"{row.severity.word} finding: {row.title}", row.mark)


def _stopping(change: Change, row: Finding, frozen: Frozen) -> Change:
    """With the freeze that it holds; one that was there already is enough, as long as it stays."""
    if not row.stopped or row.subject not in _REACH:
        return change
    if frozen.found(_REACH[row.subject], row.name) is not None:
        return change.check(frozen)
    return change.put(frozen.began(_freeze(row, row.found_at)), was=frozen)


async def _end(env: Env, call: Call, task: Task, row: Finding) -> None:
    reason = f"{row.severity.word} finding: {row.title}"
    change = Change(events.TaskEnded(task.id, task.agent, TaskState.REVOKED.value, reason), call)
    change = change.put(task.ended(TaskState.REVOKED, call.now, reason), was=task)
    branch = await env.store.get(Branch, task.id) if task.handed else None
    await env.store.commit(change.put(branch.ended(call.now), was=branch) if branch else change)
