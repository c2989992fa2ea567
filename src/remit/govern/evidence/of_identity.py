"""Mechanisms of identity: who exists, who answers for them, and how they prove it."""

from __future__ import annotations

from remit.domain.decision import Reason
from remit.domain.freeze import Reach
from remit.formats.log_words import happened, refused

from .mechanism import Mechanism, Present, Standing, each, off, on, partly, some


def _inventory(p: Present) -> Standing:
    agents = p.catalogue.agents
    if not agents:
        return off("no agent is registered")
    orphaned = [f"{name} ({one.owner})" for name, one in sorted(agents.items()) if one.owner in p.gone]
    named = ((agents, "agent"), (p.catalogue.purposes, "purpose"), (p.catalogue.tools, "tool"))
    said = ", ".join(some(len(ones), noun) for ones, noun in named) + "; each agent has one owner"
    return each(orphaned, len(agents), "whoever answers for them has left", said)


def _attestation(p: Present) -> Standing:
    agents = p.catalogue.agents
    if not agents:
        return off("no agent is registered")
    ways = sorted({rule.kind for one in agents.values() for rule in one.attestations})
    return on(f"{some(len(agents), 'agent')}, proved by {', '.join(ways)}")


def _bound_tokens(p: Present) -> Standing:
    agents = p.catalogue.agents
    if not agents:
        return off("no agent is registered, so no token is issued")
    loose = sorted(name for name, one in agents.items() if any(rule.bearer for rule in one.attestations))
    said = "every token is bound to a key that its agent proved (RFC 9449)"
    return each(loose, len(agents), "may have a token that is bound to no key", said)


def _sign_in(p: Present) -> Standing:
    overdue = [f"the key of {name} is good for more than a year" for name in p.long_keys[:20]]
    if not p.catalogue.providers:
        return partly("no identity provider: people come with keys and links that operators make", *overdue)
    return on(f"people sign in with {', '.join(sorted(p.catalogue.providers))}", *overdue)


def _departures(p: Present) -> Standing:
    owners = sorted({one.owner for one in p.catalogue.agents.values()} & p.gone)
    overdue = [f"{name} left, and what they answer for is not frozen" for name in owners if not _stopped(p, name)]
    if not p.catalogue.transmitters:
        return partly("no system tells that somebody left: an operator has to say so", *overdue)
    return on(f"told by {', '.join(sorted(p.catalogue.transmitters))}", *overdue)


def _stopped(p: Present, person: str) -> bool:
    return any(p.frozen.found(reach, name) for reach, name in ((Reach.OWNER, person), (Reach.EVERYTHING, "")))


def _posture(p: Present) -> Standing:
    needing = p.purposes(lambda one: bool(one.needs))
    if not needing and not p.asks_posture:
        return off("no purpose and no policy asks anything of an agent's surroundings")
    said = f"needed by {', '.join(needing[:20])}" if needing else "asked by policies"
    return on(said)


MECHANISMS = (
    Mechanism(
        "inventory",
        "Every agent, purpose and tool is registered, and each agent has exactly one person who answers for it.",
        (happened("CatalogueApplied"),),
        _inventory,
    ),
    Mechanism(
        "attestation",
        "An agent proves what it is by evidence, and again when that is old.",
        (
            *map(happened, ("AgentProved", "IdentitySuperseded", "SvidIssued")),
            refused(Reason.IDENTITY_STALE.value),
        ),
        _attestation,
    ),
    Mechanism(
        "bound-tokens",
        "Tokens are bound to the key of whom they were issued to, and to one audience.",
        tuple(map(happened, ("TaskProposed", "TokenIssued", "TransactionTokenIssued", "TransactionTokenDenied"))),
        _bound_tokens,
    ),
    Mechanism(
        "sign-in",
        "People, operators and auditors are known by name, in sessions and with keys that end.",
        tuple(map(happened, ("SessionBegan", "SessionEnded", "AccessKeyCreated", "AccessKeyEnded"))),
        _sign_in,
    ),
    Mechanism(
        "departures",
        "When somebody leaves or their session is revoked, what they began ends.",
        tuple(map(happened, ("PersonLeft", "SignalHeeded"))),
        _departures,
    ),
    Mechanism(
        "posture",
        "An agent works only where its surroundings are known to be as a purpose or policy needs.",
        (*map(happened, ("PostureAssessed", "PostureLapsed")), refused(Reason.POSTURE_UNMET.value)),
        _posture,
    ),
)
