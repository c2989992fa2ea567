"""Policy text read, annotated and strictly validated, or refused whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import cedarpy

from remit.domain.errors import BadPolicy

from .statements import Statement, statements

TEXT_LIMIT = 8 * 1024 * 1024
COUNT_LIMIT = 20_000
_ANNOTATIONS = frozenset({"id", "approvers", "quorum", "control", "says"})
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}\Z")
_QUOTED = re.compile(r"`([^`]+)`")
_NAMES = re.compile(r"[a-z0-9][a-z0-9._-]*(,[a-z0-9][a-z0-9._-]*)*\Z")


@dataclass(frozen=True)
class PolicyInfo:
    """One policy. `body` is Cedar's JSON form; `approvers` empty means that no approval lifts it."""

    id: str
    file: str
    effect: str
    approvers: tuple[str, ...]
    quorum: int
    control: str
    says: str
    body: Mapping[str, Any]


def default_policy() -> str:
    """The shipped policy's text."""
    return resources.files("remit.policy").joinpath("default.cedar").read_text()


def default_policy_cases() -> str:
    """The shipped policy's own tests."""
    return resources.files("remit.policy").joinpath("default.cases.toml").read_text()


def read(files: Mapping[str, str], schema: str) -> tuple[PolicyInfo, ...]:
    """Every policy of every file, or `BadPolicy` naming the file and the policy; nothing is ever skipped."""
    if sum(map(len, files.values())) > TEXT_LIMIT:
        raise BadPolicy(f"The policies are over {TEXT_LIMIT} characters in all.")
    found: dict[str, PolicyInfo] = {}
    for file, text in sorted(files.items()):
        for info in _read_file(file, text, schema):
            if info.id in found:
                raise BadPolicy(f"{file}: @id({info.id!r}) is also in {found[info.id].file}; ids are unique.")
            found[info.id] = info
    if len(found) > COUNT_LIMIT:
        raise BadPolicy(f"There are more than {COUNT_LIMIT} policies.")
    return tuple(found.values())


def _read_file(file: str, text: str, schema: str) -> Iterator[PolicyInfo]:
    found = statements(file, text)
    try:
        document = json.loads(cedarpy.policies_to_json_str(text))
    except (ValueError, RecursionError) as bad:
        raise BadPolicy(f"{file}:{_line(found)}: {_first(str(bad))}") from bad
    if document.get("templates"):
        raise BadPolicy(f"{file}: templates (?principal, ?resource) are not used here.")
    bodies: Mapping[str, Mapping[str, Any]] = document["staticPolicies"]
    for key in sorted(bodies, key=lambda name: int(name.removeprefix("policy"))):
        yield _info(file, found[int(key.removeprefix("policy"))].line, bodies[key])
    validation = cedarpy.validate_policies(text, schema)
    if not validation.validation_passed:
        lines = []
        for error in validation.errors[:5]:
            name = bodies.get(error.policy_id, {}).get("annotations", {}).get("id", error.policy_id)
            line = found[int(error.policy_id.removeprefix("policy"))].line if error.policy_id in bodies else 1
            lines.append(f"{file}:{line}: @id({name!r}): {_first(error.error.replace(error.policy_id, name))}")
        raise BadPolicy("\n".join(lines), next_step="`remit policy schema` shows what policies may look at.")


def _line(found: Sequence[Statement]) -> int:
    """Where the first policy that Cedar does not take says what it does not take, as far as that can be told."""
    for one in found:
        try:
            cedarpy.policies_to_json_str(one.text)
        except ValueError as bad:
            return one.line_of(next(iter(_QUOTED.findall(str(bad))), ""))
    return 1


def _info(file: str, line: int, body: Mapping[str, Any]) -> PolicyInfo:
    notes: Mapping[str, str] = body.get("annotations", {})
    name = notes.get("id") or ""
    where = f"{file}:{line}"
    if not _ID.match(name):
        raise BadPolicy(
            f"{where}: this policy needs an @id of a-z, 0-9, '.', '_' and '-', such as @id(\"pay-needs-finance\")."
        )
    where = f"{file}:{line}: @id({name!r})"
    unknown = notes.keys() - _ANNOTATIONS
    if unknown:
        raise BadPolicy(
            f"{where}: unknown annotation @{sorted(unknown)[0]}; known: @{', @'.join(sorted(_ANNOTATIONS))}."
        )
    approvers = notes.get("approvers", "").replace(" ", "")
    if ("approvers" in notes and not _NAMES.match(approvers)) or (approvers and body["effect"] != "forbid"):
        raise BadPolicy(f"{where}: @approvers wants group names with commas between, on a forbid.")
    quorum = notes.get("quorum", "1")
    if not re.fullmatch(r"[1-9][0-9]?", quorum) or ("quorum" in notes and not approvers):
        raise BadPolicy(f"{where}: @quorum wants a whole number from 1 to 99, beside @approvers.")
    groups = tuple(approvers.split(",")) if approvers else ()
    says = notes.get("says", "")
    return PolicyInfo(name, file, body["effect"], groups, int(quorum), notes.get("control", ""), says, body)


def _first(message: str) -> str:
    return " ".join(message.split())[:300]
