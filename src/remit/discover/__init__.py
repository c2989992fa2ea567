"""Scan: what agents, servers, pipelines and secrets are in a tree, a home, or among what runs here.

A reader looks at one file and says what it found; to add one, write it and put it into `READERS`. No reader asks
anybody anything, starts anything, or keeps a secret: what leaves a scan has fingerprints. Whether what was found is
still good is asked only of a scan that says so, after everything was read (`verify`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from remit.domain.discovery import Flaw, Noun, Place, Scan, Severity, Thing
from remit.domain.leak import Live

from . import agent_configs, agents_in_code, credentials, manifests, pipelines, processes, talk, verify
from .files import File, walk
from .found import Found
from .owners import Owners
from .rules import RULES
from .scanners import Hit, NoScanner, detect_secrets, kingfisher
from .values import Fingerprints, is_reference
from .verify import Door

READERS: tuple[Callable[[File], Found | None], ...] = (
    agent_configs.read,
    pipelines.read,
    manifests.read,
    agents_in_code.read,
    credentials.read,
)


@dataclass(frozen=True)
class Looked:
    """What to look at besides the tree. `scanners` off: only our own readers. `verify`: ask whether it is good."""

    history: bool = False
    running: bool = False
    scanners: bool = True
    verify: bool = False


def scan(
    roots: Sequence[Path],
    fingerprints: Fingerprints,
    looked: Looked,
    told: Callable[[str, int], None] = lambda *_: None,
) -> Scan:
    """Look at these trees (or files). `told` hears what is going on, and how many files so far."""
    things: list[Thing] = []
    flaws: list[Flaw] = []
    without: list[str] = []
    files = 0
    doors: list[Door] = []
    for root in roots:
        seen: set[tuple[str, int]] = set()
        readable: list[str] = []
        owners = Owners.of(root)
        for file in walk(root, lambda n: told("reading", n)):
            files += 1
            readable += [file.path] if file.text is not None else []
            doors += verify.doors(file.text or "") if looked.verify else ()
            for reader in READERS:
                found = reader(file)
                if found is None:
                    continue
                things += [replace(_owned(thing, owners), root=str(root)) for thing in found.things]
                fresh = [s for s in found.secrets if (s[1].path, s[1].line) not in seen]
                seen |= {(s[1].path, s[1].line) for s in fresh}
                flaws += [milder(flaw) for flaw in Found(flaws=found.flaws, secrets=fresh).told(fingerprints)]
        said, large, left = talk.read(root, lambda n: told("reading logs and transcripts", n))
        here = {(flaw.place.path, flaw.fingerprint) for flaw in flaws}
        logged = [milder(flaw) for flaw in said.told(fingerprints)]
        flaws += [flaw for flaw in logged if (flaw.place.path, flaw.fingerprint) not in here]
        seen |= {(flaw.place.path, flaw.place.line) for flaw in logged}
        files += large
        without += left.said()
        if looked.scanners:
            hits, missing = _scanned(root, readable, looked, told)
            without += missing
            flaws += _flaws(hits, seen, fingerprints)
        flaws += _unowned(things, owners)
    if looked.running:
        found = processes.read()
        things += found.things
        flaws += found.told(fingerprints)
    if doors:
        told("asking whether it is still good", 0)
        flaws, unasked = _asked(flaws, doors, fingerprints)
        without += unasked
    order = sorted(set(flaws), key=lambda f: (-f.severity, f.rule, f.place, f.what))
    return Scan(tuple(things), tuple(order), files, tuple(dict.fromkeys(without)))


_TRIED = re.compile(
    r"(?:^|/)(?:tests?|__tests__|testdata|fixtures?|specs?|examples?|samples?|mocks?)/|(?:^|/)test_[^/]*$|_test\.\w+$"
)


def milder(flaw: Flaw) -> Flaw:
    """In a test or an example one step less: it is likely made up, and may still be real."""
    if not flaw.fingerprint or not _TRIED.search(flaw.place.path):
        return flaw
    return replace(flaw, severity=Severity(max(flaw.severity - 2, Severity.LOW)))


def _asked(flaws: Sequence[Flaw], doors: Sequence[Door], fingerprints: Fingerprints) -> tuple[list[Flaw], list[str]]:
    """The same flaws with what was answered."""
    known, unasked = verify.verified(doors)
    good = {fingerprints.of(secret): said for secret, said in known.items() if said is not Live.UNKNOWN}
    live = {key: said.value for key, said in good.items()}
    return [replace(flaw, live=live.get(flaw.fingerprint, "")) for flaw in flaws], unasked


def _scanned(
    root: Path, paths: Sequence[str], looked: Looked, told: Callable[[str, int], None]
) -> tuple[list[Hit], list[str]]:
    hits: list[Hit] = []
    missing: list[str] = []
    told("asking kingfisher", 0)
    try:
        hits += kingfisher(root, history=looked.history)
    except NoScanner as why:
        missing.append(str(why))
    told("asking detect-secrets", 0)
    try:
        likely = sorted(paths, key=lambda path: Path(path).suffix in credentials.PROGRAM)  # settings before programs
        more, left = detect_secrets(root if root.is_dir() else root.parent, likely)
        hits += more
        missing += [f"detect-secrets came to all but {left} of {len(paths)} files in its time"] if left else []
    except NoScanner as why:
        missing.append(str(why))
    return hits, missing


def _flaws(hits: Sequence[Hit], seen: set[tuple[str, int]], fingerprints: Fingerprints) -> list[Flaw]:
    """What nobody has found yet: our own readers say better where it stands, and what it is for."""
    flaws: list[Flaw] = []
    for hit in hits:
        if is_reference(hit.secret) or (not hit.commit and (hit.path, hit.line) in seen):
            continue
        if not hit.commit:
            seen.add((hit.path, hit.line))
        rule = "secret-in-history" if hit.commit else "secret-in-file"
        rule = "private-key-in-file" if "private" in hit.what.lower() and not hit.commit else rule
        place = Place(hit.path, hit.line, hit.commit)
        flaws.append(milder(Flaw(rule, RULES[rule].severity, place, hit.what, "", fingerprints.of(hit.secret))))
    here = {flaw.fingerprint for flaw in flaws if not flaw.place.commit}
    return [flaw for flaw in flaws if not flaw.place.commit or flaw.fingerprint not in here]


def _owned(thing: Thing, owners: Owners) -> Thing:
    who = owners.who(thing.place.path)
    return replace(thing, facts={**thing.facts, "owner": who}) if who else thing


def _unowned(things: Sequence[Thing], owners: Owners) -> list[Flaw]:
    rule = RULES["nobody-answers"]
    mine = [t for t in things if t.noun in (Noun.AGENT, Noun.PIPELINE) and "owner" not in t.facts]
    return (
        [Flaw(rule.id, rule.severity, t.place, f"{t.noun.value} {t.name}", t.name) for t in mine]
        if owners.known
        else []
    )
