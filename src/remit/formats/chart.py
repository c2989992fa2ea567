"""Steps as they are imported and kept: every name once, and each step as three numbers.

    {"nodes": ["aws-user:…", …], "rules": [["aws-may", "s3:GetObject"], …], "steps": [source, target, rule, …]}

A node is `kind:name` of an export, never of the catalogue: nobody imports what only the catalogue may say.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from remit.domain.errors import BadField
from remit.domain.reach import Step

NODES, STEPS, RULES, LONGEST = 250_000, 500_000, 50_000, 512
_WORD = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")


class Packed(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The wire shape."""

    nodes: list[str]
    rules: list[tuple[str, str]]
    steps: list[int]


def pack(steps: Iterable[Step]) -> Packed:
    """Each step once, in the order they came."""
    nodes: dict[str, int] = {}
    rules: dict[tuple[str, str], int] = {}
    found: dict[tuple[int, int, int], None] = {}
    for step in steps:
        ends = nodes.setdefault(step.source, len(nodes)), nodes.setdefault(step.target, len(nodes))
        found[(*ends, rules.setdefault((step.how, step.detail), len(rules)))] = None
    return Packed(list(nodes), list(rules), [number for three in found for number in three])


def checked(packed: Packed, forbidden: Collection[str]) -> str:
    """The text that is kept of it; `BadField` for what does not fit together, is too much, or of a `forbidden` kind."""
    for name, found, most in (
        ("nodes", packed.nodes, NODES),
        ("rules", packed.rules, RULES),
        ("steps", packed.steps, STEPS * 3),
    ):
        if len(found) > most:
            raise BadField(name, f"are more than {most:,}", next_step="Import parts of it under names of their own.")
    if len(set(packed.nodes)) != len(packed.nodes):
        raise BadField("nodes", "has the same one twice")
    for place, node in enumerate(packed.nodes):
        kind, colon, name = node.partition(":")
        if not colon or not name or not _WORD.match(kind) or kind in forbidden or not _fits(node):
            raise BadField(f"nodes[{place}]", f"must be KIND:NAME of an export, printable, of {LONGEST} characters")
    for place, (how, detail) in enumerate(packed.rules):
        if not _WORD.match(how) or not _fits(how) or not _fits(detail):
            raise BadField(f"rules[{place}]", f"must be a rule's id and printable text of {LONGEST} characters")
    _check_numbers(packed)
    return msgspec.json.encode(packed).decode()


def _fits(text: str) -> bool:
    return len(text) <= LONGEST and text.isprintable()


def _check_numbers(packed: Packed) -> None:
    if len(packed.steps) % 3:
        raise BadField("steps", "must be source, target, rule, and so on")
    for column, most in enumerate((len(packed.nodes), len(packed.nodes), len(packed.rules))):
        column_of: Sequence[int] = packed.steps[column::3]
        if column_of and (min(column_of) < 0 or max(column_of) >= most):
            raise BadField("steps", "names something that is not there")


def unpack(text: str) -> Iterator[Step]:
    """The steps of a text that `checked` made."""
    packed = msgspec.json.decode(text, type=Packed)
    nodes, rules, numbers = packed.nodes, packed.rules, packed.steps
    for source, target, rule in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True):
        yield Step(nodes[source], nodes[target], *rules[rule])
