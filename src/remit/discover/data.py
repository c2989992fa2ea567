"""JSON, YAML and TOML as programs and people write them. Nothing raises, and nothing outgrows the file it was in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

NODES = 200_000  # a few lines of YAML can stand for more than any memory holds
_STRINGS = r'("(?:[^"\\]|\\.)*")'


def parsed(text: str, suffix: str, *, nodes: int = NODES) -> Any:
    """The value, or None for what cannot be read."""
    if suffix == ".toml":
        return _toml(text)
    if suffix in (".yaml", ".yml"):
        return next(documents(text), None)
    try:
        return _bounded(json.loads(text), nodes)
    except (ValueError, RecursionError):
        return _relaxed(text)


def documents(text: str) -> Iterator[Any]:
    """Every document of a YAML file, up to the first that cannot be read. YAML is an extra's."""
    try:
        import yaml
    except ImportError:
        return
    try:
        for document in yaml.load_all(text, _loader()):
            yield _bounded(document)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError, AttributeError, TypeError):
        return


def _loader() -> Any:
    """The safe loader, in C where there is one."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _toml(text: str) -> Any:
    import tomllib

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None


def _relaxed(text: str) -> Any:
    """JSON with comments and trailing commas, as editors write it; what is inside of strings stays."""
    kept = re.sub(rf"{_STRINGS}|//[^\n]*|/\*.*?\*/", lambda m: m[1] or "", text, flags=re.DOTALL)
    kept = re.sub(rf"{_STRINGS}|,(?=\s*[}}\]])", lambda m: m[1] or "", kept, flags=re.DOTALL)
    try:
        return _bounded(json.loads(kept))
    except (ValueError, RecursionError):
        return None


def _bounded(value: Any, nodes: int = NODES) -> Any:
    """The value, if walking it takes a bounded time; None otherwise."""
    waiting, seen = [(value, 0)], 0
    while waiting:
        one, depth = waiting.pop()
        seen += 1
        if seen > nodes or depth > 64:
            return None
        if isinstance(one, dict):
            waiting += [(part, depth + 1) for part in one.values()]
        elif isinstance(one, list | tuple | set):
            waiting += [(part, depth + 1) for part in one]
    return value
