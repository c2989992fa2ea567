"""What has a row of its own: what it is now, and what it leads to."""

from __future__ import annotations

import json
import re
from typing import Any

from remit.domain.approval import Approval, ApprovalState
from remit.domain.caller import AccessKey, CallerKind
from remit.domain.chain import PrincipalKind
from remit.domain.finding import Finding, FindingState, Subject
from remit.domain.identity import Identity
from remit.domain.leak import Leak, LeakKind, Live
from remit.domain.lease import Lease, LeaseState
from remit.domain.task import Task
from remit.formats.log_words import within
from remit.verbs import contain

from .heard import MANY, Links, tasks_of
from .incident import About, Node
from .looking import Looking, short

LEAKED = "saw the leak of"  # the relation of a finding to what was recognised in it
_LEAKS = {LeakKind.LEASE: "lease", LeakKind.SECRET: "secret", LeakKind.KEY: "access key"}
_KIND_OF = {Subject.KEY: "access key"}
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


async def task(look: Looking, key: str) -> About | None:
    """A task: who asked, what it was given, handed on and asked people."""
    row = await look.env.store.get(Task, key)
    if row is None or not await look.sight.task(row):
        return None
    began = row.initiator
    links: Links = [("asked by", Node(began.kind.value, began.name))] if began.kind is not PrincipalKind.EVENT else []
    links += [("handed on by", Node("task", hop.task)) for hop in row.chain.hops[:-1]]
    children = await look.env.store.find(Task, {"parent": key}, limit=MANY) if row.handed else []
    links += [("handed on to", Node("task", child.id)) for child in children]
    approvals = await look.env.store.find(Approval, {"task": key}, limit=MANY)
    leases = await look.env.store.find(Lease, {"task": key}, limit=MANY)
    links += [("asked people in", Node("approval", one.id)) for one in approvals]
    links += [("was given", Node("lease", one.id)) for one in leases]
    links += [("done by", Node("agent", row.agent)), ("under", Node("purpose", row.purpose))]
    links += [("used", Node("key", row.jkt)), *await look.findings("task", key)]
    links += [("was about", Node("resource", name)) for name in sorted({a.shown.resource for a in approvals} - {""})]
    label = {"trust": row.label.trust.word, "sensitivity": row.label.sensitivity.word, "read": row.label.sources}
    facts = {
        **{name: getattr(row, name) for name in ("goal", "agent", "purpose", "calls", "opened_at", "ended_at")},
        "state": row.state.value,
        "initiator": str(row.initiator),
        "end_reason": row.end_reason,
        **label,
    }
    live = {"says": "open", "do": [f"remit task end {key} --reason …"]}
    short = [said for said, rows in (("approvals", approvals), ("leases", leases)) if len(rows) == MANY]
    cut = f"Of task {key} the first {MANY} {' and '.join(short)} are here." if short else ""
    is_live = {**live, "until": row.deadline} if row.open_at(look.now) else None
    return About(facts, links, [[within(key)], [key]], is_live, cut)


async def lease(look: Looking, key: str) -> About | None:
    """A credential of a task."""
    row = await look.env.store.get(Lease, key)
    task = await look.env.store.get(Task, row.task) if row is not None else None
    if row is None or not (look.sight.all if task is None else await look.sight.task(task)):
        return None
    secret = row.holds.rpartition("/")[0]
    links: Links = [("of task", Node("task", row.task)), ("minted by", Node("issuer", row.issuer))]
    links += [("is", Node("secret", secret))] if secret else []
    names = ("credential", "issuer", "handle", "task", "agent", "reserved_at", "expires_at", "ended_at")
    facts = {name: getattr(row, name) for name in (*names, "end_reason", "last_error", "holds")}
    live = None
    if row.state is not LeaseState.ENDED:
        says = f"{row.credential} at {row.issuer} may open something: {row.state.value}, {row.waits().value}"
        live = {"says": says, "until": row.lives_until or row.expires_at, "do": [f"remit lease end {key}"]}
    words = [["OrphanFound", key]] if task is None else []
    return About({**facts, "state": row.state.value}, links, words, live)


async def approval(look: Looking, key: str) -> About | None:
    """What people were asked, and what they said."""
    row = await look.env.store.get(Approval, key)
    if row is None or not await look.sight.approval(row):
        return None
    links: Links = [("asked by", Node("task", row.task)), ("wants to call", Node("tool", row.shown.tool))]
    links += [("answered by", Node("person", answer.person)) for answer in row.answers]
    answers = [{"person": one.person, "yes": one.yes, "at": one.at} for one in row.answers]
    facts: dict[str, Any] = {"sentence": row.shown.sentence, "tool": row.shown.tool, "resource": row.shown.resource}
    facts |= {"task": row.task, "asked_at": row.asked_at, "answers": answers, "state": row.state.value}
    live = None
    if row.pending_at(look.now) or row.usable_at(look.now):
        says = "somebody may still say yes" if row.state is ApprovalState.PENDING else "a yes that may still be used"
        do = f"remit deny {key}" if row.state is ApprovalState.PENDING else f"remit task end {row.task} --reason …"
        live = {"says": says, "until": row.expires_at, "do": [do]}
    return About(facts, links, [["NoticeSent", key]] if look.sight.all else [], live)


async def key(look: Looking, jkt: str) -> About | None:
    """An agent's key, by its thumbprint."""
    row = await look.env.store.get(Identity, jkt)
    if row is None:
        return None
    hits = await look.heard.hits("TokenIssued", jkt, "jkt")
    facts = {name: getattr(row, name) for name in ("agent", "method", "proved_at", "expires_at", "spiffe_id")}
    links = [("proves", Node("agent", row.agent)), *tasks_of("acted in", hits)]
    return About(facts, links, look.words(("AgentProved", "IdentitySuperseded"), jkt), None, short("key", jkt, hits))


async def finding(look: Looking, key: str) -> About | None:
    """Found out about something, and perhaps by the bytes that leaked."""
    row = await look.env.store.get(Finding, key) if look.sight.all else None
    if row is None:
        return None
    names = ("title", "found_at", "found_by", "place", "contained_at", "reached_at", "note")
    facts = {"severity": row.severity.word, "state": row.state.value, **{name: getattr(row, name) for name in names}}
    links = [*_leaked(row), ("is about", Node(_KIND_OF.get(row.subject, row.subject.value), row.name))]
    links += [("asked people in", Node("approval", row.approval))] if row.approval else []
    open_ = row.state is FindingState.OPEN and not row.reached_at
    live = None
    if open_ and row.contained_at:
        live = {"says": "contained, and not all of it is confirmed dead", "do": [f"remit finding show {key}"]}
    elif open_ and row.leak and await contain.live(look.env, row, look.now) is not Live.NO:
        live = {"says": "what leaked may still open something", "do": [f"remit finding contain {key} --reason …"]}
    types = ("FindingReported", "FindingContained", "FindingContainmentReached", "FindingResolved")
    return About(facts, links, [[type_, key] for type_ in types], live)


async def fingerprint(look: Looking, text: str) -> About | None:
    """What a finding keeps of a secret, or a scanner's digest of it: only of what was reported, so that nobody can try
    here what a secret might be without a report that everybody sees.
    """
    if not look.sight.all:
        return None
    prints = [text, *([look.env.print_of(text)] if _DIGEST.fullmatch(text) else [])]
    hits = [
        (one, data["finding"])
        for one in prints
        for _, data in await look.heard.hits("FindingReported", one, "evidence")
    ]
    rows = [await look.env.store.get(Finding, key) for _, key in hits]
    links: Links = [("reported in", Node("finding", key)) for _, key in hits]
    links += [link for row in rows if row is not None for link in _leaked(row)]
    return (
        About({"reports": len(hits)}, list(dict.fromkeys(links)), [["FindingReported", hits[0][0]]]) if hits else None
    )


def _leaked(row: Finding) -> Links:
    leak = Leak.parse(row.leak) if row.leak else None
    return [(LEAKED, Node(_LEAKS[leak.kind], leak.name))] if leak else []


async def access_key(look: Looking, digest: str) -> About | None:
    """A bearer key of whoever is no agent, by the digest that it is kept under."""
    row = await look.env.store.get(AccessKey, digest) if look.sight.all else None
    if row is None:
        return None
    links: Links = [("of", Node("person", row.name))] if row.kind is CallerKind.PERSON else []
    links += await look.findings("key", digest)
    facts = {"kind": row.kind.value, "name": row.name, "created_at": row.created_at, "expires_at": row.expires_at}
    live = None
    if look.now < row.expires_at:
        live = {"says": f"opens what {row.kind.value} {row.name} may do", "until": row.expires_at}
        live |= {"do": [f"remit key end {digest} --reason …"]}
    return About(facts, links, look.words(("AccessKeyCreated", "AccessKeyEnded"), digest), live)


async def event(look: Looking, place: str) -> About | None:
    """One event of the log, by its place."""
    size, _ = await look.log.head()
    found = await look.log.entries(int(place), int(place) + 1) if place.isdecimal() and int(place) < size else ()
    entry = json.loads(found[0]) if found else {}
    if not found or not await look.sight.entry(entry):
        return None
    data = entry["data"]
    kinds = {"task": "task", "child": "task", "approval": "approval", "lease": "lease", "agent": "agent"}
    kinds |= {"person": "person", "purpose": "purpose", "issuer": "issuer"}
    links = [("says", Node(kind, str(data[name]))) for name, kind in kinds.items() if data.get(name)]
    facts = {"type": entry["type"], "by": entry["by"], "at": entry["at"], "place": int(place)}
    return About(facts, links)
