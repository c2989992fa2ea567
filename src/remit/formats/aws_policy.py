"""AWS IAM policy documents (IAM JSON policy elements reference): what a set of statements allows.

An explicit Deny wins over any Allow. A condition on something that is not known here may be met, so an Allow holds and
a Deny does not count on it: a path is shown if it may be there. What can be known (the date, the service that a role is
passed to, that a session is new) is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

ANY = ""


@dataclass(frozen=True)
class Statement:
    """One statement. `actions` and `resources` may be those that are *not* meant."""

    allows: bool
    actions: tuple[str, ...]
    not_actions: bool
    resources: tuple[str, ...]
    not_resources: bool
    conditions: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    principals: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def covers(self, action: str, resource: str) -> bool:
        """Whether action and resource are meant; actions are compared without case. ANY is some resource: an Allow
        covers it if it covers one, a Deny if it leaves none.
        """
        if action == "*" and self.not_actions:  # everything but these is not everything
            return False
        if any(matches(pattern.lower(), action.lower()) for pattern in self.actions) is self.not_actions:
            return False
        if resource == ANY:
            return self.allows or ("*" in self.resources and not self.not_resources)
        return any(matches(pattern, resource) for pattern in self.resources) is not self.not_resources


def parse(document: Any) -> tuple[Statement, ...]:
    """Statements of a document; what is malformed is left out, since AWS would not have taken it."""
    found = document.get("Statement") if isinstance(document, dict) else None
    statements = found if isinstance(found, list) else [found]
    return tuple(
        _statement(one) for one in statements if isinstance(one, dict) and one.get("Effect") in ("Allow", "Deny")
    )


def _statement(one: Mapping[str, Any]) -> Statement:
    conditions = {
        str(test): {str(key): _texts(value) for key, value in wanted.items()}
        for test, wanted in (one.get("Condition") or {}).items()
        if isinstance(wanted, dict)
    }
    said = one.get("Principal")
    principals = (
        {"AWS": ("*",)}
        if said == "*"
        else {str(k): _texts(v) for k, v in said.items()}
        if isinstance(said, dict)
        else {}
    )
    return Statement(
        one["Effect"] == "Allow",
        _texts(one.get("Action", one.get("NotAction"))),
        "NotAction" in one,
        _texts(one.get("Resource", one.get("NotResource", "*"))),
        "NotResource" in one,
        conditions,
        principals,
    )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(part) for part in value) if isinstance(value, list) else () if value is None else (str(value),)


def allowed(
    statements: Sequence[Statement], action: str, resource: str, facts: Mapping[str, str] | None = None
) -> bool:
    """Whether these allow the action on this resource. `facts` are values of condition keys; others are unknown."""
    known = facts or {}
    allows = False
    for one in statements:
        if not one.covers(action, resource):
            continue
        if not one.allows and _met(one.conditions, known, unknown=False):
            return False
        allows = allows or (one.allows and _met(one.conditions, known, unknown=True))
    return allows


def _met(conditions: Mapping[str, Mapping[str, tuple[str, ...]]], facts: Mapping[str, str], *, unknown: bool) -> bool:
    return all(
        _holds(test, facts.get(key.lower()), values, unknown)
        for test, wanted in conditions.items()
        for key, values in wanted.items()
    )


def _holds(test: str, value: str | None, wanted: Sequence[str], unknown: bool) -> bool:
    name = re.sub(r"^(?:ForAnyValue|ForAllValues):|IfExists$", "", test)
    if value is None:
        return unknown
    compare = _TESTS.get(name)
    if compare is None:
        return unknown
    negated = name in _NEGATED
    return (any if not negated else all)(compare(value, one) for one in wanted)


def _instant(text: str) -> float:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else datetime.now(UTC).timestamp()


_TESTS: Mapping[str, Any] = {
    "StringEquals": lambda a, b: a == b,
    "StringNotEquals": lambda a, b: a != b,
    "StringEqualsIgnoreCase": lambda a, b: a.lower() == b.lower(),
    "StringLike": lambda a, b: matches(b, a),
    "StringNotLike": lambda a, b: not matches(b, a),
    "ArnEquals": lambda a, b: matches(b, a),
    "ArnLike": lambda a, b: matches(b, a),
    "Bool": lambda a, b: a.lower() == b.lower(),
    "DateLessThan": lambda a, b: _instant(a) < _instant(b),
    "DateLessThanEquals": lambda a, b: _instant(a) <= _instant(b),
    "DateGreaterThan": lambda a, b: _instant(a) > _instant(b),
    "DateGreaterThanEquals": lambda a, b: _instant(a) >= _instant(b),
}
_NEGATED = frozenset({"StringNotEquals", "StringNotLike"})


def matches(pattern: str, text: str) -> bool:
    """AWS wildcards: `*` any run, `?` any one character, `${…}` whatever it stands for."""
    return pattern == "*" or _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=8192)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*+|\?|\$\{[^}]*\})", pattern)
    return re.compile("".join(_part(part) for part in parts), re.DOTALL)


def _part(part: str) -> str:
    if part.startswith(("*", "${")):
        return ".*"
    return "." if part == "?" else re.escape(part)


def services(statements: Sequence[Statement]) -> Iterator[str]:
    """The services that a trust policy lets assume its role."""
    for one in statements:
        if one.allows and one.covers("sts:AssumeRole", ANY):
            yield from one.principals.get("Service", ())
