"""What a NATS user may do: `publish` and `subscribe`, each subject in parts, and nothing that is not written.

The parts of a subject are joined with `.`. `exact` is that subject, `each` is one more part, whatever it is, `under` is
everything below. What a part holds is text: a dot, a wildcard, a space in it is refused, so no parameter reaches
further. What begins with `$` or `_` is the servers' own and other people's inboxes, and cannot be granted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from remit.domain.errors import BadField
from remit.domain.flow import Json
from remit.formats.nats_jwt import Permissions

_KNOWN = ("publish", "subscribe", "inbox", "responses", "within", "subscriptions", "payload", "source_address")
_FORMS = {"exact": "", "each": ".*", "under": ".>"}
_HOLE = re.compile(r"\{[a-z_][a-z0-9_]*\}\Z")
_SHAPE = "must be a list of {exact = [...]}, {each = [...]} or {under = [...]}"


def parse(grants: Mapping[str, Json], inbox: str) -> Permissions:
    """What they come to, or `BadField`; `inbox` is where this user hears answers, if it may ask."""
    for key in grants.keys() - set(_KNOWN):
        raise BadField(f"grants.{key}", f"is not known here; known: {', '.join(_KNOWN)}")
    publish, subscribe = _subjects(grants, "publish"), _subjects(grants, "subscribe")
    asks, responses = grants.get("inbox", False), _number(grants, "responses", 0, 0, 1000)
    if not isinstance(asks, bool):
        raise BadField("grants.inbox", "must be true or false")
    if asks and not publish:
        raise BadField("grants.inbox", "is for answers to what is published, and nothing is")
    if responses and not subscribe:
        raise BadField("grants.responses", "is for messages that are subscribed to, and nothing is")
    if not publish and not subscribe:
        raise BadField("grants.publish", "says nothing that may be done; nor does grants.subscribe")
    return Permissions(
        publish,
        [*subscribe, *([f"{inbox}.>"] if asks else [])],
        responses,
        _number(grants, "within", 5, 1, 3600),
        _number(grants, "subscriptions", 20, 1, 10_000),
        _number(grants, "payload", 65_536, 1, 67_108_864),
        _sources(grants),
    )


def holes(grants: Mapping[str, Json]) -> bool:
    """Whether a parameter that they need was not stated."""
    entries: list[Any] = [*(grants.get("publish") or ()), *(grants.get("subscribe") or ())]  # type: ignore[misc]
    parts = [part for entry in entries for value in entry.values() if not isinstance(value, str) for part in value]
    queues = [entry.get("queue", "") for entry in entries]
    return any(_HOLE.match(str(text)) for text in (*parts, *queues))


def _subjects(grants: Mapping[str, Json], kind: str) -> list[str]:
    entries = grants.get(kind, ())
    if not isinstance(entries, list | tuple) or len(entries) > 100:
        raise BadField(f"grants.{kind}", _SHAPE)
    return list(dict.fromkeys(_subject(entry, kind) for entry in entries))


def _subject(entry: Json, kind: str) -> str:
    found = dict(entry) if isinstance(entry, Mapping) else {}
    queue = found.pop("queue", "")
    form = next(iter(found), "")
    if len(found) != 1 or form not in _FORMS:
        raise BadField(f"grants.{kind}", _SHAPE)
    parts = found[form]
    if not isinstance(parts, list | tuple) or not 0 < len(parts) <= 16 or not all(map(_is_part, parts)):
        raise BadField(f"grants.{kind}", "must be parts without dots, wildcards and spaces")
    if str(parts[0])[0] in "$_":
        raise BadField(f"grants.{kind}", "may not begin with $ or _, which are not a task's")
    if "queue" in entry and (kind == "publish" or not _is_part(queue)):  # type: ignore[operator]
        raise BadField(f"grants.{kind}", "has a queue that is no name, or none to wait in")
    return ".".join(map(str, parts)) + _FORMS[form] + (f" {queue}" if queue else "")


def _is_part(part: Json) -> bool:
    return (
        isinstance(part, str)
        and 0 < len(part) <= 128
        and part.isprintable()
        and not any(map(part.__contains__, " .*>"))
    )


def _number(grants: Mapping[str, Json], key: str, usual: int, least: int, most: int) -> int:
    value = grants.get(key, usual)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadField(f"grants.{key}", f"must be {least} to {most}")
    return value


def _sources(grants: Mapping[str, Json]) -> Sequence[str]:
    values = grants.get("source_address", ())
    if not isinstance(values, list | tuple) or len(values) > 50:
        raise BadField("grants.source_address", "must be a list of networks")
    try:
        # A host's address with a prefix is refused: it would mean more than it says.
        return [str(ip_network(str(value))) for value in values]
    except ValueError:
        raise BadField("grants.source_address", "must be networks such as 10.0.0.0/8") from None
