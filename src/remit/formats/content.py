"""What a tool returned, taken apart into fields, each with the trust of whoever can write it.

Structured content is walked as it is. A text is one field, unless the tool's reviewed entry says that it is JSON or
YAML:
otherwise whoever can write into a text could write fields into it. MCP's text blocks are texts. YAML with anchors or
tags is a text: nothing here expands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import yaml

from remit.domain.flow import Json, Trust

DEPTH, FIELDS = 32, 20_000
FORMATS = ("", "json", "yaml")


class TooMuch(Exception):
    """Deeper or longer than is taken apart; what came before it stands."""


def fields(
    content: Json, written: str, trust: Trust, by_name: Mapping[str, Trust]
) -> Iterator[tuple[str, Json, Trust]]:
    """(name of the nearest field, scalar, trust) of everything in it; raises `TooMuch` at the limits.

    `written` is how its texts are written, one of `FORMATS`. What is under a field that `by_name` names has its trust;
    keys of a mapping are data like the rest.
    """
    count = 0
    waiting: list[tuple[str, Json, Trust, int]] = [("", _opened(content, written), trust, 0)]
    while waiting:
        name, value, owed, depth = waiting.pop()
        count += 1
        if depth > DEPTH or count > FIELDS:
            raise TooMuch
        if isinstance(value, Mapping):
            for key, below in value.items():
                known = by_name.get(key)
                if known is None:
                    yield name, key, owed
                waiting.append((key, below, owed if known is None else known, depth + 1))
        elif isinstance(value, list | tuple):
            waiting += [(name, below, owed, depth + 1) for below in value]
        else:
            yield name, value, owed


def _opened(content: Json, written: str) -> Json:
    if isinstance(content, list | tuple):
        return [_opened(each, written) if isinstance(each, str) else each for each in map(_block, content)]
    if not isinstance(content, str):
        return content
    found = _json(content) if written == "json" else _yaml(content) if written == "yaml" else content
    return found if isinstance(found, Mapping | list) else content


def _block(each: Json) -> Json:
    if isinstance(each, Mapping) and each.get("type") == "text" and isinstance(each.get("text"), str):
        return each["text"]
    return each


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text


def _yaml(text: str) -> Any:
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.CBaseLoader):
            if isinstance(event, yaml.CollectionStartEvent | yaml.ScalarEvent) and (event.anchor or event.tag):
                return text
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEPTH or isinstance(event, yaml.AliasEvent):
                return text
        return yaml.load(text, Loader=yaml.CBaseLoader)  # noqa: S506 - the base loader makes texts alone
    except (yaml.YAMLError, ValueError):
        return text
