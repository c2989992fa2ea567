"""What is called by a name: in the catalogue, or by what was done with it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from remit.domain.identity import Identity, stale
from remit.domain.lease import Lease, LeaseState
from remit.domain.secret import SealedSecret
from remit.formats.log_words import resource_word

from .heard import MANY, Links, tasks_of
from .incident import About, Node
from .looking import OPEN, Looking, short


async def agent(look: Looking, name: str) -> About | None:
    """An agent, and one that was."""
    agent = (await look.catalogue()).agents.get(name)
    if agent is None and not (look.sight.all and await look.heard.hits("AgentProved", name, "agent")):
        return None
    keys = await look.env.store.find(Identity, {"agent": name}, limit=MANY)
    links, cut = await look.tasks("agent", name, name)
    good = [row for row in keys if agent is not None and not stale(row, agent, look.now)]
    links = [*([("answered for by", Node("person", agent.owner))] if agent else []), *links]
    links += [("proved", Node("key", row.jkt)) for row in keys] + await look.findings("agent", name)
    frozen = await look.frozen("agent", name)
    facts: dict[str, Any] = {"owner": agent.owner if agent else "", "keys": len(keys), "frozen": frozen}
    live: dict[str, Any] | None = None
    if good and not frozen:
        live = {"says": f"may begin tasks with {_counted(len(good), 'good key')}"}
        live |= {"until": max(row.expires_at for row in good), "do": [f"remit freeze agent {name} --reason …"]}
    types = ("AgentProved", "IdentitySuperseded", "ProposalDenied", "JoinTokenCreated", "Froze", "Unfroze")
    return About(facts, links, look.words(types, name), live, cut)


async def person(look: Looking, name: str) -> About | None:
    """Somebody: to themselves, and to whoever may read the log."""
    catalogue = await look.catalogue()
    if not look.sight.all and name != look.sight.name:
        return None
    known = name in catalogue.people or name in {one.owner for one in catalogue.agents.values()}
    if not known and not await look.heard.hits("TaskProposed", f"person:{name}", "initiator"):
        return None
    links, cut = await look.tasks("initiator", f"person:{name}", f"person:{name}")
    links += [("answers for", Node("agent", a.name)) for a in catalogue.agents.values() if a.owner == name][:MANY]
    answered = await look.heard.hits("ApprovalAnswered", name, "person")
    links += [("answered", Node("approval", data["approval"])) for _, data in answered]
    types = ["SessionBegan", "SessionEnded", "AccessKeyCreated", "AccessKeyEnded", "PasskeyRegistered"]
    types += ["SignInLinkMade", "PersonLeft", "PersonReturned", "SignalHeeded", "WentAway"]
    do = [f"remit person leave {name} --reason …", f"remit freeze owner {name} --reason …"]
    opened = any(said == OPEN for said, _ in links)
    live = {"says": "began tasks that are open", "do": do} if opened else None
    return About({}, links, look.words(types, name), live, cut)


async def purpose(look: Looking, name: str) -> About | None:
    """A purpose in force."""
    purpose = (await look.catalogue()).purposes.get(name)
    if purpose is None:
        return None
    links, cut = await look.tasks("purpose", name, name)
    links += [("may be asked of", Node("agent", agent)) for agent in purpose.agents[:MANY]]
    facts = {"owner": purpose.owner, "frozen": await look.frozen("purpose", name)}
    return About(facts, links, look.words(("Froze", "Unfroze", "ProposalDenied"), name), None, cut)


async def tool(look: Looking, name: str) -> About | None:
    """A tool in force, and one that was called."""
    catalogue = await look.catalogue()
    hits = await look.heard.hits("AccessDecided", name, "tool", "permit")
    if name not in catalogue.tools and not (look.sight.all and hits):
        return None
    links = tasks_of("called by", hits)
    granting = [p.name for p in catalogue.purposes.values() if any(grant.tool == name for grant in p.grants)]
    links += [("granted by", Node("purpose", one)) for one in granting[:MANY]]
    links += await look.findings("tool", name)
    facts = {"granted_by": granting, "frozen": await look.frozen("tool", name)}
    words = [["AccessDecided", name], *look.words(("Froze", "Unfroze", "FindingReported"), name)]
    return About(facts, links, words, None, short("tool", name, hits))


async def secret(look: Looking, text: str) -> About | None:
    """A static secret, or one version of it: `stripe/2`."""
    name, _, number = text.partition("/")
    if not look.sight.all:
        return None
    versions = await look.env.store.find(SealedSecret, {"name": name}, limit=MANY)
    versions = [row for row in versions if not number or str(row.number) == number]
    leases: list[Lease] = []
    for row in versions:
        leases += await look.env.store.find(Lease, {"holds": row.label}, limit=MANY)
    links: Links = [("handed out as", Node("lease", one.id)) for one in leases]
    links += [("was in", Node("task", one.task)) for one in leases]
    granting = [p.name for p in (await look.catalogue()).purposes.values() if name in p.secrets]
    links += [("granted by", Node("purpose", one)) for one in granting[:MANY]]
    links += await look.findings("secret", name)
    facts = {"versions": [{"number": v.number, "state": v.state.value} for v in versions], "granted_by": granting}
    out = sum(one.state is not LeaseState.ENDED for one in leases)
    do = [f"remit freeze secret {name} --reason …", f"remit secret put {name}"]
    live = {"says": f"{_counted(out, 'lease')} may hold it", "do": do} if out else None
    words = look.words(("SecretSealed", "SecretRetiring", "SecretRetired", "SecretOverdue", "Froze"), name)
    cut = f"Of secret {name} the first {MANY} leases of a version are here." if len(leases) >= MANY else ""
    return About(facts, links, words, live, cut) if versions else None


async def issuer(look: Looking, name: str) -> About | None:
    """An issuer in force, and what may be alive there."""
    if not look.sight.all or name not in (await look.catalogue()).issuers:
        return None
    leases, more = list[Lease](), False
    for state in (LeaseState.LIVE, LeaseState.ENDING, LeaseState.RESERVED):
        found, left = await look.rows(Lease, {"state": state.value, "issuer": name})
        leases, more = leases + found, more or left
    links: Links = [("may have alive", Node("lease", one.id)) for one in leases]
    cut = f"Of issuer {name} {len(leases)} credentials that may be alive are here, not all." if more else ""
    return About(
        {"alive": len(leases), "at_least": more}, links, look.words(("IssuerDown", "IssuerBack"), name), None, cut
    )


async def resource(look: Looking, name: str) -> About | None:
    """What calls were about: a document, a customer; by the keyed digest that the log has of it."""
    digest = resource_word(look.env.sealer, name)
    hits = await look.heard.hits("AccessDecided", digest, "resource")
    links = tasks_of("touched by", hits)
    facts = {"digest": digest} if look.sight.all else {}
    return About(facts, links, [["AccessDecided", digest]], None, short("resource", name, hits)) if hits else None


async def address(look: Looking, text: str) -> About | None:
    """An address that somebody said an agent was seen at."""
    if not look.sight.all or not _is_address(text):
        return None
    posture = await look.heard.hits("PostureAssessed", text, "facts")
    links: Links = [("was seen with", Node("agent", data["agent"])) for _, data in posture]
    words = [["PostureAssessed", text], ["FindingReported", text]]
    found = posture or await look.heard.hits("FindingReported", text, "name")
    return About({}, list(dict.fromkeys(links)), words) if found else None


def _counted(number: int, of: str) -> str:
    return f"{number} {of}{'' if number == 1 else 's'}"


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False
