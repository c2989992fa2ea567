"""What there is to a task, a lease, an approval, a name: what it is now, and what it leads to.

Every look-up is of a row by its key or an indexed column, or of events of the one type in which Remit writes the
identifier itself. None of them grows with the log.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from remit.domain.approval import Approval, ApprovalState
from remit.domain.catalogue import Catalogue
from remit.domain.chain import PrincipalKind
from remit.domain.finding import Finding
from remit.domain.identity import Identity, stale
from remit.domain.lease import Lease, LeaseState
from remit.domain.secret import SealedSecret
from remit.domain.task import Task, TaskState
from remit.formats.log_words import resource_word, within
from remit.ports import Env

from .heard import KINDS, MANY, Heard, Links, tasks_of
from .incident import About, Node, Sight
from .search import Searched


@dataclass
class Things:
    """See `incident.Known`: everything that one caller may see."""

    env: Env
    log: Searched
    sight: Sight
    now: int

    @property
    def heard(self) -> Heard:
        """What the log says."""
        return Heard(self.log, self.sight)

    async def named(self, text: str) -> Sequence[Node]:
        """See `incident.Known`. `agent:bot` asks for the agent alone."""
        kind, _, rest = text.partition(":")
        if kind in _ABOUT and rest:
            asked = [Node(kind, rest)]
        else:
            place = text.removeprefix("#")
            asked = [Node("event", place)] if place.isascii() and place.isdecimal() and len(place) < 16 else []
            asked += [Node(one, text) for one in _ABOUT if one != "event"]
        found = [node for node in asked if await self.about(node) is not None]
        return found or [node for node in (Node("resource", text),) if await self.about(node) is not None]

    async def about(self, node: Node) -> About | None:
        """See `incident.Known`."""
        return await _ABOUT[node.kind](self, node.id)

    # --- rows ---

    async def _task(self, key: str) -> About | None:
        row = await self.env.store.get(Task, key)
        if row is None or not await self.sight.task(row):
            return None
        began = row.initiator
        links: Links = (
            [("asked by", Node(began.kind.value, began.name))] if began.kind is not PrincipalKind.EVENT else []
        )
        links += [("handed on by", Node("task", hop.task)) for hop in row.chain.hops[:-1]]
        children = await self.env.store.find(Task, {"parent": key}, limit=MANY) if row.handed else []
        links += [("handed on to", Node("task", child.id)) for child in children]
        approvals = await self.env.store.find(Approval, {"task": key}, limit=MANY)
        leases = await self.env.store.find(Lease, {"task": key}, limit=MANY)
        links += [("asked people", Node("approval", one.id)) for one in approvals]
        links += [("was given", Node("lease", one.id)) for one in leases]
        links += [("agent", Node("agent", row.agent)), ("purpose", Node("purpose", row.purpose))]
        links += [("used key", Node("key", row.jkt))]
        links += [
            ("was about", Node("resource", name)) for name in sorted({a.shown.resource for a in approvals} - {""})
        ]
        label = {"trust": row.label.trust.word, "sensitivity": row.label.sensitivity.word, "read": row.label.sources}
        facts = {
            **{name: getattr(row, name) for name in ("goal", "agent", "purpose", "calls", "opened_at", "ended_at")},
            "state": row.state.value,
            "initiator": str(row.initiator),
            "end_reason": row.end_reason,
            **label,
        }
        live = {"says": f"open, until its deadline at {row.deadline}", "do": [f"remit task end {key} --reason …"]}
        short = [said for said, rows in (("approvals", approvals), ("leases", leases)) if len(rows) == MANY]
        cut = f"Of task {key} the first {MANY} {' and '.join(short)} are here." if short else ""
        is_live = {**live, "until": row.deadline} if row.open_at(self.now) else None
        return About(facts, links, [[within(key)], [key]], is_live, cut)

    async def _lease(self, key: str) -> About | None:
        row = await self.env.store.get(Lease, key)
        task = await self.env.store.get(Task, row.task) if row is not None else None
        if row is None or not (self.sight.all if task is None else await self.sight.task(task)):
            return None
        secret = row.holds.rpartition("/")[0]
        links: Links = [("of task", Node("task", row.task)), ("minted by", Node("issuer", row.issuer))]
        links += [("is secret", Node("secret", secret))] if secret else []
        names = ("credential", "issuer", "handle", "task", "agent", "reserved_at", "expires_at", "ended_at")
        facts = {name: getattr(row, name) for name in (*names, "end_reason", "last_error", "holds")}
        live = None
        if row.state is not LeaseState.ENDED:
            says = f"{row.credential} at {row.issuer} may be alive: {row.state.value}, {row.waits().value}"
            live = {"says": says, "until": row.lives_until or row.expires_at, "do": [f"remit lease end {key}"]}
        words = [["OrphanFound", key]] if task is None else []
        return About({**facts, "state": row.state.value}, links, words, live)

    async def _approval(self, key: str) -> About | None:
        row = await self.env.store.get(Approval, key)
        if row is None or not await self.sight.approval(row):
            return None
        links: Links = [("asked by", Node("task", row.task)), ("wants to call", Node("tool", row.shown.tool))]
        links += [("answered by", Node("person", answer.person)) for answer in row.answers]
        answers = [{"person": one.person, "yes": one.yes, "at": one.at} for one in row.answers]
        facts: dict[str, Any] = {"sentence": row.shown.sentence, "tool": row.shown.tool, "resource": row.shown.resource}
        facts |= {"task": row.task, "asked_at": row.asked_at, "answers": answers, "state": row.state.value}
        live = None
        if row.pending_at(self.now) or row.usable_at(self.now):
            says = (
                "somebody may still say yes" if row.state is ApprovalState.PENDING else "a yes that may still be used"
            )
            do = f"remit deny {key}" if row.state is ApprovalState.PENDING else f"remit task end {row.task} --reason …"
            live = {"says": says, "until": row.expires_at, "do": [do]}
        return About(facts, links, [["NoticeSent", key]] if self.sight.all else [], live)

    # --- names in the catalogue ---

    async def _agent(self, name: str) -> About | None:
        agent = (await self._catalogue()).agents.get(name)
        if agent is None and not (self.sight.all and await self.heard.hits("AgentProved", name, "agent")):
            return None
        keys = await self.env.store.find(Identity, {"agent": name}, limit=MANY)
        links, cut = await self._tasks("agent", name, [name])
        good = [row for row in keys if agent is not None and not stale(row, agent, self.now)]
        links = [*([("answered for by", Node("person", agent.owner))] if agent else []), *links]
        links += [("proved key", Node("key", row.jkt)) for row in keys]
        frozen = await self._frozen("agent", name)
        facts: dict[str, Any] = {"owner": agent.owner if agent else "", "keys": len(keys), "frozen": frozen}
        live: dict[str, Any] | None = None
        if good and not frozen:
            live = {"says": f"{len(good)} of its keys prove it, so it may begin tasks"}
            live |= {"until": max(row.expires_at for row in good), "do": [f"remit freeze agent {name} --reason …"]}
        types = ("AgentProved", "IdentitySuperseded", "ProposalDenied", "JoinTokenCreated", "Froze", "Unfroze")
        return About(facts, links, self._words(types, name), live, cut)

    async def _person(self, name: str) -> About | None:
        catalogue = await self._catalogue()
        if not self.sight.all and name != self.sight.name:
            return None
        known = name in catalogue.people or name in {one.owner for one in catalogue.agents.values()}
        if not known and not await self.heard.hits("TaskProposed", f"person:{name}", "initiator"):
            return None
        links, cut = await self._tasks("initiator", f"person:{name}", [f"person:{name}"])
        links += [("answers for", Node("agent", a.name)) for a in catalogue.agents.values() if a.owner == name][:MANY]
        answered = await self.heard.hits("ApprovalAnswered", name, "person")
        links += [("answered", Node("approval", data["approval"])) for _, data in answered]
        types = ["SessionBegan", "SessionEnded", "AccessKeyCreated", "AccessKeyEnded", "PasskeyRegistered"]
        types += ["SignInLinkMade", "PersonLeft", "PersonReturned", "SignalHeeded", "WentAway"]
        do = [f"remit person leave {name} --reason …", f"remit freeze owner {name} --reason …"]
        opened = await self.env.store.find(Task, {"initiator": f"person:{name}", "state": "open"}, limit=1)
        live = {"says": "began tasks that are open", "until": 0, "do": do} if opened else None
        return About({}, links, self._words(types, name), live, cut)

    async def _purpose(self, name: str) -> About | None:
        purpose = (await self._catalogue()).purposes.get(name)
        if purpose is None:
            return None
        links, cut = await self._tasks("purpose", name, [name])
        links += [("may be asked of", Node("agent", agent)) for agent in purpose.agents[:MANY]]
        facts = {"owner": purpose.owner, "frozen": await self._frozen("purpose", name)}
        return About(facts, links, self._words(("Froze", "Unfroze", "ProposalDenied"), name), None, cut)

    async def _tool(self, name: str) -> About | None:
        catalogue = await self._catalogue()
        hits = await self.heard.hits("AccessDecided", name, "tool", "permit")
        if name not in catalogue.tools and not (self.sight.all and hits):
            return None
        links = tasks_of("called by", hits)
        granting = [p.name for p in catalogue.purposes.values() if any(grant.tool == name for grant in p.grants)]
        links += [("granted by", Node("purpose", one)) for one in granting[:MANY]]
        facts = {"granted_by": granting, "frozen": await self._frozen("tool", name)}
        words = [["AccessDecided", name], *self._words(("Froze", "Unfroze", "FindingReported"), name)]
        return About(facts, links, words, None, _short("tool", name, hits))

    async def _secret(self, text: str) -> About | None:
        name, _, number = text.partition("/")
        if not self.sight.all:
            return None
        versions = await self.env.store.find(SealedSecret, {"name": name}, limit=MANY)
        versions = [row for row in versions if not number or str(row.number) == number]
        leases: list[Lease] = []
        for row in versions:
            leases += await self.env.store.find(Lease, {"holds": row.label}, limit=MANY)
        links: Links = [("handed out as", Node("lease", one.id)) for one in leases]
        links += [("was in", Node("task", one.task)) for one in leases]
        granting = [p.name for p in (await self._catalogue()).purposes.values() if name in p.secrets]
        links += [("granted by", Node("purpose", one)) for one in granting[:MANY]]
        facts = {"versions": [{"number": v.number, "state": v.state.value} for v in versions], "granted_by": granting}
        out = sum(one.state is not LeaseState.ENDED for one in leases)
        do = [f"remit freeze secret {name} --reason …", f"remit secret put {name}"]
        live = {"says": f"{out} tasks may hold it now", "until": 0, "do": do} if out else None
        words = self._words(("SecretSealed", "SecretRetiring", "SecretRetired", "SecretOverdue", "Froze"), name)
        cut = f"Of secret {name} the first {MANY} leases of a version are here." if len(leases) >= MANY else ""
        return About(facts, links, words, live, cut) if versions else None

    async def _issuer(self, name: str) -> About | None:
        if not self.sight.all or name not in (await self._catalogue()).issuers:
            return None
        leases: list[Lease] = []
        for state in (LeaseState.LIVE, LeaseState.ENDING, LeaseState.RESERVED):
            leases += await self.env.store.find(Lease, {"issuer": name, "state": state.value}, limit=MANY)
        links: Links = [("may be alive", Node("lease", one.id)) for one in leases]
        cut = f"Of issuer {name} the first {MANY} credentials of a state are here." if len(leases) >= MANY else ""
        return About({"alive": len(leases)}, links, self._words(("IssuerDown", "IssuerBack"), name), None, cut)

    # --- what only the log knows ---

    async def _key(self, jkt: str) -> About | None:
        row = await self.env.store.get(Identity, jkt)
        if row is None:
            return None
        hits = await self.heard.hits("TokenIssued", jkt, "jkt")
        facts = {name: getattr(row, name) for name in ("agent", "method", "proved_at", "expires_at", "spiffe_id")}
        links = [("proves", Node("agent", row.agent)), *tasks_of("acted in", hits)]
        return About(
            facts, links, self._words(("AgentProved", "IdentitySuperseded"), jkt), None, _short("key", jkt, hits)
        )

    async def _resource(self, name: str) -> About | None:
        digest = resource_word(self.env.sealer, name)
        hits = await self.heard.hits("AccessDecided", digest, "resource")
        links = tasks_of("touched by", hits)
        facts = {"digest": digest} if self.sight.all else {}
        return About(facts, links, [["AccessDecided", digest]], None, _short("resource", name, hits)) if hits else None

    async def _address(self, text: str) -> About | None:
        if not self.sight.all or not _is_address(text):
            return None
        posture = await self.heard.hits("PostureAssessed", text, "facts")
        links: Links = [("known of", Node("agent", data["agent"])) for _, data in posture]
        words = [["PostureAssessed", text], ["FindingReported", text]]
        found = posture or await self.heard.hits("FindingReported", text, "name")
        return About({}, list(dict.fromkeys(links)), words) if found else None

    async def _finding(self, key: str) -> About | None:
        row = await self.env.store.get(Finding, key) if self.sight.all else None
        if row is None:
            return None
        facts = {"severity": row.severity.word, "title": row.title, "state": row.state.value, "found_at": row.found_at}
        words = [["FindingReported", key], ["FindingResolved", key]]
        return About(facts, [("is about", Node(row.subject.value, row.name))], words)

    async def _event(self, place: str) -> About | None:
        size, _ = await self.log.head()
        found = await self.log.entries(int(place), int(place) + 1) if place.isdecimal() and int(place) < size else ()
        entry = json.loads(found[0]) if found else {}
        if not found or not await self.sight.entry(entry):
            return None
        data = entry["data"]
        kinds = {"task": "task", "child": "task", "approval": "approval", "lease": "lease", "agent": "agent"}
        kinds |= {"person": "person", "purpose": "purpose", "issuer": "issuer"}
        links = [("says", Node(kind, str(data[name]))) for name, kind in kinds.items() if data.get(name)]
        facts = {"type": entry["type"], "by": entry["by"], "at": entry["at"], "place": int(place)}
        return About(facts, links)

    # --- how things are found ---

    async def _catalogue(self) -> Catalogue:
        _, force = await self.env.in_force()
        return force.catalogue

    async def _frozen(self, reach: str, name: str) -> bool:
        frozen = await self.env.frozen()
        return any((one.reach.value, one.name) == (reach, name) for one in frozen.freezes)

    def _words(self, types: Iterable[str], name: str) -> list[list[str]]:
        return [[type_, name] for type_ in types] if self.sight.all else []

    async def _tasks(self, column: str, value: str, words: Sequence[str]) -> tuple[Links, str]:
        """Its open tasks, and the newest that were ever proposed, as far as the caller may see them."""
        rows = await self.env.store.find(Task, {column: value, "state": TaskState.OPEN.value}, limit=MANY)
        links: Links = [("open task", Node("task", row.id)) for row in rows if await self.sight.task(row)]
        hits = await self.heard.hits("TaskProposed", words[0], column)
        links += [link for link in tasks_of("task", hits) if ("open task", link[1]) not in links]
        short = self.sight.all and (len(rows) == MANY or len(hits) == MANY)
        return links, f"Of {column} {value} {len(links)} tasks are here, the open and the newest." if short else ""


def _short(kind: str, name: str, hits: Sequence[object]) -> str:
    return f"Of {kind} {name} only the newest {MANY} uses were followed." if len(hits) == MANY else ""


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


def _heard(kind: str) -> Callable[[Things, str], Awaitable[About | None]]:
    return lambda things, text: things.heard.about(kind, text)


_ABOUT: Mapping[str, Callable[[Things, str], Awaitable[About | None]]] = {
    "task": Things._task,
    "lease": Things._lease,
    "approval": Things._approval,
    "agent": Things._agent,
    "person": Things._person,
    "purpose": Things._purpose,
    "tool": Things._tool,
    "secret": Things._secret,
    "issuer": Things._issuer,
    "key": Things._key,
    "resource": Things._resource,
    "address": Things._address,
    "finding": Things._finding,
    "event": Things._event,
    **{kind: _heard(kind) for kind in KINDS},
}
