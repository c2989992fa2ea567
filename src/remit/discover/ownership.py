"""Who may answer for what was found, with the evidence: a proposal for a person to confirm, never more.

Sources, the best first: CODEOWNERS, a catalogue-info file, labels and annotations of manifests, tags in a cloud's
export, and who changed the file most (git). A directory's groups (SCIM, RFC 7643) say who is in a team that was named.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from threading import Timer
from typing import Any

from remit.domain.discovery import Place, Proposal, Thing

from .data import documents, parsed
from .files import read_bounded
from .owners import Owners

MOST = 10  # proposals for one thing
COMMITS = 500
SECONDS = 5.0
OUTPUT = 2 * 1024 * 1024
_WEIGHTS = {"CODEOWNERS": 100, "catalog-info": 90, "label": 80, "tag": 70, "git": 50}
_NAMES_ONE = re.compile(
    r"(?:[\w.-]+/)?(?:owner|owned[-_]by|owner[-_]?email|team|contact|maintainer)s?\Z", re.IGNORECASE
)
_IS_NAME = re.compile(r"(?:\w*Name|name|id|Arn|arn)")
_MACHINE = re.compile(r"noreply|no-reply|\[bot\]|\bbot@|actions@", re.IGNORECASE)
# A repository's own settings may name programs that `git log` would run, and a partial clone fetches.
_SAFE = (
    *("-c", "log.showSignature=false", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"),
    *("-c", "protocol.allow=never", "-c", "core.pager=cat", "-c", "mailmap.blob=", "-c", "log.mailmap=false"),
)
_ALONE = {
    "LC_ALL": "C",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
}


def proposals(
    root: Path, things: Sequence[Thing], exports: Sequence[Path] = (), directory: Path | None = None
) -> dict[str, tuple[Proposal, ...]]:
    """By the path of each thing: the best first, each said once."""
    folder = root if root.is_dir() else root.parent
    owners = Owners.of(folder)
    paths = list(dict.fromkeys(thing.place.path for thing in things))[:1000]
    changed = _git(folder, paths)
    tagged = list(islice(_tags(exports, {thing.name for thing in things}), 1000))
    groups = _groups(directory)
    found = {}
    for path in paths:
        names = {thing.name for thing in things if thing.place.path == path}
        every = [
            *_codeowners(owners, path),
            *_manifests(folder, path),
            *(proposal for named, proposal in tagged if named in names),
            *_changers(path, changed.get(path, Counter())),
        ]
        best: dict[tuple[str, str], Proposal] = {}
        for one in [*every, *_members(every, groups, directory)]:
            best.setdefault((one.who, one.source), one)
        found[path] = tuple(sorted(best.values(), key=lambda p: (-p.weight, p.who))[:MOST])
    return found


def _who(text: Any) -> str:
    return str(text).strip()[:200] if isinstance(text, str) and text.strip() else ""


def _codeowners(owners: Owners, path: str) -> Iterator[Proposal]:
    said, line = owners.said(path)
    for who in said.split():
        yield Proposal(_who(who), "CODEOWNERS", Place(owners.place, line), _WEIGHTS["CODEOWNERS"])


def _manifests(folder: Path, path: str) -> Iterator[Proposal]:
    """Of the file itself, and of catalogue-info files in its folder and those above it."""
    above = [parent / "catalog-info.yaml" for parent in Path(path).parents][:12]
    for place in dict.fromkeys([path, *(one.as_posix() for one in above)]):
        data = read_bounded(folder / place) if place.endswith((".yaml", ".yml")) else None
        text = data.decode("utf-8", "replace") if data else ""
        said = (one for document in (documents(text) if text else ()) for one in _said_in(document))
        for kind, who in islice(said, MOST):
            at = text.find(who)
            yield Proposal(who, kind, Place(place, text.count("\n", 0, at) + 1 if at >= 0 else 0), _WEIGHTS[kind])


def _said_in(document: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(document, dict):
        return
    spec, meta = document.get("spec"), document.get("metadata")
    if str(document.get("apiVersion", "")).startswith("backstage.io/") and isinstance(spec, dict):
        who = _who(spec.get("owner"))
        yield from [("catalog-info", who)] if who else []
    for where in ("labels", "annotations"):
        named = meta.get(where) if isinstance(meta, dict) else None
        for key, text in named.items() if isinstance(named, dict) else ():
            if _NAMES_ONE.match(str(key)) and _who(text):
                yield "label", _who(text)


def _tags(exports: Sequence[Path], wanted: Collection[str]) -> Iterator[tuple[str, Proposal]]:
    """(name of the tagged thing, who) of every object in an export that has a name of these, and tags."""
    for path in exports[:20]:
        data = read_bounded(path)
        text = data.decode("utf-8", "replace") if data else ""
        waiting = [parsed(text, ".json")]
        while waiting:
            one = waiting.pop()
            if isinstance(one, list):
                waiting += one
            elif isinstance(one, dict):
                waiting += one.values()
                names = {_who(one[key]) for key in one if _IS_NAME.fullmatch(key)} & set(wanted)
                for who in islice(_tagged(one.get("Tags", one.get("tags", one.get("labels")))), MOST if names else 0):
                    at = text.find(f'"{who}"')
                    place = Place(str(path), text.count("\n", 0, at) + 1 if at >= 0 else 0)
                    yield from ((name, Proposal(who, "tag", place, _WEIGHTS["tag"])) for name in names)


def _tagged(tags: Any) -> Iterator[str]:
    """AWS writes a list of keys and values, Azure and Google an object."""
    if isinstance(tags, list):
        tags = {
            one.get("Key"): one.get("Value")
            for one in tags
            if isinstance(one, dict) and isinstance(one.get("Key"), str)
        }
    for key, text in tags.items() if isinstance(tags, dict) else ():
        if _NAMES_ONE.match(str(key)) and _who(text):
            yield _who(text)


def _git(folder: Path, paths: Sequence[str]) -> Mapping[str, Counter[str]]:
    """Who changed each path, by the newest commits that changed any of them; nothing where there is no git."""
    if not paths:
        return {}
    asked = ["log", f"-n{COMMITS}", "--no-show-signature", "--no-ext-diff", "--no-textconv", "--no-renames"]
    shown = ["--relative", "-z", "--name-only", "--format=%x01%ae"]
    env = {**_ALONE, **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}}
    command = ["git", "-C", str(folder), *_SAFE, *asked, *shown, "--", *paths]
    try:
        child = subprocess.Popen(  # noqa: S603 - its words are ours, and the paths come after `--`
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
    except OSError:
        return {}
    late = Timer(SECONDS, child.kill)
    late.start()
    with child:
        assert child.stdout is not None
        out = child.stdout.read(OUTPUT)
        child.kill()
    late.cancel()
    found: dict[str, Counter[str]] = {}
    for commit in out.decode("utf-8", "replace").split("\x01")[1:]:
        who, *changed = re.split(r"[\0\n]+", commit)
        if who and not _MACHINE.search(who):
            for path in filter(None, changed):
                found.setdefault(path, Counter())[who[:200]] += 1
    return found


def _changers(path: str, counted: Counter[str]) -> Iterator[Proposal]:
    total = sum(counted.values())
    for who, times in counted.most_common(3):
        yield Proposal(who, f"git, {times} of {total} changes", Place(path), _WEIGHTS["git"] * times // total)


def _groups(directory: Path | None) -> Mapping[str, tuple[str, ...]]:
    """displayName → members of a SCIM list of groups."""
    data = read_bounded(directory) if directory else None
    whole = parsed(data.decode("utf-8", "replace"), ".json") if data else None
    groups = whole.get("Resources") if isinstance(whole, dict) else None
    found: dict[str, tuple[str, ...]] = {}
    for group in groups if isinstance(groups, list) else ():
        if isinstance(group, dict) and _who(group.get("displayName")):
            members = group.get("members")
            named = (
                [_who(m.get("display") or m.get("value")) for m in members if isinstance(m, dict)]
                if isinstance(members, list)
                else []
            )
            found[_who(group["displayName"]).casefold()] = tuple(filter(None, named))
    return found


def _members(
    named: Sequence[Proposal], groups: Mapping[str, tuple[str, ...]], directory: Path | None
) -> Iterator[Proposal]:
    for one in named:
        team = one.who.rpartition("/")[2].lstrip("@").casefold()
        for who in groups.get(team, ())[:MOST]:
            yield Proposal(who, f"member of {team} ({one.source})", Place(str(directory)), one.weight - 1)
