"""Which policies can match a request, and which of its context they read.

A policy's head (`principal == …`, `action in …`, `resource == …`) puts it into a bucket. A slice is the
buckets a request can fall into: everything that could match, so leaving the rest out changes nothing.
"""

from __future__ import annotations

import json
from collections import OrderedDict, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Generic, TypeVar

import cedarpy

from remit.domain.decision import Facts

from .reading import PolicyInfo

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Path = tuple[str, ...]
ANY = ""


class Bounded(Generic[K, V]):
    """A least-recently-used map of immutable values."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, now the most recently used; or None."""
        found = self._items.get(key)
        if found is not None:
            self._items.move_to_end(key)
        return found

    def put(self, key: K, value: V) -> None:
        """Keep it, and forget the least recently used beyond the size."""
        self._items[key] = value
        if len(self._items) > self._size:
            self._items.popitem(last=False)


@dataclass(frozen=True)
class Slice:
    """The policies that can match, compiled, and the context paths any of them reads ((): all of it)."""

    policies: tuple[PolicyInfo, ...]
    compiled: cedarpy.PolicySet
    reads: frozenset[Path]


class Slices:
    """Index of policies by head; slices are compiled when first wanted and kept, at most `size` of them."""

    def __init__(self, policies: Iterable[PolicyInfo], size: int = 4096) -> None:
        self._buckets: dict[tuple[str, str, str], list[PolicyInfo]] = defaultdict(list)
        self._kept: Bounded[tuple[str, ...], Slice] = Bounded(size)
        self._interned: Bounded[tuple[str, ...], Slice] = Bounded(size)
        for info in policies:
            for bucket in product(_principals(info.body), _actions(info.body), _resources(info.body)):
                self._buckets[bucket].append(info)

    def of(self, facts: Facts) -> Slice:
        """The slice for this agent, purpose, action and resource."""
        asked = (facts.agent, facts.purpose, facts.action, facts.resource_type, facts.resource)
        found = self._kept.get(asked)
        if found is None:
            found = self._build(facts)
            self._kept.put(asked, found)
        return found

    def _build(self, facts: Facts) -> Slice:
        principals = (ANY, f"Agent::{facts.agent}", f"Purpose::{facts.purpose}")
        actions = (ANY, facts.action, "call") if facts.resource_type == "Tool" else (ANY, facts.action)
        wanted = product(principals, actions, (ANY, f"{facts.resource_type}::{facts.resource}"))
        policies = {info.id: info for bucket in wanted for info in self._buckets.get(bucket, ())}
        names = tuple(sorted(policies))
        same = self._interned.get(names)
        if same is None:
            document = {
                "staticPolicies": {n: policies[n].body for n in names},
                "templates": {},
                "templateLinks": [],
            }
            chosen = tuple(policies[n] for n in names)
            reads = frozenset(path for info in chosen for path in context_reads(info.body))
            same = Slice(chosen, cedarpy.PolicySet.from_json_str(json.dumps(document)), reads)
            self._interned.put(names, same)
        return same


def _name(entity: Mapping[str, Any]) -> str:
    kind = str(entity["type"]).removeprefix("Remit::")
    return f"{kind}::{entity['id']}"


def _principals(body: Mapping[str, Any]) -> list[str]:
    head = body["principal"]
    # Only `==` and plain `in` are certain; anything else could match anybody.
    return [_name(head["entity"])] if head["op"] in ("==", "in") and "entity" in head else [ANY]


def _resources(body: Mapping[str, Any]) -> list[str]:
    head = body["resource"]
    return [_name(head["entity"])] if head["op"] == "==" and "entity" in head else [ANY]


def _actions(body: Mapping[str, Any]) -> list[str]:
    head = body["action"]
    if head["op"] not in ("==", "in"):
        return [ANY]
    entities = head["entities"] if "entities" in head else [head["entity"]]
    return sorted({str(entity["id"]) for entity in entities})


def context_reads(body: Mapping[str, Any]) -> Iterator[Path]:
    """Every path under `context` that any condition looks at; () when one looks at the whole of it."""
    for condition in body.get("conditions", ()):
        yield from _reads(condition["body"])


def _reads(expression: Any) -> Iterator[Path]:
    path = _path(expression)
    if path is not None:
        yield path
    elif isinstance(expression, Mapping):
        for part in expression.values():
            yield from _reads(part)
    elif isinstance(expression, list):
        for part in expression:
            yield from _reads(part)


def _path(expression: Any) -> Path | None:
    """The path of `context`, `context.a`, `context.a.b`, `context has a`; None for any other expression."""
    match expression:
        case {"Var": "context"}:
            return ()
        case {".": {"left": left, "attr": str(attribute)}} | {"has": {"left": left, "attr": str(attribute)}}:
            below = _path(left)
            return None if below is None else (*below, attribute)
    return None
