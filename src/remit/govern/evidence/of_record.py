"""Mechanisms of the record: the log, the keys, what is in force, what stops everything, and who else is told."""

from __future__ import annotations

from remit.domain.finding import Severity
from remit.domain.keys import DAY, KeyState, Step, due, in_state
from remit.domain.stream import StreamState
from remit.formats.log_words import happened

from .mechanism import LATE, Mechanism, Present, Standing, each, for_long, off, on, partly, some


def _log(p: Present) -> Standing:
    if p.signed:
        return off(f"the newest checkpoint does not hold: {p.signed}")
    if p.unsequenced_since and p.now - p.unsequenced_since > LATE:
        return off(f"events have no place in the log since {for_long(p.unsequenced_since, p.now)}: nobody sequences")
    return on(f"{some(p.size, 'event')} under a checkpoint that the log's key signed")


def _signing_keys(p: Present) -> Standing:
    uses = sorted({key.use for key in p.keys})
    if not any(in_state([k for k in p.keys if k.use == use], KeyState.CURRENT) for use in uses):
        return off("there is no key that signs")
    late = [use for use in uses if _owed(p, use)]
    newest = f"{some(len(uses), 'use')}, each with a key of its own"
    found = each(late, len(uses), "keys that should have been replaced or destroyed by now", newest)
    return partly(found.says, *(f"the {use} key" for use in late)) if late else on(newest)


def _owed(p: Present, use: str) -> bool:
    """Whether a step was due a day ago."""
    return due([key for key in p.keys if key.use == use], p.now - DAY, p.rotation.of(use)) is not Step.NOTHING


def _change_control(p: Present) -> Standing:
    which = f"catalogue {p.head.digest[:19]}…, revision {p.head.number}"
    said = f"{which}, applied by {p.head.applied_by} {for_long(p.head.applied_at, p.now)} ago"
    if p.head.rollout:
        return partly(f"{said}; another one is in force at {p.head.share} % of the edges")
    return on(said)


def _freeze(p: Present) -> Standing:
    slow = [f.target for f in p.frozen.freezes if not f.reached_at and p.now - f.since > LATE]
    if slow:
        return partly(f"frozen, but something below it still lives: {', '.join(slow[:20])}")
    frozen = ", ".join(one.target for one in p.frozen.freezes[:20])
    return on(
        f"frozen now: {frozen}" if frozen else "nothing is frozen; one command stops an agent, an estate or everything"
    )


def _findings(p: Present) -> Standing:
    if not p.catalogue.stop:
        return off("findings of no severity stop anything")
    old = [one for one in p.findings if one.severity >= Severity.HIGH and p.now - one.found_at > 7 * DAY]
    overdue = [
        f"{one.severity.word} finding about {one.about} is open since {for_long(one.found_at, p.now)}" for one in old
    ]
    words = " or ".join(one.word for one in p.catalogue.stop)
    return on(
        f"findings that are {words} stop what they are about; {some(len(p.findings), 'finding')} open", *overdue[:20]
    )


def _told_elsewhere(p: Present) -> Standing:
    open_ = [one for one in p.streams if one.state is StreamState.ENABLED]
    if not open_:
        return off("no other system is told of what ends here")
    stuck = [f"{one.receiver} (since {for_long(one.failing, p.now)})" for one in open_ if one.failing]
    return each(
        stuck, len(open_), "do not take what they are told", f"told: {', '.join(one.receiver for one in open_)}"
    )


def _edges(p: Present) -> Standing:
    if not p.catalogue.edges:
        return off("there is no edge: when this server is away, nothing is decided and everything is denied")
    absent = [one.name for one in p.edges if not one.seat]
    if absent:
        return each(absent, len(p.edges), "edges that have not come yet", "")
    bad = [f"{one.name} ({one.warnings[0]})" for one in p.edges if one.warnings]
    return each(bad, len(p.edges), "edges with something wrong", f"{some(len(p.edges), 'edge')} decide beside agents")


MECHANISMS = (
    Mechanism(
        "log",
        "Every change has its event in a log that shows if anything in it was edited, dropped, moved or cut off.",
        ("",),
        _log,
    ),
    Mechanism(
        "signing-keys",
        "What Remit signs with is replaced in time, and destroyed when it is over.",
        tuple(map(happened, ("SigningKeyCreated", "SigningKeyPromoted", "SigningKeyRetired", "SigningKeyReplaced"))),
        _signing_keys,
    ),
    Mechanism(
        "change-control",
        "What is permitted changes only by a revision that somebody applied, whole, with what it changes in words.",
        tuple(map(happened, ("CatalogueApplied", "RolloutSet", "RolloutTakenBack"))),
        _change_control,
    ),
    Mechanism(
        "freeze",
        "One command stops an agent, a purpose, a tool, an estate or everything, and what is below it ends.",
        tuple(map(happened, ("Froze", "FreezeReached", "Unfroze"))),
        _freeze,
    ),
    Mechanism(
        "findings",
        "What is found out is on record, and a severe finding stops what it is about.",
        tuple(map(happened, ("FindingReported", "FindingResolved"))),
        _findings,
    ),
    Mechanism(
        "told-elsewhere",
        "Other systems are told of what ends here, and whoever does not take it is seen.",
        tuple(map(happened, ("StreamMade", "SignalsDelivered", "StreamFailing"))),
        _told_elsewhere,
    ),
    Mechanism(
        "edges",
        "Calls are decided beside agents while the centre is away, within a bound, and reported to it.",
        tuple(map(happened, ("EdgeJoined", "TaskEntrusted", "EdgeReported", "TaskReturned"))),
        _edges,
    ),
)
